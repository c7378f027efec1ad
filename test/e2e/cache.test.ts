import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { codeOf } from '../../src/base/errors.ts'
import { ask } from '../../src/cli/client.ts'
import { artifacts, Cluster, capture, lastReport, type TestNode } from '../support/cluster.ts'
import { type Files, packageManifest, writeFiles } from '../support/fixture.ts'

const uses = (...names: string[]): string =>
  `[dependencies]\n${names.map((name) => `${name} = { path = "../${name}" }\n`).join('')}`

const members = ['macros', 'table', 'left', 'right', 'app']
const workspace: Files = {
  'Cargo.toml': `[workspace]\nresolver = "2"\nmembers = ${JSON.stringify(members)}\n`,
  'macros/Cargo.toml': packageManifest('macros', '[lib]\nproc-macro = true\n'),
  'macros/src/lib.rs':
    'use proc_macro::TokenStream;\n#[proc_macro] pub fn two(_: TokenStream) -> TokenStream { "2".parse().unwrap() }\n',
  'table/Cargo.toml': packageManifest('table'),
  'table/src/lib.rs': 'pub const TABLE: u8 = 1;\n',
  'left/Cargo.toml': packageManifest('left', uses('table', 'macros')),
  'left/src/lib.rs': 'pub const SUM: u8 = table::TABLE + macros::two!();\n',
  'right/Cargo.toml': packageManifest('right', uses('table')),
  'right/src/lib.rs': 'pub const SUM: u8 = table::TABLE + 3;\n',
  'app/Cargo.toml': packageManifest('app', uses('left', 'right')),
  'app/src/main.rs': 'fn main() { print!("{}", left::SUM + right::SUM); }\n',
}

interface CacheRow {
  bytes: number
  blocks: number
  results: number
  refusing: boolean
  evicted: number
}

describe('a cache that is much too small', () => {
  let cluster: Cluster
  let node: TestNode
  let expected: Map<string, Buffer>

  before(async () => {
    cluster = await Cluster.start(['ada'], () => '[cache]\nmax-bytes = 9000000\nmin-free-bytes = 0\n')
    node = cluster.node('ada')
    const dir = join(cluster.dir, 'first')
    await writeFiles(dir, workspace)
    const ran = await node.cargo(dir, 'build', '--offline')
    assert.equal(ran.code, 0, ran.stderr)
    expected = await artifacts(join(dir, 'target'))
    assert.ok(expected.size > 0)
  })
  after(() => cluster.close())

  test('eight cargos at once while it is collected again and again: nobody misses what he was promised', async () => {
    const socket = join(node.home, 'run/shoal.sock')
    let building = true
    let collections = 0
    const collector = async (): Promise<void> => {
      while (building) {
        await ask(socket, 'cache-gc', { toBytes: 0 })
        collections++
      }
    }
    const builders = Promise.all(
      Array.from({ length: 8 }, async (_, number) => {
        const dir = join(cluster.dir, `build-${number}`)
        await writeFiles(dir, workspace)
        const ran = await node.cargo(dir, 'build', '--offline')
        assert.equal(ran.code, 0, ran.stderr)
        assert.deepEqual(await artifacts(join(dir, 'target')), expected)
        assert.equal(execFileSync(join(dir, 'target/debug/app'), { encoding: 'utf8' }), '7')
      }),
    ).finally(() => {
      building = false
    })
    await Promise.all([collector(), builders])
    assert.ok(collections > 20, `${collections}`)
    const { sessions } = await node.json<{ sessions: { session: string }[] }>('report', '--list')
    assert.ok(sessions.length >= 9)
    for (const { session } of sessions) {
      const { units } = await node.json<{ units: { crate: string; fallback?: string }[] }>('report', session)
      const missed = units.filter(({ fallback }) => fallback === 'ERR_BLOCK_MISSING')
      assert.deepEqual(missed, [], session)
    }
    const { bytes, evicted } = await node.json<CacheRow>('cache', 'stats')
    assert.ok(bytes <= 9_000_000 && evicted > 0, `${bytes}, ${evicted}`)
  })

  test('cache gc, verify and purge do what they say, and the next build goes on', async () => {
    const config = join(node.home, 'config.toml')
    await node.stop()
    await writeFile(config, (await readFile(config, 'utf8')).replace('= 9000000', '= 90000000'))
    await node.start()
    const dir = join(cluster.dir, 'first')
    const rebuild = async (): Promise<number> => {
      await rm(join(dir, 'target'), { recursive: true })
      const ran = await node.cargo(dir, 'build', '--offline')
      assert.equal(ran.code, 0, ran.stderr)
      assert.deepEqual(await artifacts(join(dir, 'target')), expected)
      return (await lastReport(node)).totals['recalled-here'] ?? 0
    }
    await rebuild()
    assert.equal(await rebuild(), members.length)
    const verified = await node.json<CacheRow & { verified: object }>('cache', 'verify')
    assert.deepEqual(verified.verified, { checked: verified.blocks, bad: 0, replaced: 0 })
    const { bytes, freed } = await node.json<CacheRow & { freed: { blocks: number } }>('cache', 'gc', '--to', '100k')
    assert.ok(bytes <= 100 << 10 && freed.blocks > 0)
    await rebuild()
    const purged = await node.json<CacheRow>('cache', 'purge', '--yes')
    assert.deepEqual([purged.blocks, purged.bytes, purged.results], [0, 0, 0])
    assert.equal(await rebuild(), 0)
    assert.equal(await rebuild(), members.length)
  })

  test('on a full disk cargo builds as ever, and status says that nothing is kept', async (t) => {
    const cache = join(node.home, 'cache')
    await node.stop()
    await rm(cache, { recursive: true })
    await mkdir(cache)
    const mounted = await capture('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', cache])
    try {
      const before = node.log.length
      await node.start()
      if (mounted.code !== 0) return t.skip('needs the right to mount')
      // Until then it still makes files there, and takes them away again.
      while (!node.log.slice(before).includes('sandbox probed')) await delay(20)
      await fill(join(cache, 'ballast'))
      const dir = join(cluster.dir, 'full')
      await writeFiles(dir, workspace)
      const ran = await node.cargo(dir, 'build', '--offline')
      assert.equal(ran.code, 0, ran.stderr)
      assert.deepEqual(await artifacts(join(dir, 'target')), expected)
      const { health } = await node.json<{ health: { code: string }[] }>('status')
      assert.ok(
        health.some(({ code }) => code === 'ERR_DISK_FULL'),
        JSON.stringify(health),
      )
    } finally {
      await node.stop()
      if (mounted.code === 0) execFileSync('umount', [cache])
      await node.start()
    }
  })
})

/** Leaves not a byte to others. */
async function fill(file: string): Promise<void> {
  for (let size = 1 << 20; size >= 512; size >>= 1) {
    try {
      for (;;) await writeFile(file, Buffer.alloc(size), { flag: 'a' })
    } catch (error) {
      if (codeOf(error) !== 'ENOSPC') throw error
    }
  }
}
