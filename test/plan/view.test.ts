import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { CID } from 'multiformats/cid'
import type { Read } from '../../src/plan/action.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { agrees, LocalView, listingDigest, type Seen } from '../../src/plan/view.ts'
import { cidOf } from '../../src/wire/cid.ts'

interface Digests {
  list: { entries: [name: string, kind: 'file' | 'dir' | 'link'][]; cid: string }[]
  link: { text: string; cid: string }[]
}
const written: Digests = JSON.parse(readFileSync(new URL('./vectors/read-digests.json', import.meta.url), 'utf8'))

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'shoal-view-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const at = (name: string): string => join(dir, name)
const view = (path = ''): LocalView => new LocalView(new StatDigests(), path)
const content = (text: string): CID => cidOf(Buffer.from(text))
const same = (seen: Seen, expected: CID | 'there' | undefined): void => assert.equal(String(seen), String(expected))

/** Something of every kind that a path can lead to. */
function things(): void {
  writeFileSync(at('file'), 'content')
  mkdirSync(at('dir'))
  symlinkSync('file', at('to-file'))
  symlinkSync('dir', at('to-dir'))
  symlinkSync('nothing', at('to-nothing'))
  symlinkSync('circle', at('circle'))
  execFileSync('mkfifo', [at('pipe')])
}

test('a file is its content, whatever name it is reached by; nothing else is a file', async () => {
  things()
  for (const name of ['file', 'to-file', 'dir/../file', './/file']) {
    same(await view().see('file', at(name)), content('content'))
  }
  for (const name of ['dir', 'to-dir', 'none', 'to-nothing', 'circle', 'file/below', 'pipe', 'x'.repeat(300)]) {
    same(await view().see('file', at(name)), undefined)
  }
  same(await view().see('file', '/dev/zero'), undefined)
})

test('a file that was changed is another one, also with its old size and time', async () => {
  writeFileSync(at('file'), 'one')
  utimesSync(at('file'), 1000, 1000)
  const kept = view()
  same(await kept.see('file', at('file')), content('one'))
  writeFileSync(at('file'), 'two')
  utimesSync(at('file'), 1000, 1000)
  same(await kept.see('file', at('file')), content('two'))
  writeFileSync(at('other'), 'six')
  renameSync(at('other'), at('file'))
  same(await kept.see('file', at('file')), content('six'))
})

test('there is a directory, or there is not', () => {
  things()
  for (const name of ['dir', 'to-dir', '.', 'dir/']) same(view().see('dir', at(name)) as Seen, 'there')
  for (const name of ['file', 'none', 'to-nothing', 'circle', 'file/below']) {
    same(view().see('dir', at(name)) as Seen, undefined)
  }
})

test('what cannot be reached is absent', () => {
  things()
  for (const name of ['none', 'to-nothing', 'circle', 'file/below', 'none/deep']) {
    same(view().see('absent', at(name)) as Seen, 'there')
  }
  for (const name of ['file', 'dir', 'to-file', 'to-dir', 'pipe'])
    same(view().see('absent', at(name)) as Seen, undefined)
})

test('a link is its text, whether or not it leads anywhere', () => {
  things()
  same(view().see('link', at('to-file')) as Seen, content('file'))
  same(view().see('link', at('to-nothing')) as Seen, content('nothing'))
  for (const name of ['file', 'dir', 'none']) same(view().see('link', at(name)) as Seen, undefined)
  for (const { text, cid } of written.link) {
    rmSync(at('l'), { force: true })
    symlinkSync(text, at('l'))
    same(view().see('link', at('l')) as Seen, CID.parse(cid))
  }
})

test('a list is the names and kinds of the entries, as written down', () => {
  for (const [index, { entries, cid }] of written.list.entries()) {
    const path = at(`list-${index}`)
    mkdirSync(path)
    for (const [name, kind] of entries) {
      if (kind === 'dir') mkdirSync(join(path, name))
      else if (kind === 'link') symlinkSync('somewhere', join(path, name))
      else writeFileSync(join(path, name), '')
    }
    same(listingDigest(path), CID.parse(cid))
    same(view().see('list', path) as Seen, CID.parse(cid))
  }
})

test('a list changes with every name and kind, and with nothing else', () => {
  const seen = new Set<string>()
  const lists = (change: () => void, isNew: boolean): void => {
    change()
    const digest = String(listingDigest(dir))
    assert.equal(seen.has(digest), !isNew, `${change}`)
    seen.add(digest)
  }
  lists(() => writeFileSync(at('a'), ''), true)
  lists(() => writeFileSync(at('a'), 'more'), false)
  lists(() => renameSync(at('a'), at('b')), true)
  lists(() => mkdirSync(at('c')), true)
  lists(() => writeFileSync(at('c/deep'), ''), false)
  lists(() => {
    rmSync(at('c'), { recursive: true })
    writeFileSync(at('c'), '')
  }, true)
  lists(() => {
    rmSync(at('c'))
    symlinkSync('b', at('c'))
  }, true)
  lists(() => {
    rmSync(at('b'))
    execFileSync('mkfifo', [at('b')])
  }, false)
  for (const name of ['none', 'b', 'c']) assert.equal(listingDigest(at(name)), undefined, name)
})

test('a program is the first of its name along PATH that can be executed, by content; relative entries count', async () => {
  for (const name of ['one', 'two', 'three']) mkdirSync(at(name))
  const path = [at('none'), at('one'), at('two'), at('three')].join(':')
  const program = async (): Promise<Seen> => await view(path).see('program', 'tool')
  same(await program(), undefined)
  writeFileSync(at('three/tool'), 'third', { mode: 0o755 })
  same(await program(), content('third'))
  writeFileSync(at('one/tool'), 'not for running', { mode: 0o644 })
  same(await program(), content('third'))
  mkdirSync(at('two/tool'))
  same(await program(), content('third'))
  chmodSync(at('one/tool'), 0o655)
  same(await program(), content('not for running'))
  rmSync(at('one/tool'))
  symlinkSync(at('three/tool'), at('one/tool'))
  same(await program(), content('third'))
  same(await view('').see('program', 'tool'), undefined)
  mkdirSync(at('relative'))
  writeFileSync(at('relative/tool'), 'depends on the working directory', { mode: 0o755 })
  for (const [entry, cwd] of [
    ['relative', at('.')],
    ['', at('relative')],
  ] as const) {
    const there = new LocalView(new StatDigests(), `${entry}:${path}`, cwd)
    same(await there.see('program', 'tool'), content('depends on the working directory'))
  }
  same(await view(at('none')).see('program', 'tool'), undefined)
})

test('what() tells file from directory from nothing, and says nothing of the rest', () => {
  things()
  const what = (name: string): string | undefined => view().what(at(name), Number.MAX_SAFE_INTEGER)?.kind
  assert.deepEqual(['file', 'to-file', 'dir', 'to-dir', 'none', 'to-nothing', 'file/below', 'pipe'].map(what), [
    'file',
    'file',
    'dir',
    'dir',
    'absent',
    'absent',
    'absent',
    undefined,
  ])
})

test('what() tells what changed at the time given or later, by the clock of the file system', () => {
  writeFileSync(at('file'), '')
  const changed = (since: number): boolean | undefined => view().what(at('file'), since)?.changed
  const { ctimeMs } = statSync(at('file'))
  assert.deepEqual([changed(ctimeMs - 1), changed(ctimeMs), changed(ctimeMs + 1)], [true, true, false])
  utimesSync(at('file'), 1000, 1000)
  assert.equal(changed(ctimeMs), true, 'a time stamp that was set back hides nothing')
  assert.deepEqual(view().what(at('none'), 0), { kind: 'absent', changed: false })
})

test('agrees() wants the digest that was recorded, and none where a kind has none', () => {
  const [one, two] = [content('one'), content('two')]
  const read = (kind: Read[0], cid: CID | null): Read => [kind, '/x', cid]
  assert.equal(agrees(content('one'), read('file', one)), true)
  assert.equal(agrees(two, read('file', one)), false)
  assert.equal(agrees(one, read('file', null)), false)
  assert.equal(agrees(undefined, read('file', one)), false)
  assert.equal(agrees(undefined, read('file', null)), false)
  assert.equal(agrees('there', read('dir', null)), true)
  assert.equal(agrees('there', read('absent', null)), true)
  assert.equal(agrees('there', read('dir', one)), false)
  assert.equal(agrees(undefined, read('absent', null)), false)
  assert.equal(agrees(undefined, read('program', null)), true)
  assert.equal(agrees(one, read('program', null)), false)
})
