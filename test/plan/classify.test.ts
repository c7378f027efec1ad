import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  installedTarget,
  links,
  reasonNotAway,
  reasonToStay,
  type UnitKind,
  unitKind,
} from '../../src/plan/classify.ts'
import { parseRustcArgs, type RustcArgs } from '../../src/plan/rustc-args.ts'
import { libArgs, unitArgs, withOptions } from './support.ts'

const nothing = new Map<string, string>()
/** With the options of `libArgs` that match taken out. */
const without = (pattern: RegExp): RustcArgs => parseRustcArgs(libArgs.filter((argument) => !pattern.test(argument)))
const named = (crate: string, types: string[]): RustcArgs => unitArgs(types, 'dep-info,link', '--crate-name', crate)

/** Unit, its kind, whether a linker runs, whether others may compile it. */
const units: [what: string, args: RustcArgs, kind: UnitKind, linked: boolean, away: boolean][] = [
  ['a library', withOptions(), 'lib', false, true],
  ['an rlib', unitArgs(['rlib'], 'dep-info,metadata,link'), 'lib', false, true],
  ['a check of a library', unitArgs(['lib'], 'dep-info,metadata'), 'lib', false, true],
  ['a library for Rust and for C', unitArgs(['lib', 'cdylib']), 'lib', true, false],
  ['the same for two linkers', unitArgs(['rlib,dylib']), 'lib', true, false],
  ['a library and an archive', unitArgs(['lib', 'staticlib'], 'dep-info,metadata,link'), 'lib', false, false],
  ['an archive', unitArgs(['staticlib']), 'staticlib', false, false],
  ['a procedural macro', unitArgs(['proc-macro']), 'proc-macro', true, false],
  ['a program', unitArgs(['bin']), 'bin', true, false],
  ['a program by default', unitArgs([]), 'bin', true, false],
  ['a check of a program', unitArgs(['bin'], 'dep-info,metadata'), 'bin', false, false],
  ['a check of a macro', unitArgs(['proc-macro'], 'dep-info,metadata'), 'proc-macro', false, false],
  ['a dylib', unitArgs(['dylib']), 'dylib', true, false],
  ['a cdylib', unitArgs(['cdylib']), 'cdylib', true, false],
  ['the tests of a library', unitArgs([], 'dep-info,link', '--test'), 'test', true, false],
  ['a check of tests', unitArgs(['lib'], 'dep-info,metadata', '--test'), 'test', false, false],
  ['a build script', named('build_script_build', ['bin']), 'build-script', true, false],
  ['a build script of another name', named('build_script_main', ['bin']), 'build-script', true, false],
  ['what rustc may come to know', unitArgs(['sdylib']), 'other', true, false],
]
for (const [what, args, kind, linked, away] of units) {
  test(`${what}: ${kind}${linked ? ', linked' : ''}, ${away ? 'may' : 'may not'} go away`, () => {
    assert.equal(unitKind(args), kind)
    assert.equal(links(args), linked)
    assert.equal(reasonNotAway(args, undefined), away ? undefined : 'kind')
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
  assert.equal(reasonNotAway(withOptions(...own), undefined), 'unsupported-option')
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
  [['-C', 'linker=/usr/bin/cc'], 'unsupported-option'],
  [['-C', 'link-arg=-s'], 'unsupported-option'],
  [['-C', 'link-args=-s -g'], 'unsupported-option'],
  [['-C', 'linker-plugin-lto'], 'unsupported-option'],
  [['-C', 'profile-use=/p.profdata'], 'unsupported-option'],
  [['-Cprofile_use=/p.profdata'], 'unsupported-option'],
  [['-Z', 'threads=8'], 'unsupported-option'],
  [['-C', 'incremental=/t'], undefined],
  [['-C', 'lto=thin'], undefined],
] as const) {
  test(`${change.join(' ')} goes away: ${reason ?? 'yes'}`, () => {
    assert.equal(reasonNotAway(withOptions(...change), undefined), reason)
  })
}

test('what has no name of its own, makes no metadata or is not compiled by rustc itself stays', () => {
  assert.equal(reasonNotAway(without(/^extra-filename=/), undefined), 'kind')
  assert.equal(reasonNotAway(unitArgs(['lib']), undefined), 'unsupported-emit')
  assert.equal(reasonNotAway(withOptions(), '/home/a/.cargo/bin/clippy-driver'), 'kind')
})
