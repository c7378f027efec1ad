import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { codeOf } from '../../src/base/errors.ts'
import { admit } from '../../src/execute/admission.ts'
import type { Action } from '../../src/plan/action.ts'
import { cidOf } from '../../src/wire/cid.ts'

const argv = (
  '--crate-name serde --edition=2021 \0registry\0/index.crates.io-1949cf8c/serde-1.0.1/src/lib.rs --error-format=json ' +
  '--json=diagnostic-rendered-ansi,artifacts,future-incompat --crate-type lib --emit=dep-info,metadata,link ' +
  '-C embed-bitcode=no -C debuginfo=2 -Copt-level=3 --codegen panic=abort -C target-feature=+sse4.2,-avx ' +
  '--cfg feature="std" --check-cfg cfg(feature,values("std")) -C metadata=8be3e1d8 -C extra-filename=-8be3e1d8 ' +
  '--out-dir \0out\0 -L dependency=\0deps\0 -L native=\0build\0/lib -l static=foo --extern serde_derive=\0deps\0/libserde_derive-1.so ' +
  '--extern core --cap-lints allow -A dead_code -Wunused --warn=clippy::all --target x86_64-unknown-linux-gnu -g'
).split(' ')

const good: Action = {
  v: 2,
  salt: 's',
  toolchain: 'a'.repeat(64),
  driver: null,
  target: 'x86_64-unknown-linux-gnu',
  crate: 'serde',
  argv,
  env: [
    ['CARGO_MANIFEST_DIR', '\0registry\0/index.crates.io-1949cf8c/serde-1.0.1'],
    ['CARGO_PKG_AUTHORS', 'A. U. Thor'],
    ['CARGO_PKG_NAME', 'serde'],
    ['GIT_REV', 'abc'],
    ['OUT_DIR', '\0build\0'],
    ['RUSTC_BOOTSTRAP', '1'],
  ],
  cwd: '\0registry\0/index.crates.io-1949cf8c/serde-1.0.1',
  remaps: [['registry', '/cargo/registry/src']],
  deps: [],
  build: null,
  outputs: [
    ['serde-8be3e1d8.d', 'dep-info'],
    ['libserde-8be3e1d8.rmeta', 'metadata'],
    ['libserde-8be3e1d8.rlib', 'link'],
  ],
}

const refusal = { code: 'ERR_ADMISSION' }
const refuses = (change: Partial<Action>, what: string): void =>
  assert.throws(() => admit({ ...good, ...change }), refusal, what)
const isRefused = (action: Action): boolean => {
  try {
    admit(action)
    return false
  } catch (error) {
    assert.equal(codeOf(error), 'ERR_ADMISSION')
    return true
  }
}

test('admit() takes a plain library as cargo compiles it', () => {
  const admitted = admit(good)
  const names = { depInfo: 'serde-8be3e1d8.d', metadata: 'libserde-8be3e1d8.rmeta' }
  assert.deepEqual(admitted, { crate: 'serde', ...names, links: false })
})

const dangerous = [
  ['-C', 'linker=/bin/sh'],
  ['-Clinker=sh'],
  ['-C', 'link-arg=-Wl,-x'],
  ['-C', 'link-args=x'],
  ['-C', 'ar=/bin/sh'],
  ['-C', 'llvm-args=-x'],
  ['-C', 'passes=x'],
  ['-C', 'profile-use=/etc/passwd'],
  ['-C', 'profile-generate=/x'],
  ['-C', 'incremental=/x'],
  ['-C', 'save-temps'],
  ['-C', 'target-cpu=native'],
  ['-C', 'target-cpu=native:0123456789abcdef0123456789abcdef'],
  ['-C', 'target-cpu=help'],
  ['-C', 'split-debuginfo=unpacked'],
  ['-C', 'linker-plugin-lto=/x.so'],
  ['-C', 'dlltool=x'],
  ['-C', 'remark=all'],
  ['-C', 'extra-filename=/../x'],
  ['-C', 'metadata=a/b'],
  ['-Zcodegen-backend=/x.so'],
  ['-Z', 'unstable-options'],
  ['-vV'],
  ['-v'],
  ['--verbose'],
  ['--version'],
  ['--help'],
  ['--test'],
  ['--print', 'cfg'],
  ['--explain', 'E0001'],
  ['-o', '/x'],
  ['--sysroot', '/x'],
  ['--sysroot=/x'],
  ['--remap-path-prefix', 'a=b'],
  ['--remap-path-scope', 'all'],
  ['--env-set', 'A=B'],
  ['@/etc/passwd'],
  ['--cfg', '@/etc/passwd'],
  ['--cfg', '--sysroot'],
  ['-'],
  ['--'],
  [''],
  ['--L', 'x'],
  ['--C', 'opt-level=3'],
  ['-L', '/usr/lib'],
  ['-L', 'native=/usr/lib'],
  ['-L', 'native=\0build\0/../x'],
  ['-L', 'framework=\0deps\0'],
  ['-L', 'relative'],
  ['-l', '/lib/x.a'],
  ['-l', 'static=../x'],
  ['-l', 'link-arg=-x'],
  ['-l', 'framework=x'],
  ['--extern', 'a=/etc/passwd'],
  ['--extern', 'a=\0deps\0/../x.rlib'],
  ['--extern', 'a=\0deps\0/b/x.rlib'],
  ['--extern', 'a=\0workspace\0/x.rlib'],
  ['--extern', 'priv:a=\0deps\0/x.rlib'],
  ['--target', '/x.json'],
  ['--emit', 'obj'],
  ['--emit', 'metadata=/x'],
  ['--emit', 'link=-'],
  ['--emit', 'dep-info=\0out\0/x'],
  ['--crate-type', 'proc-macro'],
  ['--crate-type=bin'],
  ['--crate-type', 'lib'],
  ['--crate-name', 'serde'],
  ['--out-dir', '\0out\0/x'],
  ['--out-dir', '\0out\0'],
  ['--error-format', 'human'],
  ['--json', 'timings'],
  ['--color', 'always'],
  ['-W', 'help=x'],
  ['second.rs'],
  ['/etc/x.rs'],
  ['../x.rs'],
] as const

test('admit() refuses what could name a file, start a program or leave the roots', () => {
  for (const extra of dangerous) {
    refuses({ argv: [...argv, ...extra] }, extra.join(' '))
    refuses({ argv: [...extra, ...argv] }, extra.join(' '))
  }
})

test('admit() refuses whatever is missing or does not fit together', () => {
  const without = (pattern: RegExp): string[] => argv.filter((argument) => !pattern.test(argument))
  for (const pattern of [/\.rs$/, /^--error-format/, /^--emit/]) refuses({ argv: without(pattern) }, `${pattern}`)
  refuses({ argv: [...argv, '--cfg'] }, 'option without value')
  refuses({ crate: 'other' }, 'crate')
  refuses({ target: 'wasm32-unknown-unknown' }, 'target')
  refuses({ driver: cidOf(Buffer.from('clippy-driver')) }, 'driver')
  refuses({ outputs: good.outputs.slice(1) }, 'an output less')
  refuses({ outputs: [...good.outputs.slice(0, 2), ['../libserde-8be3e1d8.rlib', 'link']] }, 'another name')
  refuses({ argv: argv.map((a) => (a === 'extra-filename=-8be3e1d8' ? 'extra-filename=-other' : a)) }, 'extra-filename')
  for (const cwd of ['/', '', 'x', '\0registry\0/..', '\0registry\0/a//b', '\0home\0', '/x\0registry\0'])
    refuses({ cwd }, cwd)
  for (const target of ['', 'a=b', 'a\nb', 'a\0b']) refuses({ remaps: [['workspace', target]] }, target)
  for (const source of [
    '/a.rs',
    '@a.rs',
    'a/../b.rs',
    './a.rs',
    'a//b.rs',
    '-a.rs',
    'lib.txt',
    '\0home\0/a.rs',
    '\0out\0x.rs',
    'a\0b.rs',
  ]) {
    refuses({ argv: argv.map((a) => (a.endsWith('.rs') ? source : a)) }, source)
  }
})

test('admit() refuses variables that steer programs or look like a secret', () => {
  const names =
    'PATH HOME USER LD_PRELOAD LD_LIBRARY_PATH DYLD_INSERT_LIBRARIES GLIBC_TUNABLES MALLOC_CONF _RJEM_MALLOC_CONF TMPDIR tmpdir ' +
    'RUSTC_LOG RUST_LOG RUSTC_WRAPPER RUSTC RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_MAKEFLAGS MAKEFLAGS RUST_TARGET_PATH RUSTC_ICE ' +
    'AWS_SECRET_ACCESS_KEY GITHUB_TOKEN CARGO_REGISTRY_TOKEN DATABASE_URL MY_PASSWORD SSH_AUTH_SOCK http_proxy HTTPS_PROXY SHOAL_HOME'
  for (const name of names.split(' ')) refuses({ env: [[name, 'x']] }, name)
  for (const name of ['', 'A B', 'A=B', '1A', 'A\0', 'Ä', 'A\n']) refuses({ env: [[name, 'x']] }, name)
  refuses({ env: [['A', 'x\0y']] }, 'NUL in a value')
  refuses(
    {
      env: [
        ['A', '1'],
        ['A', '2'],
      ],
    },
    'twice',
  )
  refuses({ env: Array.from({ length: 513 }, (_, i): [string, string] => [`V${i}`, '']) }, 'too many')
})

test('admit() says what it refused, without control characters', () => {
  assert.throws(() => admit({ ...good, argv: [...argv, '--evil\u001b[31m\0x'] }), /--evil\?\[31m%x$/)
})

const pieces = fc.oneof(
  fc.constantFrom(...argv, ...dangerous.flat(), '\0deps\0', '\0out\0', '..', '/', '=', '@', '-C', '-L', '--emit'),
  fc.string({ maxLength: 12 }),
  fc.string({ unit: fc.constantFrom('-', '=', '/', '.', '\0', '@', 'a', 'C', 'L', ',', ':'), maxLength: 16 }),
)

test('whatever admit() takes has no path outside the roots, no file of arguments and no unlisted option', () => {
  const listed =
    /^(--(crate-name|crate-type|edition|emit|codegen|cfg|check-cfg|cap-lints|extern|target|error-format|json|diagnostic-width|out-dir|allow|warn|deny|forbid|force-warn)(=|$)|-[CLlAWDF]|-g$|-O$)/
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 6 }), fc.nat(argv.length), fc.nat(3), (extra, at, drop) => {
      const action = { ...good, argv: [...argv.slice(0, at), ...extra, ...argv.slice(at + drop)] }
      if (isRefused(action)) return
      let previous = ''
      for (const argument of action.argv) {
        assert.ok(!argument.startsWith('@'))
        const isValue = /^(--[a-z-]+|-[CLlAWDF])$/.test(previous)
        if (!isValue && argument.startsWith('-')) assert.match(argument, listed)
        const free = /^--(check-)?cfg(=|$)/.test(isValue ? previous : argument)
        if (!free) {
          assert.doesNotMatch(argument, /(^|=|^-[A-Za-z])\//)
          assert.ok(!argument.split('/').includes('..'), JSON.stringify(argument))
        }
        previous = isValue ? '' : argument
      }
    }),
    { numRuns: 20_000 },
  )
})

test('admit() throws nothing but refusals, whatever the action holds', () => {
  const text = fc.string({ maxLength: 20 })
  fc.assert(
    fc.property(fc.array(pieces), fc.array(fc.tuple(text, text)), text, (argv, env, cwd) => {
      assert.ok(isRefused({ ...good, argv, env, cwd }) || argv.length > 3)
    }),
    { numRuns: 20_000 },
  )
})

const linked = (types: string[], outputs: string[], ...more: string[]): Action => ({
  ...good,
  argv: ['--crate-name', 'serde', '--edition=2021', 'src/lib.rs', '--error-format=json', '--json=artifacts', ...more]
    .concat(types.flatMap((type) => ['--crate-type', type]))
    .concat(['--emit=dep-info,link', '-C', 'extra-filename=-8be3e1d8', '--out-dir', '\0out\0']),
  outputs: [['serde-8be3e1d8.d', 'dep-info'], ...outputs.map((name) => [name, 'link'] as [string, 'link'])],
})

test('admit() takes what is linked up to the linker, and no further', () => {
  const stem = 'serde-8be3e1d8'
  for (const [types, outputs] of [
    [['bin'], [`${stem}.objects`]],
    [['proc-macro'], [`lib${stem}.so.objects`]],
    [
      ['cdylib', 'rlib'],
      [`lib${stem}.so.objects`, `lib${stem}.rlib`],
    ],
    [
      ['cdylib', 'staticlib'],
      [`lib${stem}.so.objects`, `lib${stem}.a`],
    ],
  ] as [string[], string[]][]) {
    assert.equal(admit(linked(types, outputs)).links, true)
    const whole = outputs.map((name) => name.replace('.objects', ''))
    assert.ok(isRefused(linked(types, whole)), 'nobody else links')
  }
  assert.equal(admit(linked([], [`${stem}.objects`], '--test')).links, true)
  assert.equal(admit(linked(['staticlib'], [`lib${stem}.a`])).links, false)
  const program = linked(['bin'], [`${stem}.objects`])
  for (const target of ['x86_64-unknown-linux-musl', 'aarch64-apple-darwin'])
    assert.ok(isRefused({ ...program, target }))
  for (const option of [
    'linker=cc',
    'link-arg=-s',
    'link-args=-s',
    'link-self-contained=/x',
    'linker-features=-cc',
    'linker-flavor=ld',
  ])
    assert.ok(isRefused(linked(['bin'], [`${stem}.objects`], '-C', option)), option)
  assert.ok(!isRefused(linked(['bin'], [`${stem}.objects`], '-C', 'linker-features=-lld')))
})

test('admit() knows the variable that cargo names after a program', () => {
  assert.ok(!isRefused({ ...good, env: [['CARGO_BIN_EXE_my-program', '\0target\0/debug/my-program']] }))
  assert.ok(isRefused({ ...good, env: [['CARGO_BIN_EXE_my program', 'x']] }))
  assert.ok(isRefused({ ...good, env: [['my-variable', 'x']] }))
})
