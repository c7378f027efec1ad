import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, realpathSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { CID } from 'multiformats/cid'
import { systemClock } from '../../src/base/clock.ts'
import { loadedLibraries } from '../../src/plan/elf.ts'
import { StatMemo } from '../../src/plan/stat-memo.ts'
import { Toolchains } from '../../src/plan/toolchain.ts'
import { decodeToolchain, encodeToolchain, type ToolchainManifest } from '../../src/plan/toolchain-manifest.ts'
import { encodeCbor } from '../../src/wire/cbor.ts'
import { cidOf, dagCborCodec, hexOf } from '../../src/wire/cid.ts'
import { tempDir } from '../store/support.ts'

interface Vector {
  object: Omit<ToolchainManifest, 'files'> & { files: [string, string, number][] }
  cbor: string
  digest: string
}

const vector: Vector = JSON.parse(readFileSync(new URL('./vectors/toolchain.json', import.meta.url), 'utf8'))
const golden: ToolchainManifest = {
  ...vector.object,
  files: vector.object.files.map(([path, cid, size]) => [path, CID.parse(cid), size]),
}
const host = golden.host
const contents = ['rustc', 'driver', 'core']

/** Lays the toolchain of the vector out. */
function lay(sysroot: string): void {
  for (const [at, [path]] of golden.files.entries()) {
    mkdirSync(dirname(join(sysroot, path)), { recursive: true })
    writeFileSync(join(sysroot, path), contents[at] ?? '')
  }
}

test('a manifest has one encoding, and its sha2-256 is the digest of the toolchain', async (t) => {
  const { bytes, cid } = encodeToolchain(golden)
  assert.equal(Buffer.from(bytes).toString('hex'), vector.cbor)
  assert.equal(hexOf(cid), vector.digest)
  assert.deepEqual(decodeToolchain(bytes), golden)

  const dir = await tempDir(t)
  lay(join(dir, 'root'))
  const memo = await StatMemo.open(join(dir, 'memo'), () => Date.now())
  // None of its files is a program: whoever ran one would fail.
  const found = await new Toolchains({ memo, clock: systemClock }).fetched(join(dir, 'root'), bytes)
  assert.equal(found.digest, vector.digest)
  assert.deepEqual([found.host, found.release, found.commitHash], [host, '1.95.0', golden.commit])
  assert.equal(found.isFetched, true)
})

test('the installed toolchain has a manifest that can be laid out elsewhere, and the same digest there', async (t) => {
  const dir = await tempDir(t)
  const sysroot = realpathSync(execFileSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).trim())
  const memo = await StatMemo.open(join(dir, 'memo'), () => Date.now())
  const toolchains = new Toolchains({ memo, clock: systemClock })
  const installed = await toolchains.identify(sysroot)
  const manifest = decodeToolchain(installed.manifest)
  assert.equal(hexOf(cidOf(installed.manifest, dagCborCodec)), installed.digest)
  for (const [path] of manifest.files) {
    mkdirSync(dirname(join(dir, 'root', path)), { recursive: true })
    symlinkSync(join(sysroot, path), join(dir, 'root', path))
  }
  assert.equal((await toolchains.fetched(join(dir, 'root'), installed.manifest)).digest, installed.digest)
})

test('what could not be laid out, each file in its place and nothing else, is refused', () => {
  const [rustc, driver, core] = golden.files
  assert.ok(rustc && driver && core)
  const std = `lib/rustlib/${host}/lib`
  const at = (path: string): [string, CID, number] => [path, core[1], 4]
  const hostile: Record<string, unknown> = {
    'above the sysroot': { files: [at('../x'), rustc, driver] },
    'above, from inside': { files: [rustc, driver, at(`${std}/../../../../x`)] },
    absolute: { files: [at('/etc/passwd'), rustc, driver] },
    'an empty segment': { files: [rustc, driver, at(`${std}//x`)] },
    'a dot': { files: [rustc, driver, at(`${std}/./x`)] },
    'a line feed': { files: [rustc, driver, at(`${std}/x\ny`)] },
    'a back slash': { files: [rustc, driver, at(`${std}/x\\y`)] },
    NUL: { files: [rustc, driver, at(`${std}/x\0`)] },
    twice: { files: [rustc, driver, core, core] },
    'out of order': { files: [driver, rustc, core] },
    'below a file': { files: [rustc, driver, at(`${std}/a`), at(`${std}/a/b`)] },
    'below a file, apart': { files: [rustc, driver, at(`${std}/a`), at(`${std}/a-b`), at(`${std}/a/b`)] },
    'another program': { files: [at('bin/cargo'), rustc, driver] },
    'another directory': { files: [rustc, at('lib/cargo/x.so'), driver] },
    'another target': { files: [rustc, driver, at('lib/rustlib/wasm32-unknown-unknown/lib/x')] },
    'no library': { files: [rustc, at('lib/a.txt'), driver] },
    'the sources': { files: [rustc, driver, at('lib/rustlib/src/rust/library/core/src/lib.rs')] },
    'no rustc': { files: [driver, core] },
    'no driver': { files: [rustc, core] },
    'a file that is an object': { files: [rustc, driver, [core[0], cidOf(Buffer.from('x'), dagCborCodec), 1]] },
    'a negative size': { files: [rustc, driver, [core[0], core[1], -1]] },
    'a size that is none': { files: [rustc, driver, [core[0], core[1], 0.5]] },
    'a size that no file has': { files: [rustc, driver, [core[0], core[1], 2 ** 40]] },
    'too many': { files: [rustc, driver, ...Array.from({ length: 4095 }, (_, n) => at(`${std}/x${n + 1e6}`))] },
    'a host with a path in it': { host: '../../x' },
    'a target with a path in it': { target: '..' },
    'a commit with an option in it': { commit: 'x=/' },
    'another version': { v: 2 },
    'one field more': { more: 1 },
  }
  for (const [what, change] of Object.entries(hostile)) {
    const { bytes } = encodeCbor({ ...golden, ...(change as object) })
    assert.throws(() => decodeToolchain(bytes), { code: 'ERR_DECODE' }, what)
  }
  assert.throws(() => decodeToolchain(new Uint8Array(1 << 21)), { code: 'ERR_DECODE' })
  assert.throws(() => decodeToolchain(Buffer.concat([encodeToolchain(golden).bytes, Buffer.of(0)])), {
    code: 'ERR_DECODE',
  })
})

test('what was laid out is looked at: other bytes, other sizes, files more or less are another toolchain', async (t) => {
  const dir = await tempDir(t)
  const { bytes } = encodeToolchain(golden)
  const std = `lib/rustlib/${host}/lib`
  const changes: [string, (sysroot: string) => void][] = [
    ['other bytes', (sysroot) => writeFileSync(join(sysroot, 'bin/rustc'), 'cturs')],
    ['another size', (sysroot) => writeFileSync(join(sysroot, std, 'libcore-1.rlib'), 'core core')],
    ['a library more', (sysroot) => writeFileSync(join(sysroot, std, 'libevil.rlib'), '')],
    ['a shared library more', (sysroot) => writeFileSync(join(sysroot, 'lib/libc.so.6'), '')],
    [
      'a code generator more',
      (sysroot) => mkdirSync(join(sysroot, `lib/rustlib/${host}/codegen-backends/a`), { recursive: true }),
    ],
  ]
  for (const [at, [what, change]] of changes.entries()) {
    const sysroot = join(dir, `${at}`)
    lay(sysroot)
    change(sysroot)
    if (at === 4) writeFileSync(join(sysroot, `lib/rustlib/${host}/codegen-backends/a/x.so`), '')
    const memo = await StatMemo.open(join(dir, 'memo'), () => Date.now())
    const toolchains = new Toolchains({ memo, clock: systemClock })
    await assert.rejects(toolchains.fetched(sysroot, bytes), { code: 'ERR_TOOLCHAIN' }, what)
  }
  // The manifest of the other one says other things of the same files.
  const other = encodeToolchain({ ...golden, release: '1.96.0' })
  assert.notEqual(hexOf(other.cid), vector.digest)
})

test('a compiler from elsewhere gets no file of this machine by asking for it in its headers', async (t) => {
  const dir = await tempDir(t)
  const sysroot = realpathSync(execFileSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).trim())
  const own = join(dir, 'own')
  mkdirSync(join(own, 'bin'), { recursive: true })
  mkdirSync(join(own, 'lib'))
  const program = join(own, 'bin/rustc')
  cpSync(join(sysroot, 'bin/rustc'), program)
  const { libraries } = await loadedLibraries(join(sysroot, 'bin/rustc'))
  const driver = libraries.find(({ name }) => name.startsWith('librustc_driver'))
  assert.ok(driver)
  for (const { name, path } of libraries) if (path.startsWith(sysroot)) symlinkSync(path, join(own, 'lib', name))
  const names = (await loadedLibraries(program, own)).libraries.map(({ name }) => name)
  assert.deepEqual(names.sort(), libraries.map(({ name }) => name).sort())

  const original = readFileSync(program)
  const patch = async (from: string, to: string): Promise<void> => {
    assert.ok(to.length <= from.length)
    const bytes = Buffer.from(original)
    const at = bytes.indexOf(`${from}\0`)
    assert.ok(at > 0, from)
    bytes.fill(0, at, at + from.length)
    bytes.write(to, at)
    writeFileSync(program, bytes)
    await assert.rejects(loadedLibraries(program, own), { code: 'ERR_TOOLCHAIN' }, to)
  }
  await patch('/lib64/ld-linux-x86-64.so.2', '/etc/passwd')
  await patch(driver.name, '../../../../../etc/passwd')
  // A library that is there, but is nobody's C runtime.
  await patch(driver.name, 'libcrypto.so.3')
  // The compiler's own libraries lie below it, or nowhere.
  renameSync(join(own, 'lib', driver.name), join(dir, driver.name))
  await patch('$ORIGIN/../lib', '$ORIGIN/../../')
})
