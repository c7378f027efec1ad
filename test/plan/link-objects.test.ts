import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { codeOf } from '../../src/base/errors.ts'
import { copyObject, copyVersionScript, readLinkObjects } from '../../src/plan/link-objects.ts'
import { checkObject } from '../../src/plan/object-file.ts'

const dir = mkdtempSync(join(tmpdir(), 'shoal-objects-'))
after(() => rmSync(dir, { recursive: true, force: true }))
const arch = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
const target = `${arch}-unknown-linux-gnu`

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}
function bundle(args: readonly string[], files: readonly Buffer[]): Buffer {
  const texts = args.flatMap((text) => [u32(Buffer.byteLength(text)), Buffer.from(text)])
  const sizes = files.map(({ length }) => u64(BigInt(length)))
  return Buffer.concat([
    Buffer.from('shoal-link 1\n'),
    u32(args.length),
    ...texts,
    u32(files.length),
    ...sizes,
    ...files,
  ])
}
let count = 0
const saved = (bytes: Uint8Array): string => {
  const path = join(dir, `${count++}`)
  writeFileSync(path, bytes)
  return path
}

/** What rustc makes of a few lines. */
function object(): Buffer {
  const source = saved(Buffer.from('pub fn f(x: u32) -> String { format!("{x}") }'))
  execFileSync('rustc', [
    '--crate-type=lib',
    '--crate-name=x',
    '--emit=obj',
    '-Copt-level=1',
    '-o',
    `${source}.o`,
    source,
  ])
  return readFileSync(`${source}.o`)
}
const real = process.platform === 'linux' ? object() : undefined
const skip = real === undefined && 'object files of Linux'
const given = (): Buffer => Buffer.from(real ?? '')

test('readLinkObjects() tells arguments and files apart', () => {
  const path = saved(bundle(['-m64', '\0file\0/0'], [Buffer.from('one'), Buffer.from('')]))
  const { args, files } = readLinkObjects(path)
  assert.deepEqual(args, ['-m64', '\0file\0/0'])
  assert.deepEqual(
    files.map(({ size }) => size),
    [3, 0],
  )
})

test('readLinkObjects() refuses what is cut, longer or says so', () => {
  const whole = bundle(['-m64'], [Buffer.from('one')])
  for (let length = 0; length < whole.length; length++) {
    assert.throws(() => readLinkObjects(saved(whole.subarray(0, length))), { code: 'ERR_DECODE' }, `${length}`)
  }
  const head = Buffer.from('shoal-link 1\n')
  for (const bytes of [
    Buffer.concat([whole, Buffer.from('x')]),
    Buffer.concat([head, u32(0xffffffff)]),
    Buffer.concat([head, u32(1), u32(0xffffffff)]),
    Buffer.concat([head, u32(0), u32(0xffffffff)]),
    Buffer.concat([head, u32(0), u32(1), u64(0xffffffffffffffffn)]),
    Buffer.concat([head, u32(1), u32(1), Buffer.from([0xff]), u32(0)]),
  ])
    assert.throws(() => readLinkObjects(saved(bytes)), { code: 'ERR_DECODE' })
})

test('copyObject() takes what rustc makes, and never writes twice', { skip }, () => {
  const path = saved(bundle([], [given()]))
  const [file] = readLinkObjects(path).files
  assert.ok(file)
  copyObject(path, file, join(dir, 'copy.o'), target)
  assert.deepEqual(readFileSync(join(dir, 'copy.o')), given())
  assert.throws(() => copyObject(path, file, join(dir, 'copy.o'), target), { code: 'EEXIST' })
})

test('checkObject() refuses what a linker would read as something else', { skip }, () => {
  const other = arch === 'x86_64' ? 'aarch64-unknown-linux-gnu' : 'x86_64-unknown-linux-gnu'
  assert.throws(() => checkObject(given(), other), { code: 'ERR_OUTPUT' }, 'another processor')
  const shared = given()
  shared.writeUInt16LE(3, 16)
  for (const bytes of [
    shared,
    Buffer.from('INPUT(/etc/passwd)\n'.padEnd(200)),
    Buffer.from('!<arch>\n'.padEnd(200)),
    Buffer.from('!<thin>\n'.padEnd(200)),
    Buffer.from('BC\xc0\xde'.padEnd(200), 'latin1'),
    Buffer.alloc(200),
    Buffer.alloc(0),
    given().subarray(0, 63),
  ])
    assert.throws(() => checkObject(bytes, target), { code: 'ERR_OUTPUT' })
})

test('checkObject() refuses sections with orders for a linker or a plugin', { skip }, () => {
  // The same length as `.comment`, where there is one in every object.
  for (const name of [
    '.gnu.lto_.opts',
    '.gnu.lto_main',
    '.gnu.warning.f',
    '.deplibs',
    '.gnu_object_only',
    '.llvm.lto',
    '.linker-options',
  ]) {
    const bytes = withSectionNamed(name)
    assert.throws(() => checkObject(bytes, target), { code: 'ERR_OUTPUT' }, name)
  }
  checkObject(withSectionNamed('.data.mine'), target)
  for (const kind of [0x6fff4c04, 0x6fff4c01, 6, 11, 0x7fffffff]) {
    const bytes = given()
    const table = Number(bytes.readBigUInt64LE(40))
    bytes.writeUInt32LE(kind, table + 64 + 4)
    assert.throws(() => checkObject(bytes, target), { code: 'ERR_OUTPUT' }, `${kind}`)
  }
})

/** An object whose second section is called so: the names are moved to its end. */
function withSectionNamed(name: string): Buffer {
  const bytes = given()
  const table = Number(bytes.readBigUInt64LE(40))
  const names = table + bytes.readUInt16LE(62) * 64
  const from = Number(bytes.readBigUInt64LE(names + 24))
  const size = Number(bytes.readBigUInt64LE(names + 32))
  const moved = Buffer.concat([bytes.subarray(from, from + size), Buffer.from(`${name}\0`)])
  const longer = Buffer.concat([bytes, moved])
  longer.writeBigUInt64LE(BigInt(bytes.length), names + 24)
  longer.writeBigUInt64LE(BigInt(moved.length), names + 32)
  longer.writeUInt32LE(size, table + 64)
  return longer
}

test('checkObject() of damaged objects ends, with that error if any', { skip, timeout: 60_000 }, () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(255), fc.nat(), (at, value, cut) => {
      const bytes = given()
      bytes[at % bytes.length] = value
      try {
        checkObject(cut % 3 === 0 ? bytes.subarray(0, cut % bytes.length) : bytes, target)
      } catch (error) {
        assert.equal(codeOf(error), 'ERR_OUTPUT')
      }
    }),
    { numRuns: 500 },
  )
})

const scripts: [text: string, taken: boolean][] = [
  ['{\n  global:\n    a;\n    _ZN3foo$b.1@x;\n\n  local:\n    *;\n};\n', true],
  ['{\n  local:\n    *;\n};\n', true],
  ['{\n  global:\n    a*;\n\n  local:\n    *;\n};\n', false],
  ['{\n  global:\n    a;\n\n  local:\n    *;\n};\nINPUT(/etc/passwd)\n', false],
  ['INCLUDE /etc/passwd\n{\n  local:\n    *;\n};\n', false],
  ['{\n  global:\n    extern "C" { x; };\n\n  local:\n    *;\n};\n', false],
  ['VERS_1 {\n  local:\n    *;\n};\n', false],
  ['', false],
]
test('copyVersionScript() takes lists as rustc writes them', () => {
  for (const [text, taken] of scripts) {
    const path = saved(bundle([], [Buffer.from(text)]))
    const [file] = readLinkObjects(path).files
    assert.ok(file)
    const copy = (): void => copyVersionScript(path, file, `${path}.list`)
    if (taken) copy()
    else assert.throws(copy, { code: 'ERR_OUTPUT' }, text)
    assert.equal(existsSync(`${path}.list`), taken)
  }
})
