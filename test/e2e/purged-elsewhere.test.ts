import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { writeFiles } from '../support/busy.ts'
import { Cluster, capture, lastReport, type TestNode } from '../support/cluster.ts'

const files = {
  'Cargo.toml': '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n',
  'src/lib.rs': 'pub fn word() -> &\'static str { "word" }\n',
  'src/main.rs': 'fn main() { print!("{}", app::word()) }\n',
  'examples/show.rs': 'fn main() { print!("{}", app::word()) }\n',
}
/** What people look for in `target/debug`. */
const seen = ['app', 'libapp.rlib', 'examples/show']

const host = /^host: (.*)$/m.exec((await capture('rustc', ['-vV'])).stdout)?.[1] ?? ''

/** A file system on which there is no link to the other one, if there is one. */
const otherDisk = '/dev/shm'

describe('what a member gave, where cargo builds in another directory than people look in', () => {
  let cluster: Cluster
  let ada: TestNode

  before(async () => {
    cluster = await Cluster.start(
      ['ada', 'ben'],
      () => '[lend]\nslots = 0\n[trust]\naudit-share = 0\naudit-first = 0\n',
    )
    ada = cluster.node('ada')
  })
  after(() => cluster.close())

  async function build(node: TestNode, dir: string, buildDir: string, more: readonly string[]): Promise<string[]> {
    const config = `[build]\nbuild-dir = ${JSON.stringify(buildDir)}\n`
    await writeFiles(dir, { ...files, '.cargo/config.toml': config })
    // What only a nightly knows, this one is told to know too.
    const env = { ...(await node.cargoEnv()), RUSTC_BOOTSTRAP: '1' }
    const args = ['build', '--offline', '--lib', '--bins', '--examples', ...more]
    const ran = await capture('cargo', args, { cwd: dir, env })
    assert.equal(ran.code, 0, ran.stderr)
    return (await lastReport(node)).units.map(({ outcome }) => outcome)
  }

  async function isPurged(
    t: TestContext,
    name: string,
    buildDir: string,
    { args = [], profile = 'debug' }: { args?: readonly string[]; profile?: string } = {},
  ): Promise<void> {
    t.after(() => rm(buildDir, { recursive: true, force: true }))
    assert.ok(
      (
        await build(
          cluster.node('ben'),
          join(cluster.dir, 'ben', name),
          join(cluster.dir, 'ben', `${name}-built`),
          args,
        )
      ).length > 0,
    )
    const dir = join(cluster.dir, 'ada', name)
    const outcomes = await build(ada, dir, buildDir, args)
    assert.ok(outcomes.length === 3 && outcomes.every((outcome) => outcome.startsWith('recalled')), outcomes.join())
    const there = (): string[] => seen.filter((path) => existsSync(join(dir, 'target', profile, path)))
    assert.deepEqual(there(), seen)
    assert.ok(!existsSync(join(dir, 'target', profile, 'deps')), 'it is built elsewhere')
    const ran = await ada.shoal('purge', '--by', 'ben', '--yes')
    assert.equal(ran.code, 0, ran.stderr)
    assert.deepEqual(there(), [])
    // What it has given is not known any more; what it still has is as good as ever, as it was not shut out.
    await build(ada, dir, buildDir, args)
    assert.deepEqual(there(), seen)
  }

  test('is gone where people look for it', async (t) => {
    await isPurged(t, 'linked', join(cluster.dir, 'ada', 'built'))
  })

  for (const [name, options] of Object.entries({
    new: { args: ['-Zbuild-dir-new-layout'] },
    across: { args: [`--target=${host}`, '--release'], profile: `${host}/release` },
    'new, across': { args: [`--target=${host}`, '-Zbuild-dir-new-layout'], profile: `${host}/debug` },
  })) {
    test(`is gone there as well in another layout: ${name}`, async (t) => {
      await isPurged(t, name, join(cluster.dir, 'ada', `${name}-built`), options)
    })
  }

  test('is gone there as well where it can only be copied', async (t) => {
    const isOther = existsSync(otherDisk) && (await stat(otherDisk)).dev !== (await stat(tmpdir())).dev
    if (!isOther) return t.skip('there is one file system')
    await isPurged(t, 'copied', await mkdtemp(join(otherDisk, 'shoal-built-')))
  })
})
