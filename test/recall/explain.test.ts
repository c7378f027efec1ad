import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { CID } from 'multiformats/cid'
import type { Action, Tree } from '../../src/plan/action.ts'
import { type Cause, cause } from '../../src/recall/cause.ts'
import {
  explainAction as explainSketches,
  firstTime,
  type KnownTrees,
  nearest,
  notKept,
  subjectOf,
} from '../../src/recall/explain.ts'
import { decodeSketch, encodeSketch, sketchOf } from '../../src/recall/sketch.ts'
import { cidOf, hexOf } from '../../src/wire/cid.ts'

const cid = (text: string): CID => cidOf(Buffer.from(text))
const short = (text: string): string => hexOf(cid(text)).slice(0, 12)
const deps = '\0deps\0'

const action: Action = {
  v: 2,
  salt: 'mesh-1',
  toolchain: 'a'.repeat(64),
  driver: null,
  target: 'x86_64-unknown-linux-gnu',
  crate: 'app',
  argv: [
    ...['--crate-name', 'app', '--edition=2021', '--crate-type', 'lib', '--emit', 'dep-info,metadata,link'],
    ...['-C', 'opt-level=1', '--cfg', 'feature="std"', '--cfg', 'backend="a"', '-C', 'metadata=0123456789abcdef'],
    ...['-C', 'extra-filename=-0123456789abcdef', '--out-dir', '\0out\0', '-L', `dependency=${deps}`],
    ...['--extern', `leaf=${deps}/libleaf-1111111111111111.rmeta`, '\0workspace\0/app/src/lib.rs'],
  ],
  env: [
    ['CARGO_PKG_NAME', 'app'],
    ['CARGO_PKG_VERSION', '0.1.0'],
    ['COLOUR', 'red'],
  ],
  cwd: '\0workspace\0',
  remaps: [
    ['nowhere', '/cargo/registry/src'],
    ['registry', '/cargo/registry/src'],
  ],
  deps: [
    ['libbase-2222222222222222.rmeta', cid('base')],
    ['libleaf-1111111111111111.rmeta', cid('leaf')],
  ],
  build: cid('out-dir'),
  outputs: [
    ['app-0123456789abcdef.d', 'dep-info'],
    ['libapp-0123456789abcdef.rmeta', 'metadata'],
  ],
}

/** Through the form in which the older one is kept. */
function explainAction(older: Action, newer: Action, outDirs?: KnownTrees): Cause[] {
  const kept = decodeSketch(encodeSketch(sketchOf(older))) ?? assert.fail()
  return explainSketches({ sketch: kept }, { sketch: sketchOf(newer) }, outDirs && ((): KnownTrees => outDirs))
}

const tree = (files: Record<string, string>): Tree => ({
  v: 1,
  files: Object.entries(files).map(([path, text]) => ({ path, cid: cid(text), size: text.length })),
})
const edited = (change: (argv: string[]) => string[]): Action => ({ ...action, argv: change([...action.argv]) })
const replaced = (from: string, to: string): Action =>
  edited((argv) => argv.map((argument) => (argument === from ? to : argument)))
/** What cargo does to every name of a unit when almost anything about it changes. */
const rehashed = (changed: Action): Action => ({
  ...changed,
  argv: changed.argv.map((argument) => argument.replace('0123456789abcdef', 'fedcba9876543210')),
  outputs: changed.outputs.map(([name, kind]) => [name.replace('0123456789abcdef', 'fedcba9876543210'), kind]),
})

/** The same package in another version, as cargo has it in a registry: the version is in paths as well. */
function versioned(version: string): Action {
  const [major = '', minor = '', patch = ''] = version.split('.')
  const parts: [string, string][] = [
    ['CARGO_MANIFEST_DIR', `\0registry\0/index-1/app-${version}`],
    ['CARGO_PKG_NAME', 'app'],
    ['CARGO_PKG_VERSION', version],
    ['CARGO_PKG_VERSION_MAJOR', major],
    ['CARGO_PKG_VERSION_MINOR', minor],
    ['CARGO_PKG_VERSION_PATCH', patch],
    ['COLOUR', 'red'],
  ]
  const source = `\0registry\0/index-1/app-${version}/src/lib.rs`
  const remaps: Action['remaps'] = [['package', `/cargo/deps/app-${version}`]]
  const argv = action.argv.map((argument, at) => (at === action.argv.length - 1 ? source : argument))
  return { ...action, argv, env: parts, cwd: `\0registry\0/index-1/app-${version}`, remaps }
}

const rows: { what: string; newer: Action; outDir?: KnownTrees; causes: Cause[] }[] = [
  { what: 'nothing', newer: action, causes: [] },
  { what: 'another mesh', newer: { ...action, salt: 'mesh-2' }, causes: [cause('mesh', 'mesh', 'mesh-1', 'mesh-2')] },
  {
    what: 'another toolchain',
    newer: { ...action, toolchain: 'b'.repeat(64) },
    causes: [cause('toolchain', 'toolchain', 'a'.repeat(12), 'b'.repeat(12))],
  },
  {
    what: 'another target',
    newer: { ...action, target: 'aarch64-unknown-linux-gnu' },
    causes: [cause('target', 'target', 'x86_64-unknown-linux-gnu', 'aarch64-unknown-linux-gnu')],
  },
  {
    what: 'a compiler driver',
    newer: { ...action, driver: cid('clippy') },
    causes: [cause('driver', 'compiler driver', null, short('clippy'))],
  },
  {
    what: 'a codegen option with another value',
    newer: rehashed(replaced('opt-level=1', 'opt-level=3')),
    causes: [cause('codegen', 'opt-level', '1', '3')],
  },
  {
    what: 'a codegen option too many, and one without a value',
    newer: edited((argv) => ['-C', 'debuginfo=2', '-C', 'no-redzone', ...argv]),
    causes: [cause('codegen', 'debuginfo', null, '2'), cause('codegen', 'no-redzone', null, 'on')],
  },
  {
    what: 'another feature, before everything that follows from it',
    newer: rehashed(
      edited((argv) => [...argv, '--check-cfg', 'cfg(feature, values("std"))', '--cfg', 'feature="serde"']),
    ),
    causes: [
      cause('feature', 'serde', null, 'on'),
      cause('option', '--check-cfg cfg(feature, values("std"))', null, 'on'),
    ],
  },
  {
    what: 'a cfg with another value',
    newer: replaced('backend="a"', 'backend="b"'),
    causes: [cause('cfg', 'backend', '"a"', '"b"')],
  },
  {
    what: 'another option, another flag, another unstable option',
    newer: edited((argv) => [
      ...argv.map((argument) => (argument === '--edition=2021' ? '--edition=2024' : argument)),
      '--test',
      '-Zthreads=8',
    ]),
    causes: [
      cause('option', '--edition', '2021', '2024'),
      cause('option', '--test', null, 'on'),
      cause('option', '-Z threads', null, '8'),
    ],
  },
  {
    what: 'another source file',
    newer: replaced('\0workspace\0/app/src/lib.rs', '\0workspace\0/app/lib.rs'),
    causes: [cause('option', 'source file', '<workspace>/app/src/lib.rs', '<workspace>/app/lib.rs')],
  },
  {
    what: 'options in another order',
    newer: edited((argv) => [...argv.slice(2), ...argv.slice(0, 2)]),
    causes: [
      cause(
        'option',
        'order of the options',
        action.argv.join(' '),
        [...action.argv.slice(2), ...action.argv.slice(0, 2)].join(' '),
      ),
    ],
  },
  {
    what: 'nothing but the names that cargo makes up',
    newer: rehashed(action),
    causes: [cause('codegen', 'metadata', '0123456789abcdef', 'fedcba9876543210')],
  },
  {
    what: 'a variable changed, gone and new',
    newer: {
      ...action,
      env: [
        ['CARGO_PKG_NAME', 'app'],
        ['COLOUR', 'blue'],
        ['SIZE', ''],
      ],
    },
    causes: [
      cause('variable', 'CARGO_PKG_VERSION', '0.1.0', null),
      cause('variable', 'COLOUR', 'red', 'blue'),
      cause('variable', 'SIZE', null, ''),
    ],
  },
  {
    what: 'another OUT_DIR that nobody knows',
    newer: { ...action, build: cid('other') },
    causes: [cause('out-dir', 'OUT_DIR', short('out-dir'), short('other'))],
  },
  {
    what: 'no OUT_DIR',
    newer: { ...action, build: null },
    causes: [cause('out-dir', 'OUT_DIR', short('out-dir'), null)],
  },
  {
    what: 'files of OUT_DIR',
    newer: { ...action, build: cid('other') },
    outDir: {
      recorded: tree({ 'gen/a.rs': 'one', 'b.rs': 'same', 'c.rs': 'gone' }),
      here: tree({ 'gen/a.rs': 'two', 'b.rs': 'same', 'd.rs': 'new' }),
    },
    causes: [
      cause('out-dir', '<build>/gen/a.rs', short('one'), short('two')),
      cause('out-dir', '<build>/c.rs', short('gone'), null),
      cause('out-dir', '<build>/d.rs', null, short('new')),
    ],
  },
  {
    what: 'a dependency with other content',
    newer: { ...action, deps: [action.deps[0] ?? assert.fail(), ['libleaf-1111111111111111.rmeta', cid('leaf 2')]] },
    causes: [{ ...cause('dependency', 'leaf', short('leaf'), short('leaf 2')), unit: 'leaf-1111111111111111' }],
  },
  {
    what: 'a dependency in another version, which cargo gives another name',
    newer: rehashed({
      ...replaced(`leaf=${deps}/libleaf-1111111111111111.rmeta`, `leaf=${deps}/libleaf-3333333333333333.rmeta`),
      deps: [action.deps[0] ?? assert.fail(), ['libleaf-3333333333333333.rmeta', cid('leaf 2')]],
    }),
    causes: [{ ...cause('dependency', 'leaf', short('leaf'), short('leaf 2')), unit: 'leaf-3333333333333333' }],
  },
  {
    what: 'a new dependency and what it brings along, behind it',
    newer: {
      ...edited((argv) => [...argv, '--extern', `wish=${deps}/libwish-4444444444444444.so`]),
      deps: [
        ['libaaa-5555555555555555.rmeta', cid('aaa')],
        ...action.deps,
        ['libwish-4444444444444444.so', cid('wish')],
      ],
    },
    causes: [
      { ...cause('dependency', 'wish', null, short('wish')), unit: 'wish-4444444444444444' },
      { ...cause('dependency', 'aaa', null, short('aaa')), unit: 'aaa-5555555555555555' },
    ],
  },
  {
    what: 'a dependency less',
    newer: { ...edited((argv) => argv.slice(0, -3)), deps: [action.deps[0] ?? assert.fail()] },
    // The source file went with the last arguments.
    causes: [
      cause('option', 'source file', '<workspace>/app/src/lib.rs', null),
      cause('dependency', 'leaf', short('leaf'), null),
    ],
  },
  {
    what: 'another working directory and other remaps',
    newer: { ...action, cwd: '\0package\0', remaps: [] },
    causes: [cause('cwd', 'working directory', '<workspace>', '<package>')],
  },
  {
    what: 'remaps when nothing else differs',
    newer: { ...action, remaps: [] },
    causes: [cause('remap', 'remapped paths', 'nowhere=/cargo/registry/src, registry=/cargo/registry/src', '')],
  },
  {
    what: 'a dependency that only has another name before what cargo made of that',
    newer: rehashed({
      ...replaced(`leaf=${deps}/libleaf-1111111111111111.rmeta`, `leaf=${deps}/libleaf-3333333333333333.rmeta`),
      deps: [action.deps[0] ?? assert.fail(), ['libleaf-3333333333333333.rmeta', cid('leaf')]],
    }),
    causes: [
      {
        ...cause('dependency', 'leaf', 'leaf-1111111111111111', 'leaf-3333333333333333'),
        unit: 'leaf-3333333333333333',
      },
      cause('codegen', 'metadata', '0123456789abcdef', 'fedcba9876543210'),
    ],
  },
  {
    what: 'another version, and not what follows from it',
    newer: rehashed(versioned('0.2.0')),
    causes: [cause('version', 'app', '0.1.0', '0.2.0')],
  },
  {
    what: 'another version first, then what else is new in it',
    newer: { ...rehashed(versioned('0.1.1')), deps: [...action.deps, ['libnew-4444444444444444.rmeta', cid('new')]] },
    causes: [
      cause('version', 'app', '0.1.0', '0.1.1'),
      { ...cause('dependency', 'new', null, short('new')), unit: 'new-4444444444444444' },
    ],
  },
]

for (const { what, newer, outDir, causes } of rows) {
  test(`explainAction() names ${what}`, () => {
    const older = causes[0]?.what === 'version' ? versioned('0.1.0') : action
    assert.deepEqual(explainAction(older, newer, outDir), causes)
  })
}

test('an extern under another name is a cause when nothing else is', () => {
  const newer = replaced(`leaf=${deps}/libleaf-1111111111111111.rmeta`, `alias=${deps}/libleaf-1111111111111111.rmeta`)
  assert.deepEqual(explainAction(action, newer), [
    cause('option', '--extern leaf', `<deps>/libleaf.rmeta`, null),
    cause('option', '--extern alias', null, `<deps>/libleaf.rmeta`),
  ])
})

test('two actions that are not the same always have a cause', () => {
  const text = fc.constantFrom('a', 'b', 'c')
  const some = fc.record({
    salt: text,
    argv: fc.array(fc.constantFrom('-Copt-level=1', '-Copt-level=2', '--cfg=x', '--cfg=y', '-Ax', '--test'), {
      maxLength: 4,
    }),
    cwd: text,
    deps: fc.uniqueArray(fc.tuple(fc.constantFrom('liba-1.rmeta', 'libb-1.rmeta'), text), {
      selector: ([name]) => name,
    }),
    env: fc.uniqueArray(fc.tuple(fc.constantFrom('X', 'Y'), text), { selector: ([name]) => name }),
    build: fc.option(text),
    outputs: fc.constantFrom('x.d', 'y.d'),
  })
  type Some = typeof some extends fc.Arbitrary<infer Value> ? Value : never
  const from = (value: Some): Action => ({
    ...action,
    ...value,
    deps: value.deps.map(([name, content]) => [name, cid(content)]),
    build: value.build === null ? null : cid(value.build),
    outputs: [[value.outputs, 'dep-info']],
  })
  fc.assert(
    fc.property(some, some, (a, b) => {
      const sorted = (value: typeof a): string =>
        JSON.stringify({ ...value, deps: value.deps.toSorted(), env: value.env.toSorted() })
      assert.equal(explainAction(from(a), from(b)).length === 0, sorted(a) === sorted(b))
    }),
  )
})

test('nearest() takes the one with the fewest causes, the first of equals, and skips what cannot be compared', () => {
  const listed = new Map([
    ['three', ['a', 'b', 'c']],
    ['one', ['a']],
    ['also one', ['b']],
  ])
  const explain = (name: string): Cause[] | undefined => listed.get(name)?.map((each) => cause('cfg', each, null, 'on'))
  assert.deepEqual(nearest(['broken', ...listed.keys()], explain), [cause('cfg', 'a', null, 'on')])
  assert.equal(nearest(['broken'], explain), undefined)
  assert.equal(nearest([], explain), undefined)
})

test('a subject stays the same when its flags, features, sources, dependencies or version change, and only then', () => {
  const subject = (kind: 'lib' | 'test', changed: Partial<Action>): string =>
    subjectOf({ kind, action: { ...action, ...changed } })
  const same = subject('lib', {})
  const { argv, env, outputs } = rehashed(replaced('opt-level=1', 'opt-level=3'))
  assert.equal(subject('lib', { argv, env, outputs, deps: [], build: null, toolchain: 'b'.repeat(64) }), same)
  const versions = ['0.1.0', '0.2.0'].map((version) => subject('lib', versioned(version)))
  assert.equal(versions[0], versions[1])
  const main = replaced('\0workspace\0/app/src/lib.rs', '\0workspace\0/app/src/main.rs')
  const others = [
    subject('lib', main),
    subject('test', {}),
    subject('lib', { crate: 'other' }),
    subject('lib', { target: 'wasm32-unknown-unknown' }),
    subject('lib', {
      env: [
        ['CARGO_PKG_NAME', 'another-app'],
        ['CARGO_PKG_VERSION', '0.1.0'],
      ],
    }),
    subject('lib', { outputs: action.outputs.slice(0, 1) }),
    subject('lib', { driver: cid('clippy') }),
  ]
  assert.equal(new Set([same, ...others]).size, others.length + 1)
})

test('a first time and a result that was not kept say so', () => {
  assert.equal(firstTime('app').what, 'first-time')
  assert.equal(notKept('app').what, 'result')
})
