import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Observation } from '../../src/plan/observation.ts'
import { isWithin, type Look, type ReadScope, selectReads } from '../../src/plan/read-set.ts'

const enoent = 2
const eacces = 13
const enotdir = 20
const einval = 22

const scope: ReadScope = {
  products: ['/ws/target/debug/deps/.shoal-1', '/shared/out'],
  temporary: ['/tmp', '/var/tmp'],
  owned: [],
  dependencyDirs: ['/ws/target/debug/deps'],
  dependencies: new Set(['libserde-1.rmeta', 'libmacro-2.so']),
  complete: true,
  covered: (path) => isWithin(path, '/toolchain/lib') || isWithin(path, '/ws/target/debug/build/x-1/out'),
  unnamedDirs: ['/opt/native'],
  programDirs: new Set(['/usr/bin', '/home/a/bin']),
}

type Event = [kind: Observation['kind'], path: string, errno?: number]
const select = (events: readonly Event[], change: Partial<ReadScope> = {}) =>
  selectReads(
    events.map(([kind, path, errno = 0]) => ({ kind, path, errno, macro: false })),
    { ...scope, ...change },
  )
/** Kind and path of each look, sorted. */
const looksOf = (...events: Event[]): string[] => {
  const { looks, problem } = select(events)
  assert.equal(problem, undefined)
  return looks.map(({ kind, path }: Look) => `${kind} ${path}`).sort()
}

test('what was found is to be looked at again as what it is, what was not found as absent', () => {
  assert.deepEqual(looksOf(['open', '/ws/src/lib.rs']), ['stat /ws/src/lib.rs'])
  assert.deepEqual(looksOf(['stat', '/ws/schema.json']), ['stat /ws/schema.json'])
  assert.deepEqual(looksOf(['exec', '/ws/tools/gen']), ['stat /ws/tools/gen'])
  assert.deepEqual(looksOf(['load', '/usr/lib/libc.so.6']), ['stat /usr/lib/libc.so.6'])
  assert.deepEqual(looksOf(['list', '/ws/migrations']), ['list /ws/migrations'])
  assert.deepEqual(looksOf(['link', '/ws/link']), ['link /ws/link'])
  for (const kind of ['open', 'stat', 'list', 'link', 'exec', 'load'] as const) {
    assert.deepEqual(looksOf([kind, '/ws/gone', enoent]), ['absent /ws/gone'], kind)
    assert.deepEqual(looksOf([kind, '/ws/file/below', enotdir]), ['absent /ws/file/below'], kind)
  }
})

test('a library that only begins like a dependency is opened in vain, if all dependencies are known', () => {
  const [rlib, both, stray, hashed] = ['libui.rlib', 'libui.so', 'libui_macros-3.rlib', 'libui-4.rmeta'].map(
    (name) => `/ws/target/debug/deps/${name}`,
  ) as [string, string, string, string]
  const opened: Event[] = [rlib, both, stray, hashed].map((path) => ['open', path])
  const seen = (change: Partial<ReadScope>, ...more: Event[]): string[] =>
    select([...opened, ...more], { dependencies: new Set(['libui.rlib']), ...change }).looks.map(({ path }) => path)
  assert.deepEqual(seen({}), [both])
  assert.deepEqual(seen({ complete: false }), [both, stray, hashed])
  assert.deepEqual(seen({ dependencies: new Set(['libother.rlib']) }), [rlib, both, stray, hashed])
  // A library that the compiler does not load is no macro, and may need any of them.
  const macro = '/ws/target/debug/deps/libmacro-2.so'
  const dependencies = new Set(['libui.rlib', 'libmacro-2.so'])
  assert.deepEqual(seen({ dependencies }), [both, stray, hashed])
  assert.deepEqual(seen({ dependencies }, ['load', macro]), [both])
})

test('readlink of what is no link tells only that it is there', () => {
  assert.deepEqual(looksOf(['link', '/ws/src/lib.rs', einval]), ['stat /ws/src/lib.rs'])
})

test('a failure that says nothing about what is there makes the compile unobserved', () => {
  for (const kind of ['open', 'stat', 'list', 'link', 'exec', 'load'] as const) {
    assert.equal(select([[kind, '/ws/closed', eacces]]).problem, 'unobserved', kind)
  }
  assert.equal(select([['open', '/ws/closed', einval]]).problem, 'unobserved')
})

test('one thing looked at in several ways is looked at in each of them, once', () => {
  const events: Event[] = [
    ['stat', '/ws/a'],
    ['open', '/ws/a'],
    ['open', '/ws/a'],
    ['link', '/ws/a'],
    ['stat', '/ws/b', enoent],
    ['open', '/ws/b', enoent],
  ]
  assert.deepEqual(looksOf(...events), ['absent /ws/b', 'link /ws/a', 'stat /ws/a'])
})

test('that a directory exists goes without saying when something in it was found', () => {
  assert.deepEqual(looksOf(['stat', '/ws'], ['stat', '/ws/src'], ['open', '/ws/src/lib.rs']), ['stat /ws/src/lib.rs'])
  assert.deepEqual(looksOf(['stat', '/ws/src'], ['list', '/ws/src']), ['list /ws/src'])
  assert.deepEqual(looksOf(['stat', '/ws/src'], ['link', '/ws/src/l']), ['link /ws/src/l'])
  assert.deepEqual(looksOf(['list', '/ws/src'], ['open', '/ws/src/lib.rs']), ['list /ws/src', 'stat /ws/src/lib.rs'])
})

test('but not when something in it was missing, or for what only begins with its name', () => {
  assert.deepEqual(looksOf(['stat', '/ws/src'], ['open', '/ws/src/x', enoent]), ['absent /ws/src/x', 'stat /ws/src'])
  assert.deepEqual(looksOf(['stat', '/ws/src'], ['open', '/ws/src2/x']), ['stat /ws/src', 'stat /ws/src2/x'])
})

test('a path is taken as it was asked for, and judged as it is meant', () => {
  assert.deepEqual(looksOf(['open', '/usr/lib/gcc/12/../../crt1.o']), ['stat /usr/lib/gcc/12/../../crt1.o'])
  assert.deepEqual(looksOf(['open', '/ws/../toolchain/lib/x'], ['open', '/toolchain/lib//x/']), [])
  assert.equal(select([['write', '/tmp/../ws/src/lib.rs']]).problem, 'writes-elsewhere')
})

test('what the action says itself is left out: the toolchain, OUT_DIR, its own outputs', () => {
  assert.deepEqual(
    looksOf(
      ['open', '/toolchain/lib/libstd.rlib'],
      ['stat', '/toolchain/lib/none', enoent],
      ['list', '/toolchain/lib'],
      ['open', '/ws/target/debug/build/x-1/out/gen.rs'],
      ['stat', '/ws/target/debug/build/x-1/out/gone.rs', enoent],
      ['write', '/ws/target/debug/deps/.shoal-1/libx.rmeta'],
      ['write', '/shared/out/libx.d'],
      ['open', '/shared/out/of-others'],
      ['stat', '/ws/target/debug/deps/.shoal-1'],
      ['open', '/ws/target/debug/deps/.shoal-1/rmetaX/full.rmeta', eacces],
    ),
    [],
  )
})

test('of a directory of crates only the crates count that were loaded and that the action does not name', () => {
  assert.deepEqual(
    looksOf(
      ['list', '/ws/target/debug/deps'],
      ['stat', '/ws/target/debug/deps'],
      ['open', '/ws/target/debug/deps/libserde-1.rmeta'],
      ['load', '/ws/target/debug/deps/libmacro-2.so'],
      ['stat', '/ws/target/debug/deps/libother-3.rmeta'],
      ['open', '/ws/target/debug/deps/libgone-4.rmeta', enoent],
    ),
    [],
  )
  assert.deepEqual(
    looksOf(['open', '/ws/target/debug/deps/libthree-3.rmeta'], ['load', '/ws/target/debug/deps/libfour-4.so']),
    ['file /ws/target/debug/deps/libfour-4.so', 'file /ws/target/debug/deps/libthree-3.rmeta'],
  )
  assert.deepEqual(looksOf(['open', '/ws/target/debug/deps/sub/data']), ['stat /ws/target/debug/deps/sub/data'])
})

test('what was made in a directory for temporary files is nobody’s input', () => {
  assert.deepEqual(
    looksOf(
      ['stat', '/tmp'],
      ['stat', '/var/tmp'],
      ['write', '/tmp/rustcAbC'],
      ['list', '/tmp/rustcAbC'],
      ['open', '/tmp/rustcAbC/deep/x.o'],
      ['write', '/var/tmp/cc1.s'],
      ['open', '/var/tmp/cc1.s'],
      ['stat', '/tmp/rustcAbC/none', enoent],
    ),
    [],
  )
})

test('what others left there, or what is looked at before it was made, counts', () => {
  assert.deepEqual(looksOf(['open', '/tmp/cache/of-others']), ['stat /tmp/cache/of-others'])
  assert.deepEqual(looksOf(['list', '/tmp/cache']), ['list /tmp/cache'])
  assert.deepEqual(looksOf(['open', '/tmp/a', enoent], ['write', '/tmp/a'], ['open', '/tmp/a']), ['absent /tmp/a'])
  assert.deepEqual(looksOf(['write', '/tmp/made'], ['open', '/tmp/made2']), ['stat /tmp/made2'])
  assert.deepEqual(looksOf(['write', '/tmp/failed', eacces], ['open', '/tmp/failed']), ['stat /tmp/failed'])
})

test('a write anywhere else is seen, one that failed changes nothing', () => {
  for (const path of ['/ws/src/generated.rs', '/tmpfile', '/ws/target/debug/build/x-1/out/y', '/home/a/.cache/x']) {
    assert.equal(select([['write', path]]).problem, 'writes-elsewhere', path)
    assert.equal(select([['write', path, eacces]]).problem, undefined, path)
  }
})

test('what was made in a directory for temporary files is told, because it may be there still', () => {
  const made = ['/tmp/ccX/a.o', '/var/tmp/log', '/tmp', '/ws/target/debug/deps/.shoal-1/x.o'] as const
  const events = made.map((path): Event => ['write', path])
  assert.deepEqual(select([...events, ['write', '/tmp/refused', eacces]]).temporary, ['/tmp/ccX/a.o', '/var/tmp/log'])
})

test('sources that lie in a directory for temporary files are no temporary files', () => {
  const owned = { owned: ['/tmp/checkout'], products: ['/tmp/checkout/target/deps/.shoal-1'] }
  assert.equal(select([['write', '/tmp/checkout/src/lib.rs']], owned).problem, 'writes-elsewhere')
  assert.equal(select([['write', '/tmp/checkout/target/deps/.shoal-1/x.d']], owned).problem, undefined)
  assert.equal(select([['write', '/tmp/checkout2/x']], owned).problem, undefined)
})

test('the network is seen, also where it could not be reached', () => {
  assert.equal(select([['net', '']]).problem, 'uses-network')
  assert.equal(select([['net', '', eacces]]).problem, 'uses-network')
})

test('a look into a directory of native libraries that the action does not name is seen', () => {
  assert.equal(select([['open', '/opt/native/libz.a']]).problem, 'native-library')
  assert.equal(select([['stat', '/opt/native/libz.a', enoent]]).problem, 'native-library')
  assert.deepEqual(looksOf(['list', '/opt/native'], ['open', '/opt/native2/libz.a']), [
    'list /opt/native',
    'stat /opt/native2/libz.a',
  ])
})

test('the first problem is the one that is told', () => {
  const problems: Event[] = [
    ['net', ''],
    ['write', '/ws/x'],
    ['open', '/opt/native/y'],
    ['open', '/x', eacces],
  ]
  for (const event of problems) {
    const { problem } = select([event])
    assert.ok(problem !== undefined)
    assert.equal(select([event, ...problems]).problem, problem)
  }
})

test('what every process looks at does not count', () => {
  for (const path of [
    '/proc/self/exe',
    '/proc/1234/maps',
    '/proc/thread-self/cgroup',
    '/proc/filesystems',
    '/sys/fs/cgroup/cpu.max',
    '/dev/null',
    '/dev/urandom',
    '/dev/tty',
    '/sys/kernel/mm/transparent_hugepage/enabled',
  ]) {
    assert.deepEqual(looksOf(['open', path], ['stat', path, enoent], ['write', path]), [], path)
  }
  for (const path of ['/proc/cpuinfo', '/proc/meminfo', '/dev/sda', '/sys/class/net', '/procs/self']) {
    assert.deepEqual(looksOf(['open', path]), [`stat ${path}`], path)
  }
})

test('a program is what its name finds along PATH', () => {
  assert.deepEqual(looksOf(['exec', 'cc']), ['program cc'])
  assert.deepEqual(looksOf(['exec', 'cc', enoent], ['exec', 'cc']), ['program cc'])
})

test('what is looked for in a directory of PATH is perhaps a program, and otherwise what it would be elsewhere', () => {
  for (const [event, kind] of [
    [['stat', '/usr/bin/ld'], 'stat'],
    [['exec', '/usr/bin/../bin/ld'], 'stat'],
    [['link', '/usr/bin/ld'], 'link'],
    [['link', '/usr/bin/ld', einval], 'stat'],
    [['stat', '/home/a/bin/ld', enoent], 'absent'],
  ] satisfies [Event, Look['kind']][]) {
    const { looks, problem } = select([event])
    assert.deepEqual(looks, [{ kind: 'program', path: 'ld', otherwise: { kind, path: event[1] } }])
    assert.equal(problem, undefined)
  }
  assert.deepEqual(select([['stat', '/home/a/bin/ld', eacces]]), {
    looks: [{ kind: 'program', path: 'ld' }],
    variables: new Map(),
    programs: [],
    loaded: [],
    temporary: [],
    problem: undefined,
  })
  // What is opened is a file, whoever finds it along PATH.
  assert.deepEqual(looksOf(['open', '/usr/bin/ld']), ['stat /usr/bin/ld'])
  assert.deepEqual(looksOf(['exec', '/usr/bin/deep/ld']), ['stat /usr/bin/deep/ld'])
  assert.deepEqual(looksOf(['list', '/usr/bin']), ['list /usr/bin'])
})

test('a program that ran was looked at, and one in a directory of people may look around itself', () => {
  const { looks, programs, variables } = select([
    ['attach', '/usr/libexec/ld'],
    ['attach', '/usr/bin/cc'],
  ])
  assert.deepEqual(looks.map(({ kind, path }) => `${kind} ${path}`).sort(), ['program cc', 'stat /usr/libexec/ld'])
  assert.deepEqual([programs, variables], [['/usr/libexec/ld', '/usr/bin/cc'], new Map()])
  for (const event of ['attach', 'open'] as const) {
    assert.deepEqual(select([[event, '/home/a/bin/xgcc']]).variables, new Map([['PATH', { macro: true }]]))
  }
  assert.deepEqual(select([['open', '/home/a/bin/xgcc', enoent]]).variables, new Map())
})

test('a name that leads nowhere by itself is no file', () => {
  assert.deepEqual(looksOf(['load', 'libz.so.1'], ['open', ''], ['stat', 'relative'], ['exec', '']), [])
})

test('variables are collected with whether a macro asked', () => {
  const ask = (path: string, macro: boolean): Observation => ({ kind: 'env', path, errno: enoent, macro })
  const { variables, looks } = selectReads(
    [ask('A', false), ask('B', true), ask('C', false), ask('C', true), ask('D', true), ask('D', false)],
    scope,
  )
  assert.deepEqual(
    [...variables].map(([name, { macro }]) => [name, macro]),
    [
      ['A', false],
      ['B', true],
      ['C', true],
      ['D', true],
    ],
  )
  assert.deepEqual(looks, [])
})

test('libraries that were loaded are told, whether or not the action names them', () => {
  const { loaded } = select([
    ['load', '/ws/target/debug/deps/libmacro-2.so'],
    ['load', '/toolchain/lib/librustc_driver.so'],
    ['load', '/usr/lib/../lib/libz.so'],
    ['attach', '/toolchain/bin/rustc'],
    ['open', '/usr/lib/libnot.so'],
  ])
  assert.deepEqual(loaded, [
    '/ws/target/debug/deps/libmacro-2.so',
    '/toolchain/lib/librustc_driver.so',
    '/usr/lib/libz.so',
  ])
})

test('isWithin() knows a directory from one whose name only begins the same', () => {
  for (const path of ['/a/b', '/a/b/c', '/a/b/c/d']) assert.ok(isWithin(path, '/a/b'), path)
  for (const path of ['/a', '/a/bc', '/a/b-2/c', '/x/a/b', '']) assert.ok(!isWithin(path, '/a/b'), path)
})

const anyPath = fc
  .array(fc.constantFrom('ws', 'tmp', 'usr', 'bin', 'src', '..', 'a.rs', 'target', 'debug', 'deps', 'opt', 'native'), {
    maxLength: 5,
  })
  .map((parts) => `/${parts.join('/')}`)
const anyEvent: fc.Arbitrary<Observation> = fc.record({
  kind: fc.constantFrom('open', 'stat', 'list', 'link', 'exec', 'write', 'env', 'load', 'net', 'attach'),
  path: fc.oneof(anyPath, fc.string({ maxLength: 12 })),
  errno: fc.constantFrom(0, 0, enoent, enotdir, einval, eacces),
  macro: fc.boolean(),
})

test('nothing that was found outside of what the action says is lost, whatever else was seen', () => {
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 12 }), (events) => {
      const plain = events.filter(({ kind }) => kind !== 'write')
      const { looks, problem } = selectReads(
        [...plain, { kind: 'open', path: '/outside/x', errno: 0, macro: false }],
        scope,
      )
      assert.ok(problem !== undefined || looks.some(({ path }) => path === '/outside/x'))
      for (const { kind, path } of looks) assert.equal(path.startsWith('/'), kind !== 'program')
    }),
  )
})

test('what no directory of PATH has is one look for a program, and not one for each of the directories', () => {
  const tried: Event[] = [
    ['stat', '/usr/bin/emcc', enoent],
    ['exec', '/home/a/bin/emcc', enoent],
  ]
  const looked = (...events: Event[]): Look[] => select(events).looks
  assert.deepEqual(looked(...tried), [{ kind: 'program', path: 'emcc', isNowhere: true }])
  assert.deepEqual(looked(['exec', 'emcc', enoent], ...tried), [{ kind: 'program', path: 'emcc', isNowhere: true }])
  // One directory alone is no search, and what one has is found.
  const one = looked(['stat', '/usr/bin/emcc', enoent])
  assert.deepEqual(
    one.map(({ otherwise }) => otherwise?.path),
    ['/usr/bin/emcc'],
  )
  const found = looked(['stat', '/usr/bin/emcc', enoent], ['exec', '/home/a/bin/emcc'])
  assert.equal(found.length, 2)
  assert.ok(found.every(({ isNowhere }) => isNowhere === undefined))
  // A PATH that the script has made.
  assert.ok(looksOf(...tried, ['exec', '/opt/bin/emcc', enoent]).includes('absent /opt/bin/emcc'))
})
