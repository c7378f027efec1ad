import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { codeOf } from '../../src/base/errors.ts'
import { expandArgFiles, parseRustcArgs } from '../../src/plan/rustc-args.ts'
import { libArgs } from './support.ts'

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
