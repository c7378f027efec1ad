import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { CID } from 'multiformats/cid'
import { type Action, encodeTrace, type Read, type ReadSet } from '../../src/plan/action.ts'
import type { Root } from '../../src/plan/roots.ts'
import { sortRoots } from '../../src/plan/roots.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { Trees } from '../../src/plan/trees.ts'
import { listingDigest } from '../../src/plan/view.ts'
import {
  answers,
  bindTo,
  type Difference,
  environmentDigest,
  firstDifference,
  isBound,
  namePath,
  placeOf,
  readTrace,
  rootsDigest,
} from '../../src/recall/evidence.ts'
import { action, content, placeIn, planned, result } from './support.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'shoal-evidence-'))
  mkdirSync(join(dir, 'ws/target/debug/deps'), { recursive: true })
})
afterEach(() => rmSync(dir, { recursive: true }))

function put(path: string, text: string, mode = 0o644): string {
  mkdirSync(dirname(join(dir, path)), { recursive: true })
  writeFileSync(join(dir, path), text, { mode })
  return join(dir, path)
}

const differenceOf = (set: Partial<ReadSet>, place = placeIn(dir)): Promise<Difference | undefined> =>
  firstDifference({ reads: [], env: [], ...set }, place)

/** A read that holds, a change of the place, and what it then says. */
async function holdsUntil(read: Read, change: () => void, expected: Difference, place = placeIn(dir)): Promise<void> {
  assert.equal(await differenceOf({ reads: [read] }, place), undefined, 'before')
  change()
  assert.deepEqual(await differenceOf({ reads: [read] }, place), expected)
}

test('nothing that was read is the same everywhere', async () => {
  assert.equal(await differenceOf({}), undefined)
})

test('a file holds until it has other content, or is gone', async () => {
  const name = '\0workspace\0/x/src/lib.rs'
  const [one, two] = [content('one'), content('two')]
  put('ws/x/src/lib.rs', 'one')
  const change = (): string => put('ws/x/src/lib.rs', 'two')
  await holdsUntil(['file', name, one], change, { kind: 'file', name, recorded: `${one}`, here: `${two}` })
  const remove = (): void => rmSync(join(dir, 'ws/x/src/lib.rs'))
  await holdsUntil(['file', name, two], remove, { kind: 'file', name, recorded: `${two}`, here: null })
})

test('an absence holds until something is there', async () => {
  const name = '\0workspace\0/x/one.toml'
  const create = (): string => put('ws/x/one.toml', '')
  await holdsUntil(['absent', name, null], create, { kind: 'absent', name, recorded: null, here: 'there' })
})

test('a directory holds until there is none', async () => {
  const name = '\0workspace\0/x/migrations'
  put('ws/x/migrations/1.sql', '')
  const replace = (): void => {
    rmSync(join(dir, 'ws/x/migrations'), { recursive: true })
    put('ws/x/migrations', 'a file')
  }
  await holdsUntil(['dir', name, null], replace, { kind: 'dir', name, recorded: 'there', here: null })
})

test('a list holds until an entry comes or goes', async () => {
  const name = '\0workspace\0/x/migrations'
  const path = dirname(put('ws/x/migrations/1.sql', ''))
  const one = listingDigest(path)
  put('ws/x/more/1.sql', '')
  const two = listingDigest(dirname(put('ws/x/more/2.sql', '')))
  assert.ok(one && two)
  const add = (): string => put('ws/x/migrations/2.sql', '')
  await holdsUntil(['list', name, one], add, { kind: 'list', name, recorded: `${one}`, here: `${two}` })
})

test('a link holds until it leads elsewhere', async () => {
  const name = '\0workspace\0/schema.json'
  const path = join(dir, 'ws/schema.json')
  symlinkSync('one', path)
  const lead = (): void => {
    rmSync(path)
    symlinkSync('two', path)
  }
  const [recorded, here] = [`${content('one')}`, `${content('two')}`]
  await holdsUntil(['link', name, content('one')], lead, { kind: 'link', name, recorded, here })
})

test('a program holds until its name finds another one; that there was none can hold too', async () => {
  const place = placeIn(dir, { env: new Map([['PATH', `${dir}/first:${dir}/second`]]) })
  const none: Read = ['program', 'gen', null]
  const add = (): string => put('second/gen', 'old', 0o755)
  const old = `${content('old')}`
  await holdsUntil(none, add, { kind: 'program', name: 'gen', recorded: null, here: old }, place)
  const shadow = (): string => put('first/gen', 'new', 0o755)
  const expected: Difference = { kind: 'program', name: 'gen', recorded: old, here: `${content('new')}` }
  await holdsUntil(['program', 'gen', content('old')], shadow, expected, place)
})

test('a tree holds until any file in it changes', async () => {
  const trees = new Trees(new StatDigests())
  const place = placeIn(dir, { tree: async (path) => (await trees.tree(path, true)).cid })
  const name = '\0workspace\0/x'
  put('ws/x/README.md', 'one')
  const one = (await trees.tree(join(dir, 'ws/x'), true)).cid
  assert.equal(await differenceOf({ reads: [['tree', name, one]] }, place), undefined)
  put('ws/x/README.md', 'two')
  const two = (await trees.tree(join(dir, 'ws/x'), true)).cid
  assert.deepEqual(await differenceOf({ reads: [['tree', name, one]] }, place), {
    kind: 'tree',
    name,
    recorded: `${one}`,
    here: `${two}`,
  })
  const unreadable = placeIn(dir, { tree: async () => undefined })
  assert.equal((await differenceOf({ reads: [['tree', name, one]] }, unreadable))?.here, null)
  assert.equal((await differenceOf({ reads: [['tree', name, null]] }, unreadable))?.kind, 'tree')
})

test('an environment as a whole holds until a variable changes', async () => {
  const env = new Map([['EDITOR', 'vi']])
  const place = placeIn(dir, { env })
  const before = environmentDigest(place)
  assert.equal(await differenceOf({ reads: [['environ', '', before]] }, place), undefined)
  env.set('EDITOR', 'ed')
  const here = `${environmentDigest(place)}`
  assert.deepEqual(await differenceOf({ reads: [['environ', '', before]] }, place), {
    kind: 'environ',
    name: '',
    recorded: `${before}`,
    here,
  })
  assert.equal((await differenceOf({ reads: [['environ', '', null]] }, place))?.recorded, null)
})

test('what is bound to its place holds there and nowhere else', async () => {
  const reads: Read[] = [['bound', '', rootsDigest(placeIn(dir))]]
  assert.equal(await differenceOf({ reads }), undefined)
  assert.equal((await differenceOf({ reads }, placeIn('/elsewhere')))?.kind, 'bound')
  assert.equal((await differenceOf({ reads: [['bound', '', null]] }))?.kind, 'bound')
})

test('a variable holds by its value, with roots by name, or by not being set', async () => {
  const env: ReadSet['env'] = [
    ['SCHEMA', '\0workspace\0/schema.json'],
    ['UNSET', null],
    ['EMPTY', ''],
  ]
  const of = (entries: [string, string][]) => differenceOf({ env }, placeIn(dir, { env: new Map(entries) }))
  const same: [string, string][] = [
    ['SCHEMA', `${dir}/ws/schema.json`],
    ['EMPTY', ''],
    ['OTHER', 'x'],
  ]
  assert.equal(await of(same), undefined)
  assert.deepEqual(await of([['SCHEMA', `${dir}/ws-2/schema.json`], ...same.slice(1)]), {
    kind: 'variable',
    name: 'SCHEMA',
    recorded: '\0workspace\0/schema.json',
    here: `${dir}/ws-2/schema.json`,
  })
  assert.deepEqual(await of([...same, ['UNSET', '']]), { kind: 'variable', name: 'UNSET', recorded: null, here: '' })
  assert.deepEqual(await of(same.slice(0, 1)), { kind: 'variable', name: 'EMPTY', recorded: '', here: null })
})

test('a trace that gives a digest to what has none, or none to what has one, holds nowhere', async () => {
  put('ws/x/src/lib.rs', 'one')
  for (const read of [
    ['file', '\0workspace\0/x/src/lib.rs', null],
    ['dir', '\0workspace\0/x', content('one')],
    ['absent', '\0workspace\0/none', content('one')],
    ['list', '\0workspace\0/x', null],
    ['link', '\0workspace\0/x', null],
  ] satisfies Read[]) {
    assert.ok(await differenceOf({ reads: [read] }), read[0])
  }
})

test('the first difference is told: variables first, then reads as they are sorted', async () => {
  put('ws/a', 'a')
  const reads: Read[] = [
    ['file', '\0workspace\0/a', content('a')],
    ['file', '\0workspace\0/b', content('b')],
    ['file', '\0workspace\0/c', content('c')],
  ]
  assert.equal((await differenceOf({ reads }))?.name, '\0workspace\0/b')
  assert.equal((await differenceOf({ reads, env: [['A', '1']] }))?.name, 'A')
})

test('a root that is not known here holds nothing, not even an absence', async () => {
  for (const kind of ['absent', 'file', 'dir'] as const) {
    const read: Read = [kind, '\0git\0/x/one.toml', kind === 'file' ? content('') : null]
    assert.equal((await differenceOf({ reads: [read] }))?.name, '\0git\0/x/one.toml', kind)
  }
})

test('what lies among the dependencies is looked for in each of their directories, the first one counts', async () => {
  const dependencyDirs = [`${dir}/one`, `${dir}/two`]
  const place = placeIn(dir, { dependencyDirs })
  const read: Read = ['file', '\0deps\0/libx-1.rmeta', content('x')]
  assert.equal((await differenceOf({ reads: [read] }, place))?.here, null)
  put('two/libx-1.rmeta', 'x')
  assert.equal(await differenceOf({ reads: [read] }, place), undefined)
  put('one/libx-1.rmeta', 'another')
  assert.equal((await differenceOf({ reads: [read] }, place))?.here, `${content('another')}`)
})

test('paths are named by the innermost root, those among the dependencies by theirs', () => {
  const place = placeIn('/d', { dependencyDirs: ['/d/ws/target/debug/deps', '/d/ws/target/x/build/low/1/out'] })
  for (const [path, name] of [
    ['/d/ws/x/src/lib.rs', '\0workspace\0/x/src/lib.rs'],
    ['/d/ws/target/doc', '\0target\0/doc'],
    ['/d/ws/target/debug/deps/libx.rmeta', '\0deps\0/libx.rmeta'],
    ['/d/ws/target/debug/build/../deps/libx.rmeta', '\0deps\0/libx.rmeta'],
    ['/d/ws/target/x/build/low/1/out/liblow.rmeta', '\0deps\0/liblow.rmeta'],
    ['/d/ws/target/debug/deps', '\0out\0'],
    ['/usr/lib/../lib/crt1.o', '/usr/lib/../lib/crt1.o'],
  ] as const) {
    assert.equal(namePath(path, place), name)
  }
})

interface Digests {
  environ: { roots: Root[]; env: [string, string][]; cid: string }[]
  bound: { roots: Root[]; cid: string }[]
}
const file = new URL('../plan/vectors/read-digests.json', import.meta.url)
const written: Digests = JSON.parse(readFileSync(file, 'utf8'))

test('the environment and the roots are digested as written down', () => {
  for (const { roots, env, cid } of written.environ) {
    const digest = environmentDigest({ env: new Map(env), roots: sortRoots(roots) })
    assert.ok(digest.equals(CID.parse(cid)), `${digest}`)
    const turned = environmentDigest({ env: new Map(env.toReversed()), roots: sortRoots(roots) })
    assert.ok(turned.equals(digest), 'in any order')
  }
  for (const { roots, cid } of written.bound) {
    for (const some of [roots, roots.toReversed()]) assert.ok(rootsDigest({ roots: some }).equals(CID.parse(cid)))
  }
})

test('what differs from one shell or one unit to the next is no part of the environment', () => {
  const digest = (env: Map<string, string>): string => `${environmentDigest({ env, roots: [] })}`
  const plain = digest(new Map([['A', '1']]))
  const volatile =
    'PWD OLDPWD SHLVL _ TERM TERM_PROGRAM COLORTERM WINDOWID COLUMNS LINES SSH_TTY XDG_SESSION_ID CARGO_MAKEFLAGS ' +
    'MAKEFLAGS MFLAGS RUSTC_WRAPPER SHOAL SHOAL_OBSERVE LD_PRELOAD'
  for (const name of volatile.split(' ')) {
    assert.equal(
      digest(
        new Map([
          ['A', '1'],
          [name, 'x'],
        ]),
      ),
      plain,
      name,
    )
  }
  for (const name of ['B', 'PATH', 'HOME', 'LD_LIBRARY_PATH', 'MY_PWD', 'CARGO_PKG_NAME', 'a']) {
    const more = new Map([
      ['A', '1'],
      [name, 'x'],
    ])
    assert.notEqual(digest(more), plain, name)
  }
})

test('a result is bound once, and says so first', () => {
  const place = placeIn(dir)
  const set: ReadSet = { reads: [['file', '/x', content('x')]], env: [] }
  assert.equal(isBound(set), false)
  const bound = bindTo(set, place)
  assert.deepEqual([bound.reads[0], bound.reads.length, isBound(bound)], [['bound', '', rootsDigest(place)], 2, true])
  assert.deepEqual(bindTo(bound, place), bound)
  assert.equal(set.reads.length, 1)
})

test('readTrace() reads traces and nothing else', () => {
  const trace = { v: 2, action: planned.key, reads: [], env: [], result: content('r') } as const
  const { bytes } = encodeTrace({ ...trace, reads: [], env: [] })
  assert.ok(readTrace(bytes)?.action.equals(planned.key))
  for (const wrong of [new Uint8Array(), Buffer.from('not a trace'), bytes.subarray(1)]) {
    assert.equal(readTrace(wrong), undefined)
  }
})

test('a result answers an action with its key and exactly its outputs', () => {
  const [output] = result.outputs
  assert.ok(output)
  assert.equal(answers(result, planned), true)
  assert.equal(answers({ ...result, action: content('other') }, planned), false)
  for (const outputs of [
    [],
    [output, output],
    [{ ...output, name: 'libevil.rmeta' }],
    [{ ...output, kind: 'link' as const }],
    [output, { ...output, name: 'x-1.d', kind: 'dep-info' as const }],
  ]) {
    assert.equal(answers({ ...result, outputs }, planned), false, JSON.stringify(outputs.map(({ name }) => name)))
  }
})

test('a result answers an action of several outputs with all of them, in any order', () => {
  const [one] = result.outputs
  assert.ok(one)
  const two = { ...one, name: 'libx-1.rlib', kind: 'link' as const }
  const outputs: Action['outputs'] = [...action.outputs, ['libx-1.rlib', 'link']]
  const of = { ...planned, action: { ...action, outputs } }
  assert.equal(answers({ ...result, outputs: [one, two] }, of), true)
  assert.equal(answers({ ...result, outputs: [two, one] }, of), true)
  assert.equal(answers({ ...result, outputs: [one, one] }, of), false)
  assert.equal(answers({ ...result, outputs: [one, { ...two, kind: 'metadata' }] }, of), false)
})

test('the place of an invocation is where its plan says', () => {
  const env = new Map([['A', '1']])
  const { view, tree } = placeIn(dir)
  assert.deepEqual(placeOf(planned, env, { view, tree, math: 'm' }), {
    action,
    roots: planned.roots,
    dependencyDirs: planned.dependencyDirs,
    env: new Map([...env, ['libm()', 'm']]),
    view,
    tree,
  })
})

test('what a code generator has computed holds where it is computed alike, and nothing else is held against that', async () => {
  const { view, tree } = placeIn(dir)
  const at = (math: string, env: [string, string][] = []) => placeOf(planned, new Map(env), { view, tree, math })
  const computed = { reads: [], env: [['libm()', 'm'] as [string, string]] }
  assert.equal(await firstDifference(computed, at('m')), undefined)
  for (const other of [at('n'), at('m', [['GLIBC_TUNABLES', 'glibc.cpu.hwcaps=-FMA']])])
    assert.equal((await firstDifference(computed, other))?.name, 'libm()')
  assert.equal(await firstDifference({ reads: [], env: [] }, at('n')), undefined)
  assert.ok(environmentDigest(at('m')).equals(environmentDigest(at('n'))))
})
