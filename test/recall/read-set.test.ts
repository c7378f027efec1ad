import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import type { Read, ReadSet } from '../../src/plan/action.ts'
import type { Observation } from '../../src/plan/observation.ts'
import { selectReads } from '../../src/plan/read-set.ts'
import { listingDigest } from '../../src/plan/view.ts'
import { environmentDigest, firstDifference, type Place, rootsDigest } from '../../src/recall/evidence.ts'
import {
  declaredReadSet,
  inputReads,
  type ObservedCompile,
  readSetOf,
  type Unshareable,
} from '../../src/recall/read-set.ts'
import { action, content, placeIn } from './support.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'shoal-reads-'))
  put('ws/x/src/lib.rs', 'lib')
})
afterEach(() => rmSync(dir, { recursive: true }))

function put(path: string, text: string, mode = 0o644): string {
  mkdirSync(dirname(join(dir, path)), { recursive: true })
  writeFileSync(join(dir, path), text, { mode })
  return join(dir, path)
}

type Event = [kind: Observation['kind'], path: string, errno?: number, macro?: boolean]
const enoent = 2
const source: Event = ['open', '@/ws/x/src/lib.rs']
const sourceRead: Read = ['file', '\0workspace\0/x/src/lib.rs', content('lib')]
const depInfo = 'x.d: x/src/lib.rs\n'

interface Compile extends Partial<Omit<ObservedCompile, 'selected'>> {
  place?: Place
}

/** The read set of a compile that did this; `@` in a path is the directory of the test. */
async function readsOf(events: readonly Event[], compile: Compile = {}): Promise<ReadSet | Unshareable> {
  const { place = placeIn(dir), ...observed } = compile
  const selected = selectReads(
    events.map(([kind, path, errno = 0, macro = false]) => ({ kind, path: path.replace('@', dir), errno, macro })),
    {
      products: [join(dir, 'ws/target/debug/deps/.shoal-1')],
      temporary: [join(dir, 'tmp')],
      owned: [],
      dependencyDirs: place.dependencyDirs,
      dependencies: new Set(['libknown-1.rmeta']),
      complete: true,
      covered: (path) => path.startsWith(join(dir, 'toolchain')),
      unnamedDirs: [],
      programDirs: new Set((place.env.get('PATH') ?? '').split(':').filter((part) => part !== '')),
    },
  )
  const since = Number.MAX_SAFE_INTEGER
  return await readSetOf({ selected, depInfo, build: undefined, since, readsEnvironment: false, ...observed }, place)
}

async function keptReads(events: readonly Event[], compile: Compile = {}): Promise<Read[]> {
  const set = await readsOf(events, compile)
  assert.ok(typeof set !== 'string', String(set))
  return set.reads
}

/** Asserts that what a compile did holds here, and no longer after a change. */
async function noticed(events: readonly Event[], change: () => void, place = placeIn(dir)): Promise<void> {
  const set = await readsOf([source, ...events], { place })
  assert.ok(typeof set !== 'string', String(set))
  assert.equal(await firstDifference(set, place), undefined)
  change()
  assert.ok(await firstDifference(set, place), 'the change was not noticed')
}

test('what was looked at is named and digested, sorted by path and kind', async () => {
  const list = listingDigest(dirname(put('ws/migrations/1.sql', '')))
  assert.ok(list)
  symlinkSync('x', join(dir, 'ws/link'))
  put('ws/tool', 'bin')
  const system = put('usr/crt1.o', 'crt')
  const reads = await keptReads([
    source,
    ['list', '@/ws/migrations'],
    ['link', '@/ws/link'],
    ['stat', '@/ws/link'],
    ['exec', '@/ws/tool'],
    ['stat', '@/ws/none', enoent],
    ['open', '@/usr/crt1.o'],
    ['open', '@/ws/target/debug/deps/libknown-1.rmeta'],
  ])
  assert.deepEqual(reads, [
    ['dir', '\0workspace\0/link', null],
    ['link', '\0workspace\0/link', content('x')],
    ['list', '\0workspace\0/migrations', list],
    ['absent', '\0workspace\0/none', null],
    ['file', '\0workspace\0/tool', content('bin')],
    sourceRead,
    ['file', system, content('crt')],
  ])
})

test('a library that was found beside the dependencies is one that the trace names', async () => {
  put('ws/target/debug/deps/libthree-3.rmeta', 'three')
  assert.deepEqual(await keptReads([source, ['open', '@/ws/target/debug/deps/libthree-3.rmeta']]), [
    ['file', '\0deps\0/libthree-3.rmeta', content('three')],
    sourceRead,
  ])
})

for (const problem of ['unobserved', 'writes-elsewhere', 'uses-network', 'native-library', 'clock'] as const) {
  test(`a compile that has a problem is not shared: ${problem}`, async () => {
    const selected = { looks: [], variables: new Map(), programs: [], loaded: [], temporary: [], problem }
    const observed = { selected, depInfo, build: undefined, since: 0, readsEnvironment: false }
    assert.equal(await readSetOf(observed, placeIn(dir)), problem)
  })
}

test('what a macro makes of the time, or of what the machine is called, holds no longer and nowhere else', async () => {
  assert.equal(await readsOf([source, ['clock', 'clock_gettime']]), 'clock')
  assert.equal(await readsOf([source, ['env', 'gethostname()', 0, true]]), 'unobserved')
  assert.equal(await readsOf([source, ['env', 'uname()', 0, true]]), 'unobserved')
  assert.deepEqual(await keptReads([source, ['random', 'getrandom']]), [sourceRead])
})

test('what a code generator has computed with libm holds for that libm', async () => {
  const set = await readsOf([source, ['env', 'libm()']], { place: placeIn(dir, { env: new Map([['libm()', 'm']]) }) })
  assert.ok(typeof set !== 'string')
  assert.deepEqual(set.env, [['libm()', 'm']])
})

test('what a compile leaves in a directory for temporary files was written elsewhere', async () => {
  const path = put('tmp/made', 'x')
  const events: Event[] = [source, ['write', '@/tmp/made'], ['open', '@/tmp/made'], ['write', '@/tmp/gone']]
  assert.equal(await readsOf(events), 'writes-elsewhere')
  rmSync(path)
  assert.deepEqual(await keptReads(events), [sourceRead])
})

test('what changed while it compiled, or since, is not believed', async () => {
  const path = put('ws/x/data', 'now')
  utimesSync(path, 1000, 1000)
  const events: Event[] = [source, ['open', '@/ws/x/data']]
  assert.equal(await readsOf(events, { since: 0 }), 'source-changed')
  assert.equal((await keptReads(events)).length, 2)
  assert.equal(await readsOf([source, ['list', '@/ws/x']], { since: 0 }), 'source-changed')
  assert.equal(await readsOf([['stat', '@/ws/x/data', enoent], source]), 'source-changed', 'it came')
  assert.equal(await readsOf([source, ['open', '@/ws/x/none']]), 'source-changed', 'it went')
  assert.equal(await readsOf([source, ['list', '@/ws/x/data']]), 'source-changed', 'it became a file')
})

test('what may be a program is believed no sooner', async () => {
  const place = placeIn(dir, { env: new Map([['PATH', `${dir}/bin`]]) })
  put('bin/data', 'x')
  assert.equal(await readsOf([source, ['open', '@/bin/data']], { place, since: 0 }), 'source-changed')
  assert.equal(await readsOf([source, ['open', '@/bin/none']], { place }), 'source-changed')
})

test('a directory that only has to exist may change', async () => {
  mkdirSync(join(dir, 'ws/empty'))
  const set = await readsOf([['stat', '@/ws/empty']], { since: 0, depInfo: 'x.d:  \n' })
  assert.deepEqual(set, { reads: [['dir', '\0workspace\0/empty', null]], env: [] })
})

test('what a device gives has no name', async () => {
  assert.equal(await readsOf([source, ['open', '/dev/ptmx']]), 'source-changed')
})

test('what rustc says it read must be among what was observed', async () => {
  const other = 'x.d: x/src/lib.rs x/src/other.rs\n'
  put('ws/x/src/other.rs', '')
  assert.equal(await readsOf([source], { depInfo: other }), 'unobserved')
  assert.equal((await keptReads([source, ['open', '@/ws/x/src/other.rs']], { depInfo: other })).length, 2)
  assert.equal(await readsOf([source], { depInfo: 'no rule' }), 'unobserved')
  const roundabout = 'x.d: x/src/../src/lib.rs \0workspace\0/x/./src/lib.rs\n'
  assert.equal((await keptReads([source], { depInfo: roundabout })).length, 1)
})

test('of OUT_DIR rustc reads what the action says is in it', async () => {
  const build = { dir: '\0build\0', files: [{ path: 'gen.rs' }] }
  const generated = 'x.d: x/src/lib.rs \0build\0/gen.rs\n'
  assert.deepEqual(await keptReads([source], { depInfo: generated, build }), [sourceRead])
  assert.equal(await readsOf([source], { depInfo: generated, build: { ...build, files: [] } }), 'unobserved')
  assert.equal(await readsOf([source], { depInfo: generated }), 'unobserved')
})

const asks = (name: string, macro: boolean): Event => ['env', name, enoent, macro]

test('variables are kept that the action does not say, with roots by name', async () => {
  const env = new Map([
    ['CARGO_PKG_NAME', 'x'],
    ['CARGO_MANIFEST_DIR', `${dir}/ws/x`],
    ['SCHEMA', `${dir}/ws/schema.json`],
    ['PATH', '/usr/bin'],
    ['UNREAD', '1'],
  ])
  const set = await readsOf(
    [
      source,
      asks('SCHEMA', true),
      asks('UNSET', true),
      asks('CARGO_PKG_NAME', true),
      asks('CARGO_MANIFEST_DIR', true),
      asks('PATH', false),
      asks('UNKNOWN_OPTION', false),
    ],
    { place: placeIn(dir, { env }), depInfo: `${depInfo}# env-dep:GIT_REV\n# env-dep:CARGO_PKG_NAME=x\n` },
  )
  assert.ok(typeof set !== 'string')
  assert.deepEqual(set.env, [
    ['GIT_REV', null],
    ['SCHEMA', '\0workspace\0/schema.json'],
    ['UNKNOWN_OPTION', null],
    ['UNSET', null],
  ])
})

test('a variable that cargo set to something else for this unit counts', async () => {
  const env = new Map([['CARGO_PKG_NAME', 'y']])
  const set = await readsOf([source, asks('CARGO_PKG_NAME', true)], { place: placeIn(dir, { env }) })
  assert.ok(typeof set !== 'string')
  assert.deepEqual(set.env, [['CARGO_PKG_NAME', 'y']])
})

test('what the compiler asks for itself and cannot matter is left out, unless a macro asks too', async () => {
  const names =
    'PATH TERM NO_COLOR CLICOLOR_FORCE TMPDIR LANG LC_ALL CARGO_MAKEFLAGS CI RUST_BACKTRACE RUST_MIN_STACK RUSTC_LOG ' +
    'LD_PRELOAD SHOAL_OBSERVE COLLECT_GCC MALLOC_CONF CARGO_TERM_COLOR'
  for (const name of names.split(' ')) {
    const own = await readsOf([source, asks(name, false)])
    const macro = await readsOf([source, asks(name, false), asks(name, true)])
    assert.ok(typeof own !== 'string' && typeof macro !== 'string')
    assert.deepEqual([own.env, macro.env], [[], [[name, null]]], name)
  }
  for (const name of [
    'HOME',
    'CARGO_PRIMARY_PACKAGE',
    'LD_LIBRARY_PATH',
    'RUSTC_BOOTSTRAP',
    'SDKROOT',
    'SOURCE_DATE_EPOCH',
    'CPATH',
    'LIBRARY_PATH',
    'CIRCLE',
  ]) {
    const own = await readsOf([source, asks(name, false)])
    assert.ok(typeof own !== 'string')
    assert.deepEqual(own.env, [[name, null]], name)
  }
})

test('a secret that was looked at keeps the result here, one that was not set does not', async () => {
  const place = placeIn(dir, { env: new Map([['MY_API_TOKEN', 'canary']]) })
  assert.equal(await readsOf([source, asks('MY_API_TOKEN', true)], { place }), 'secret-in-environment')
  assert.equal(
    await readsOf([source], { depInfo: `${depInfo}# env-dep:MY_API_TOKEN=canary\n` }),
    'secret-in-environment',
  )
  const unset = await readsOf([source, asks('MY_API_TOKEN', true)])
  assert.ok(typeof unset !== 'string')
  assert.deepEqual(unset.env, [['MY_API_TOKEN', null]])
})

test('who can see the whole environment depends on all of it', async () => {
  const place = placeIn(dir, { env: new Map([['EDITOR', 'vi']]) })
  assert.deepEqual(await keptReads([source], { place, readsEnvironment: true }), [
    ['environ', '', environmentDigest(place)],
    sourceRead,
  ])
  // Others would learn what they can try a secret by.
  const secret = { place: placeIn(dir, { env: new Map([['DEPLOY_TOKEN', 'canary']]) }), readsEnvironment: true }
  assert.deepEqual((await keptReads([source], secret))[0]?.[0], 'bound')
  assert.deepEqual(await keptReads([source], { ...secret, readsEnvironment: false }), [sourceRead])
})

test('a directory that rustc was told as text binds a result to its place, OUT_DIR excepted', async () => {
  const bound: Read = ['bound', '', rootsDigest(placeIn(dir))]
  const telling = (line: string): string => `${depInfo}# env-dep:${line}\n`
  const manifest = telling('CARGO_MANIFEST_DIR=\0workspace\0/x')
  assert.deepEqual(await keptReads([source], { depInfo: manifest }), [bound, sourceRead])
  assert.deepEqual(await keptReads([source], { depInfo: telling('OUT_DIR=\0build\0') }), [sourceRead])
  assert.deepEqual(await keptReads([source], { depInfo: telling('NAME=\0out\0') }), [bound, sourceRead])
  // Macros ask for it all the time, to find their files: what they make of it is looked for in the outputs.
  assert.deepEqual(await keptReads([source, asks('CARGO_MANIFEST_DIR', true)]), [sourceRead])
})

test('every change of what a compile looked at is noticed', async () => {
  await noticed([], () => put('ws/x/src/lib.rs', 'other'))
  put('ws/x/src/lib.rs', 'lib')
  await noticed([['stat', '@/ws/x/none', enoent]], () => put('ws/x/none', ''))
  await noticed([['list', '@/ws/x/src']], () => put('ws/x/src/new.rs', ''))
  mkdirSync(join(dir, 'ws/empty'))
  await noticed([['stat', '@/ws/empty']], () => rmSync(join(dir, 'ws/empty'), { recursive: true }))
})

test('also of programs, and of files that lie where programs do', async () => {
  const place = placeIn(dir, { env: new Map([['PATH', `${dir}/first:${dir}/second`]]) })
  put('second/cc', 'compiler', 0o755)
  await noticed([['exec', 'cc']], () => put('second/cc', 'newer', 0o755), place)
  await noticed([['exec', 'cc']], () => put('first/cc', 'shadow', 0o755), place)
  await noticed([['exec', 'none', enoent]], () => put('second/none', '', 0o755), place)
  await noticed([['exec', '@/second/cc']], () => put('second/cc', 'by its path, in the shadow', 0o755), place)
  put('second/data.json', '1')
  await noticed([['open', '@/second/data.json']], () => put('second/data.json', '2'), place)
  await noticed([['stat', '@/second/none.json', enoent]], () => put('second/none.json', ''), place)
  mkdirSync(join(dir, 'second/deep'))
  await noticed([['stat', '@/second/deep']], () => rmSync(join(dir, 'second/deep'), { recursive: true }), place)
})

test('a program that was found along PATH holds wherever it lies', async () => {
  put('here/cc', 'compiler', 0o755)
  const at = (path: string): Place => placeIn(dir, { env: new Map([['PATH', path]]) })
  const events: Event[] = [source, ['stat', '@/none/cc', enoent], ['stat', '@/here/cc'], ['exec', '@/here/cc']]
  const set = await readsOf(events, { place: at(`${dir}/none:${dir}/here`) })
  assert.ok(typeof set !== 'string')
  assert.deepEqual(set.reads, [sourceRead, ['program', 'cc', content('compiler')]])
  rmSync(join(dir, 'here'), { recursive: true })
  put('there/cc', 'compiler', 0o755)
  assert.equal(await firstDifference(set, at(`${dir}/there`)), undefined)
})

test('a link that leads nowhere can be read as a link; that something was found there cannot be told any more', async () => {
  const path = join(dir, 'ws/x/dangling')
  symlinkSync('nothing', path)
  const read: Read = ['link', '\0workspace\0/x/dangling', content('nothing')]
  assert.deepEqual(await keptReads([source, ['link', '@/ws/x/dangling']]), [read, sourceRead])
  assert.equal(await readsOf([source, ['stat', '@/ws/x/dangling']]), 'source-changed')
  await noticed([['link', '@/ws/x/dangling']], () => {
    rmSync(path)
    symlinkSync('else', path)
  })
})

const trees = [
  { dir: '\0workspace\0/x', files: [{ path: 'src/lib.rs' }] },
  { dir: '\0build\0', files: [{ path: 'gen.rs' }] },
]
const packageTree: Read = ['tree', '\0workspace\0/x', content('tree')]
const declared = (text: string): ReadSet | Unshareable =>
  declaredReadSet(text, packageTree, trees, { action, roots: placeIn(dir).roots })

test('without an observer the package as a whole is what was read', () => {
  assert.deepEqual(declared('x.d: x/src/lib.rs \0build\0/gen.rs\n# env-dep:COLOUR=red\n# env-dep:ABSENT\n'), {
    reads: [packageTree],
    env: [
      ['ABSENT', null],
      ['COLOUR', 'red'],
    ],
  })
  assert.deepEqual(declared('x.d: x/src/../src/lib.rs\n# env-dep:CARGO_PKG_NAME=x\n'), {
    reads: [packageTree],
    env: [],
  })
})

test('without an observer a file outside of what was declared keeps a result here', () => {
  for (const path of [
    '/etc/hostname',
    'x/src/../../other/lib.rs',
    'x/src/new.rs',
    '\0build\0/none.rs',
    '\0git\0/a.rs',
  ]) {
    assert.equal(declared(`x.d: x/src/lib.rs ${path}\n`), 'source-outside-package', path)
  }
  assert.equal(declared('no rule'), 'unobserved')
})

test('a declared input is looked at by the name that it was read by, too', async () => {
  put('ws/x/motto.txt', 'declared')
  put('else/motto.txt', 'read')
  put('else/deep/a.rs', '')
  symlinkSync('../../else/deep', join(dir, 'ws/x/linked'))
  const noTree = (): never => assert.fail('no directory is declared')
  const compiled = { depInfo: 'x.d: x/linked/../motto.txt x/src/lib.rs x/motto.txt\n', since: Number.MAX_SAFE_INTEGER }
  assert.deepEqual(await inputReads([join(dir, 'ws/x/motto.txt')], compiled, placeIn(dir), noTree), {
    reads: [
      ['file', '\0workspace\0/x/motto.txt', content('declared')],
      ['file', '\0workspace\0/x/linked/../motto.txt', content('read')],
    ],
    trees: [{ dir: '\0workspace\0/x', files: [{ path: 'motto.txt' }] }],
  })
  const changed = { ...compiled, since: 0 }
  assert.equal(await inputReads([join(dir, 'ws/x/motto.txt')], changed, placeIn(dir), noTree), 'source-changed')
  const pipe = await inputReads(['/dev/null'], compiled, placeIn(dir), noTree)
  assert.equal(pipe, 'source-outside-package')
})

test('without an observer directories as text and secrets count the same', () => {
  const read = (line: string): ReadSet | Unshareable => declared(`x.d: x/src/lib.rs\n# env-dep:${line}\n`)
  const bound: Read = ['bound', '', rootsDigest(placeIn(dir))]
  assert.deepEqual(read('CARGO_MANIFEST_DIR=\0workspace\0/x'), { reads: [bound, packageTree], env: [] })
  assert.deepEqual(read('OUT_DIR=\0build\0'), { reads: [packageTree], env: [['OUT_DIR', '\0build\0']] })
  assert.equal(read('MY_API_TOKEN=canary'), 'secret-in-environment')
  assert.deepEqual(read('MY_API_TOKEN'), { reads: [packageTree], env: [['MY_API_TOKEN', null]] })
})
