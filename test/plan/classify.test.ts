import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  installedTarget,
  links,
  reasonNotAway,
  reasonToStay,
  runsOnHost,
  type UnitKind,
  unitKind,
} from '../../src/plan/classify.ts'
import { parseRustcArgs, type RustcArgs } from '../../src/plan/rustc-args.ts'
import { libArgs, unitArgs, withOptions } from './support.ts'

const linux = 'x86_64-unknown-linux-gnu'
const nothing = new Map<string, string>()
/** With the options of `libArgs` that match taken out. */
const without = (pattern: RegExp): RustcArgs => parseRustcArgs(libArgs.filter((argument) => !pattern.test(argument)))
const named = (crate: string, types: string[]): RustcArgs => unitArgs(types, 'dep-info,link', '--crate-name', crate)

/** Unit, its kind, whether a linker runs, whether others may compile it. */
const units: [what: string, args: RustcArgs, kind: UnitKind, linked: boolean, away: boolean][] = [
  ['a library', withOptions(), 'lib', false, true],
  ['an rlib', unitArgs(['rlib'], 'dep-info,metadata,link'), 'lib', false, true],
  ['a check of a library', unitArgs(['lib'], 'dep-info,metadata'), 'lib', false, true],
  ['a library for Rust and for C', unitArgs(['lib', 'cdylib']), 'lib', true, true],
  ['the same for two linkers', unitArgs(['rlib,dylib']), 'lib', true, true],
  ['a library and an archive', unitArgs(['lib', 'staticlib'], 'dep-info,metadata,link'), 'lib', false, true],
  ['an archive', unitArgs(['staticlib']), 'staticlib', false, true],
  ['a procedural macro', unitArgs(['proc-macro']), 'proc-macro', true, true],
  ['a program', unitArgs(['bin']), 'bin', true, true],
  ['a program by default', unitArgs([]), 'bin', true, true],
  ['a check of a program', unitArgs(['bin'], 'dep-info,metadata'), 'bin', false, true],
  ['a check of a macro', unitArgs(['proc-macro'], 'dep-info,metadata'), 'proc-macro', false, true],
  ['a dylib', unitArgs(['dylib']), 'dylib', true, true],
  ['a cdylib', unitArgs(['cdylib']), 'cdylib', true, true],
  ['the tests of a library', unitArgs([], 'dep-info,link', '--test'), 'test', true, true],
  ['a check of tests', unitArgs(['lib'], 'dep-info,metadata', '--test'), 'test', false, true],
  ['a build script', named('build_script_build', ['bin']), 'build-script', true, true],
  ['a build script of another name', named('build_script_main', ['bin']), 'build-script', true, true],
  ['what rustc may come to know', unitArgs(['sdylib']), 'other', true, false],
]
for (const [what, args, kind, linked, away] of units) {
  test(`${what}: ${kind}${linked ? ', linked' : ''}, ${away ? 'may' : 'may not'} go away`, () => {
    assert.equal(unitKind(args), kind)
    assert.equal(links(args), linked)
    assert.equal(reasonNotAway(args, undefined, linux), away ? undefined : 'kind')
    assert.equal(reasonToStay(args, nothing), undefined, 'every kind of unit has an action')
  })
}

for (const [change, reason] of [
  [['-C', 'profile-generate=/p'], 'unsupported-option'],
  [['-C', 'save-temps'], 'unsupported-option'],
  [['-Csave_temps'], 'unsupported-option'],
  [['--codegen=split_debuginfo=packed'], 'split-debuginfo'],
  [['-C', 'split-debuginfo=packed'], 'split-debuginfo'],
  [['-C', 'split-debuginfo=unpacked'], 'split-debuginfo'],
  [['--target', './my.json'], 'unsupported-option'],
  [['--target', 'targets/mine'], 'unsupported-option'],
  [['--target', 'x86_64-pc-windows-msvc'], 'unsupported-option'],
  [['--target', 'x86_64-unknown-uefi'], 'unsupported-option'],
  [['--emit=asm'], 'unsupported-emit'],
  [['second.rs'], 'unsupported-option'],
  [['-'], 'unsupported-option'],
  [['--sysroot', '/x'], 'unsupported-option'],
  [['--remap-path-scope', 'object'], 'unsupported-option'],
  [['--print', 'cfg'], 'unsupported-option'],
  [['-o', '/x'], 'unsupported-option'],
  [['-v'], 'unsupported-option'],
] as const) {
  test(`${change.join(' ')} has no action: ${reason}`, () => {
    assert.equal(reasonToStay(withOptions(...change), nothing), reason)
  })
}

test('a target with a file of its own is for libraries, here', () => {
  const own = ['--target', '/ws/my.json']
  assert.equal(reasonToStay(withOptions(...own), nothing), undefined)
  assert.equal(reasonNotAway(withOptions(...own), undefined, linux), 'unsupported-option')
  for (const args of [unitArgs(['bin'], 'dep-info,link', ...own), unitArgs(['lib'], 'dep-info,link', '--test', ...own)])
    assert.equal(reasonToStay(args, nothing), 'unsupported-option')
  assert.equal(installedTarget(withOptions(...own)), undefined)
  assert.equal(installedTarget(withOptions('--target', 'wasm32-wasip1')), 'wasm32-wasip1')
})

test('without a source in Rust or without dep-info there is no action', () => {
  assert.equal(reasonToStay(without(/\.rs$/), nothing), 'unsupported-option')
  assert.equal(reasonToStay(unitArgs(['lib'], 'metadata,link'), nothing), 'unsupported-emit')
})

for (const option of [
  ['-C', 'incremental=/t'],
  ['-C', 'target-cpu=native'],
  ['-C', 'split-debuginfo=off'],
  ['-C', 'linker=/usr/bin/ld.lld'],
  ['-C', 'link-arg=-s'],
  ['-Z', 'threads=8'],
  ['--target', 'wasm32-unknown-unknown'],
  ['-L', 'native=/n'],
  ['-l', 'static=z'],
]) {
  test(`${option.join(' ')} does not keep a unit from having an action`, () => {
    assert.equal(reasonToStay(withOptions(...option), nothing), undefined)
  })
}

for (const name of ['RUSTC_LOG', 'RUSTC_FORCE_RUSTC_VERSION', 'RUSTC_OVERRIDE_VERSION_STRING', 'RUST_TARGET_PATH']) {
  test(`${name} changes rustc itself: no action`, () => {
    assert.equal(reasonToStay(withOptions(), new Map([[name, '1']])), 'environment')
    assert.equal(reasonToStay(withOptions(), new Map([['RUST_LOG', '1']])), undefined)
  })
}

for (const [change, reason] of [
  [['-C', 'target-cpu=native'], 'native-cpu'],
  [['-C', 'target_cpu=native'], 'native-cpu'],
  [['-C', 'target-cpu=x86-64-v3'], undefined],
  [['-C', 'linker=/usr/bin/ld.lld'], undefined],
  [['-C', 'link-arg=-s'], undefined],
  [['-C', 'link-args=-s -g'], undefined],
  [['-C', 'linker-plugin-lto'], 'unsupported-option'],
  [['-C', 'profile-use=/p.profdata'], 'unsupported-option'],
  [['-Cprofile_use=/p.profdata'], 'unsupported-option'],
  [['-Z', 'threads=8'], 'unsupported-option'],
  [['-C', 'incremental=/t'], undefined],
  [['-C', 'lto=thin'], undefined],
] as const) {
  test(`${change.join(' ')} goes away: ${reason ?? 'yes'}`, () => {
    assert.equal(reasonNotAway(withOptions(...change), undefined, linux), reason)
  })
}

test('what has no name of its own, makes no metadata or is not compiled by rustc itself stays', () => {
  assert.equal(reasonNotAway(without(/^extra-filename=/), undefined, linux), 'kind')
  assert.equal(reasonNotAway(unitArgs(['lib']), undefined, linux), 'unsupported-emit')
  assert.equal(reasonNotAway(withOptions(), '/home/a/.cargo/bin/clippy-driver', linux), 'kind')
})

for (const [change, reason] of [
  [[], undefined],
  [['-C', 'linker=/opt/x86_64-linux-gnu-cc-13'], undefined],
  [['-C', 'linker=gcc'], 'unsupported-option'],
  [['-C', 'linker=/usr/bin/aarch64-linux-gnu-gcc-13'], 'unsupported-option'],
  [['-C', 'linker=clang'], 'unsupported-option'],
  [['-C', 'linker=./cc.sh'], 'unsupported-option'],
  [['-C', 'linker-flavor=gcc'], 'unsupported-option'],
  [['-C', 'linker_flavor=gcc'], 'unsupported-option'],
  [['-C', 'linker=/usr/bin/ld.lld'], 'unsupported-option'],
  [['-C', 'linker=cc --evil'], 'unsupported-option'],
  [['-C', 'link-arg=-fuse-ld=mold'], undefined],
  [['-C', 'lto=off'], undefined],
  [['-C', 'lto'], 'link-time-optimisation'],
  [['-C', 'lto=thin'], 'link-time-optimisation'],
  [['-C', 'lto=fat'], 'link-time-optimisation'],
  [['-l', 'static=z'], 'native-library'],
  [['-l', 'dylib:+verbatim=libz.so.1'], 'native-library'],
  [['-l', 'dylib:-as-needed,+verbatim=libz.so.1'], 'native-library'],
  [['-l', 'z'], undefined],
] as const) {
  test(`a program with ${change.join(' ') || 'nothing special'} goes away: ${reason ?? 'yes'}`, () => {
    assert.equal(reasonNotAway(unitArgs(['bin'], 'dep-info,link', ...change), undefined, linux), reason)
  })
}

test('linkers of other systems are called otherwise', () => {
  for (const target of ['x86_64-unknown-linux-musl', 'aarch64-apple-darwin', 'wasm32-wasip1', 'i686-unknown-linux-gnu'])
    assert.equal(reasonNotAway(unitArgs(['bin']), undefined, target), 'kind', target)
})

test('what runs on the host while it builds is known by its kind', () => {
  const kinds: UnitKind[] = [
    'lib',
    'proc-macro',
    'bin',
    'test',
    'build-script',
    'dylib',
    'cdylib',
    'staticlib',
    'other',
  ]
  assert.deepEqual(kinds.filter(runsOnHost), ['proc-macro', 'build-script'])
})
