import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { codeOf } from '../../src/base/errors.ts'
import { reasonToStay, unitKind } from '../../src/plan/classify.ts'
import { expandArgFiles, parseRustcArgs } from '../../src/plan/rustc-args.ts'

/** As cargo 1.95 calls rustc for a library of the registry. */
export const libArgs = [
  '--crate-name',
  'anyhow',
  '--edition=2021',
  '/home/a/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/anyhow-1.0.104/src/lib.rs',
  '--error-format=json',
  '--json=diagnostic-rendered-ansi,artifacts,future-incompat',
  '--diagnostic-width=120',
  '--crate-type',
  'lib',
  '--emit=dep-info,metadata,link',
  '-C',
  'embed-bitcode=no',
  '-C',
  'debuginfo=2',
  '--cfg',
  'feature="std"',
  '--check-cfg',
  'cfg(docsrs,test)',
  '-C',
  'metadata=4cf5bb9fd6810878',
  '-C',
  'extra-filename=-f85147e1c9d68eab',
  '--out-dir',
  '/home/a/ws/target/debug/deps',
  '-L',
  'dependency=/home/a/ws/target/debug/deps',
  '--extern',
  'priv,noprelude:serde=/home/a/ws/target/debug/deps/libserde-11.rmeta',
  '--cap-lints',
  'allow',
]

test('a library compile of cargo is understood', () => {
  const args = parseRustcArgs(libArgs)
  assert.equal(args.crateName, 'anyhow')
  assert.deepEqual(args.crateTypes, ['lib'])
  assert.deepEqual(args.emit, ['dep-info', 'metadata', 'link'])
  assert.equal(args.outDir, '/home/a/ws/target/debug/deps')
  assert.equal(args.codegen.get('extra-filename'), '-f85147e1c9d68eab')
  assert.deepEqual(args.externs, [
    { name: 'priv,noprelude:serde', path: '/home/a/ws/target/debug/deps/libserde-11.rmeta' },
  ])
  assert.equal(unitKind(args), 'lib')
  assert.equal(reasonToStay(args, new Map()), undefined)
})

test('both spellings of an option mean the same', () => {
  const long = parseRustcArgs(['--crate-name=x', '--codegen', 'opt-level=3', '--emit=link', '-Lnative=/n'])
  const short = parseRustcArgs(['--crate-name', 'x', '-Copt-level=3', '--emit', 'link', '-L', 'native=/n'])
  assert.deepEqual(long, short)
})

test('an unknown option is refused, whatever it is', () => {
  for (const option of ['--frobnicate', '--frobnicate=1', '-Q', '-vv', '--crate-name']) {
    assert.throws(
      () => parseRustcArgs([option]),
      (error) => codeOf(error) === 'ERR_UNSUPPORTED',
    )
  }
})

test('parsing never throws anything but ERR_UNSUPPORTED', () => {
  fc.assert(
    fc.property(fc.array(fc.string()), (argv) => {
      try {
        parseRustcArgs(argv)
      } catch (error) {
        assert.equal(codeOf(error), 'ERR_UNSUPPORTED')
      }
    }),
  )
})

for (const [change, reason] of [
  [['-C', 'incremental=/t'], 'incremental'],
  [['-C', 'target-cpu=native'], 'native-cpu'],
  [['-C', 'linker=/bin/false'], 'unsupported-option'],
  [['-C', 'link-arg=-s'], 'unsupported-option'],
  [['-Z', 'threads=8'], 'unsupported-option'],
  [['--target', './my.json'], 'unsupported-option'],
  [['--emit=asm'], 'unsupported-emit'],
  [['--crate-type', 'cdylib'], 'kind'],
  [['--test'], 'kind'],
  [['second.rs'], 'unsupported-option'],
  [['--sysroot', '/x'], 'unsupported-option'],
] as const) {
  test(`${change.join(' ')} keeps a unit here: ${reason}`, () => {
    assert.equal(reasonToStay(parseRustcArgs([...libArgs, ...change]), new Map()), reason)
  })
}

test('a variable that changes rustc itself keeps a unit here', () => {
  assert.equal(reasonToStay(parseRustcArgs(libArgs), new Map([['RUSTC_LOG', 'info']])), 'environment')
})

test('argument files are read as rustc reads them', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-args-'))
  try {
    const file = join(dir, 'args')
    await writeFile(file, '--crate-name\nx y\n\n --emit=link\n')
    assert.deepEqual(await expandArgFiles(['a', `@${file}`, 'b']), [
      'a',
      '--crate-name',
      'x y',
      '',
      ' --emit=link',
      'b',
    ])
    await writeFile(file, Buffer.from([0xff, 0xfe]))
    await assert.rejects(expandArgFiles([`@${file}`]), (error) => codeOf(error) === 'ERR_UNSUPPORTED')
  } finally {
    await rm(dir, { recursive: true })
  }
})
