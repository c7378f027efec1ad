import assert from 'node:assert/strict'
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { buildShim } from '../../src/shim/build.ts'
import { rustc } from './support.ts'

let dir: string
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'shoal-build-'))
})
after(() => rm(dir, { recursive: true }))

/** The real one, which compiles once; asked again it leaves the same. It notes each time that it was asked to compile. */
async function compilingOnce(): Promise<{ rustc: string; asked: () => Promise<number> }> {
  const [program, made, log] = ['rustc-once', 'made', 'asked'].map((name) => join(dir, name))
  assert.ok(program && made && log)
  const compile = `[ -e '${made}' ] || { '${rustc}' "$@" && cp "$last" '${made}'; }; cp '${made}' "$last"`
  const body = `for last; do :; done\n[ "$last" != -vV ] || exec '${rustc}' "$@"\necho >> '${log}'\n${compile}\n`
  await writeFile(program, `#!/bin/sh\n${body}`, { mode: 0o755 })
  return { rustc: program, asked: async () => (await readFile(log)).length }
}

test('buildShim() compiles once, and again when the binary or what it was made of is not the same', async () => {
  const outDir = join(dir, 'bin')
  const { rustc, asked } = await compilingOnce()
  const first = await buildShim({ rustc, outDir })
  assert.equal(first.built, true)
  assert.equal(first.path, join(outDir, 'shoal-rustc'))
  assert.match(first.digest, /^[0-9a-f]{64}$/)
  assert.equal((await stat(first.path)).mode & 0o777, 0o755)
  assert.deepEqual((await readdir(outDir)).sort(), ['shoal-rustc', 'shoal-rustc.json'])
  assert.equal(await asked(), 1)
  assert.deepEqual(await buildShim({ rustc, outDir }), { ...first, built: false })
  assert.equal(await asked(), 1)

  const binary = await readFile(first.path)
  await writeFile(first.path, binary.subarray(0, 1000))
  assert.equal((await buildShim({ rustc, outDir })).built, true)
  assert.deepEqual(await readFile(first.path), binary)

  const sidecar = `${first.path}.json`
  const text = await readFile(sidecar, 'utf8')
  for (const other of ['{', text.replace(first.digest, 'f'.repeat(64)), text.replace(rustc, '/elsewhere/rustc')]) {
    await writeFile(sidecar, other)
    assert.equal((await buildShim({ rustc, outDir })).built, true)
    assert.equal(await readFile(sidecar, 'utf8'), text)
  }
  assert.equal(await asked(), 5)
})

test('buildShim() says what is wrong when there is no rustc, or one that fails', async () => {
  const outDir = join(dir, 'none')
  await assert.rejects(buildShim({ rustc: join(dir, 'no-rustc'), outDir }), {
    code: 'ERR_SHIM_BUILD',
    message: /no-rustc/,
  })

  const failing = join(dir, 'rustc')
  const body = 'case $1 in -vV) echo rustc 1.0;; *) echo "error: linker \\`cc\\` not found" >&2; exit 1;; esac'
  await writeFile(failing, `#!/bin/sh\n${body}\n`)
  await chmod(failing, 0o755)
  const failure = { code: 'ERR_SHIM_BUILD', message: /linker `cc` not found/, hint: /gcc/ }
  await assert.rejects(buildShim({ rustc: failing, outDir }), failure)
  assert.deepEqual(await readdir(outDir), [])
})

test('buildShim() stops when it is told to', async () => {
  const signal = AbortSignal.abort()
  await assert.rejects(buildShim({ rustc, outDir: join(dir, 'stopped'), signal }), { name: 'AbortError' })
})
