import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { link, mkdir, mkdtemp, readFile, realpath, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { type CollectedScript, collectScript } from '../../src/daemon/script-collect.ts'
import { layOut } from '../../src/daemon/script-layout.ts'
import { lookThrough } from '../../src/daemon/script-tree.ts'
import type { ScriptResult } from '../../src/plan/script-action.ts'
import type { PlannedScript } from '../../src/plan/script-plan.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { everything } from '../support/scripts.ts'

let dir: string
const kept = new Map<string, Buffer>()
before(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'shoal-collect-')))
})
after(() => rm(dir, { recursive: true }))
afterEach(async () => {
  kept.clear()
  await rm(dir, { recursive: true })
  await mkdir(dir)
})

const outDir = (): string => join(dir, 'target/debug/build/fish-1/out')
const sources = (): string => join(dir, 'cargo/registry/src')

const blocks = {
  async put(bytes: Uint8Array) {
    kept.set(cidOf(bytes).toString(), Buffer.from(bytes))
    return cidOf(bytes)
  },
  async putFile(path: string, { watch }: { maxBytes: number; watch?: (chunk: Uint8Array) => void }) {
    const parts: Buffer[] = []
    // In pieces, as a store reads it.
    for await (const part of createReadStream(path, { highWaterMark: 7 })) {
      parts.push(part)
      watch?.(part)
    }
    const bytes = Buffer.concat(parts)
    return { cid: await blocks.put(bytes), size: bytes.length }
  },
  get: async (cid: { toString(): string }) => kept.get(cid.toString()),
  path: async () => undefined,
}

/** What is kept of a script that left these files and said that. */
async function collect(
  files: Record<string, string | Buffer>,
  {
    stdout = '',
    env = {},
    make = async () => {},
  }: { stdout?: string; env?: Record<string, string>; make?: () => Promise<void> } = {},
): Promise<CollectedScript> {
  await mkdir(outDir(), { recursive: true })
  const since = Date.now() - 1000
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(outDir(), path)), { recursive: true })
    await writeFile(join(outDir(), path), content)
  }
  await make()
  const roots = [
    { name: 'build', path: outDir() },
    { name: 'package', path: join(sources(), 'fish-1.0.0') },
    { name: 'registry', path: sources() },
    { name: 'target', path: join(dir, 'target') },
  ] as const
  const call = { outDir: outDir(), env: new Map(Object.entries(env)) }
  const planned = { roots, call, isLinked: false, key: cidOf(Buffer.from('key')) } as unknown as PlannedScript
  const ran = {
    code: 0,
    wallMs: 1,
    cpuMs: undefined,
    truncated: false,
    stdout: Buffer.from(stdout),
    stderr: Buffer.alloc(0),
  }
  return await collectScript(
    planned,
    { ran, seen: lookThrough(outDir()) ?? [], since, until: Date.now() + 5, ours: ['/notes/1'] },
    blocks,
  )
}

const boundTo = async (...args: Parameters<typeof collect>): Promise<string> => {
  const collected = await collect(...args)
  return 'reason' in collected ? collected.reason : collected.boundTo.join(' ')
}

describe('collectScript()', () => {
  test('binds a run to the roots whose paths are in what it left, however they are written', async () => {
    const cases: [content: string | Buffer, bound: string][] = [
      ['nothing', ''],
      [`x${sources()}/other-2.0.0/x.c`, 'registry'],
      [`${sources()}/fish-1.0.0/x.c`, 'package registry'],
      [`"${outDir()}"`, 'build target'],
      [JSON.stringify(outDir()).replaceAll('/', '\\/'), 'build target'],
      [encodeURIComponent(join(dir, 'target')), 'target'],
      ['../../../../../cargo/registry/src/fish-1.0.0/x.c', 'build package registry target'],
      [gzipSync('packed'), 'build package registry target'],
    ]
    for (const [content, bound] of cases) {
      assert.equal(await boundTo({ file: content }), bound, String(content).slice(0, 80))
      await rm(outDir(), { recursive: true })
    }
    assert.equal(await boundTo({}, { make: () => symlink(join(dir, 'target/x'), join(outDir(), 'link')) }), 'target')
  })

  test('does not bind it by what is rewritten: words, rules of make, pkg-config files', async () => {
    const files = { 'x.d': `${outDir()}/x.o: ${sources()}/fish-1.0.0/x.c\n`, 'lib/x.pc': `libdir=${outDir()}/lib\n` }
    const collected = await collect(files, { stdout: `cargo::rustc-link-search=${outDir()}\n` })
    assert.ok('result' in collected)
    assert.deepEqual(collected.boundTo, [])
    assert.equal(Buffer.from(collected.result.stdout).toString(), 'cargo::rustc-link-search=\0build\0\n')
    // Nor a word that only ends like one; what begins like one lies beside it.
    assert.equal(await boundTo({}, { stdout: `${join(dir, 'target')}-2/x\n` }), 'build package registry target')
    assert.equal(await boundTo({ 'y.pc': `sysroot=/opt${outDir()}/lib\n` }), 'build target')
    assert.equal(await boundTo({}, { stdout: `cargo::rustc-env=TOP=${dir}\n` }), 'build package registry target')
  })

  test('does not keep what is a secret, of the session, or no file', async () => {
    const token = { FISH_TOKEN: 'abcdefgh1234' }
    assert.equal(await boundTo({ file: 'x abcdefgh1234 y' }, { env: token }), 'secret-in-environment')
    await rm(join(outDir(), 'file'))
    assert.equal(await boundTo({}, { env: token, stdout: 'abcdefgh1234' }), 'secret-in-environment')
    assert.equal(await boundTo({ file: 'PATH=/a:/b' }, { env: { PATH: '/a:/b' } }), 'unusual-output')
    assert.equal(await boundTo({ file: 'SHOAL_OBSERVE=/notes/1/x' }), 'unusual-output')
    assert.equal(await boundTo({ file: '["SHOAL_OBSERVE"]' }), 'unusual-output')
    assert.equal(await boundTo({ file: 'made by build-script.real' }), 'unusual-output')
    assert.equal(await boundTo({ file: '/run/ssh-1' }, { env: { SSH_AUTH_SOCK: '/run/ssh-1' } }), 'unusual-output')
    await rm(join(outDir(), 'file'))
    assert.equal(await boundTo({}, { stdout: 'a\0b' }), 'unusual-output')
    assert.equal(
      await boundTo({ one: '' }, { make: () => link(join(outDir(), 'one'), join(outDir(), 'two')) }),
      'unusual-output',
    )
    await rm(join(outDir(), 'two'))
    const pipe = async () => void execFileSync('mkfifo', [join(outDir(), 'pipe')])
    assert.equal(await boundTo({}, { make: pipe }), 'unusual-output')
  })
})

test('what was collected is laid out as it was: bytes, modes, links, and times of files that are older than the run', async () => {
  const before = new Date(Date.now() - 500)
  const collected = await collect(
    { 'a/b/file': 'content', 'old.txt': 'old', 'x.d': `${outDir()}/x.o: x.c\n` },
    {
      make: async () => {
        execFileSync('touch', ['-d', '2020-01-02T03:04:05.123456789Z', join(outDir(), 'old.txt')])
        await utimes(join(outDir(), 'x.d'), before, before)
        await symlink('../old.txt', join(outDir(), 'a/link'))
        execFileSync('chmod', ['751', join(outDir(), 'a/b/file')])
        execFileSync('chmod', ['500', join(outDir(), 'a/b')])
      },
    },
  )
  assert.ok('result' in collected)
  const result: ScriptResult = collected.result
  const spare = join(dir, 'spare')
  const roots = [{ name: 'build', path: outDir() }] as const
  await layOut(result, { dir: spare, outDir: outDir(), roots }, blocks)
  assert.deepEqual(await everything(spare), await everything(outDir()))
  const { mtimeNs } = await stat(join(spare, 'old.txt'), { bigint: true })
  assert.equal(mtimeNs / 1000n, 1_577_934_245_123_456n)
  // What was changed first is older than what was changed then, whatever it is called.
  const timeOf = async (path: string): Promise<number> => (await stat(join(spare, path))).mtimeMs
  assert.ok((await timeOf('x.d')) < (await timeOf('a/b/file')))
  assert.ok((await timeOf('a/b/file')) <= Date.now())
  await layOut(result, { dir: spare, outDir: outDir(), roots: [{ name: 'build', path: '/elsewhere' }] }, blocks)
  assert.equal(await readFile(join(spare, 'x.d'), 'utf8'), '/elsewhere/x.o: x.c\n')

  // What is not there any more leaves nothing behind.
  kept.clear()
  await assert.rejects(layOut(result, { dir: spare, outDir: outDir(), roots }, blocks), { code: 'ERR_BLOCK_MISSING' })
  await assert.rejects(readFile(join(spare, 'x.d')), { code: 'ENOENT' })
  execFileSync('chmod', ['-R', 'u+w', dir])
})
