import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { whileBusy, writeFiles } from '../support/busy.ts'
import { Cluster, capture, lastReport, type TestNode, type UnitRow } from '../support/cluster.ts'

const crates = ['one', 'two', 'three', 'four']
const bad = 'pub fn nothing(x: &[u8]) -> bool { let unused = 1; x.len() == 0 }\n'
const good = 'pub fn nothing(x: &[u8]) -> bool { x.is_empty() }\n'

/** Ways to ask for a verdict, and what is found in a source that has something in it. */
const asked: Record<string, { args: string[]; env: NodeJS.ProcessEnv; found: RegExp; isLent: boolean }> = {
  clippy: { args: ['clippy', '--', '-D', 'warnings'], env: {}, found: /clippy::len.zero/, isLent: false },
  'check that denies warnings': {
    args: ['check'],
    env: { RUSTFLAGS: '-D warnings' },
    found: /unused variable/,
    isLent: false,
  },
  'build that denies warnings': {
    args: ['build'],
    env: { RUSTFLAGS: '-D warnings' },
    found: /unused variable/,
    isLent: true,
  },
}

describe('a verdict, beside a member that lends all it has', () => {
  let cluster: Cluster
  let ada: TestNode
  let rounds = 0

  before(async () => {
    cluster = await Cluster.start(['ada', 'ben'])
    ada = cluster.node('ada')
  })
  after(() => cluster.close())

  async function run(
    { args, env }: { args: string[]; env: NodeJS.ProcessEnv },
    last: string,
  ): Promise<{ code: number | null; stderr: string; units: UnitRow[] }> {
    rounds += 1
    const dir = join(cluster.dir, `ws${rounds}`)
    await writeFiles(dir, {
      'Cargo.toml': `[workspace]\nresolver = "2"\nmembers = ${JSON.stringify(crates)}\n`,
      ...Object.fromEntries(
        crates.flatMap((name) => [
          [`${name}/Cargo.toml`, `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n`],
          // As nobody has seen it.
          [`${name}/src/lib.rs`, `${name === 'four' ? last : good}pub const ROUND: u32 = ${rounds};\n`],
        ]),
      ),
    })
    const [command = '', ...rest] = args
    const all = [command, '--offline', '--keep-going', '-j8', ...rest]
    const options = { cwd: dir, env: { ...(await ada.cargoEnv()), ...env } }
    // For a while only the other one has slots.
    const { code, stderr } = await whileBusy(ada, join(cluster.dir, `busy${rounds}`), 2, async (release) => {
      const ran = capture('cargo', all, options)
      await Promise.race([ran, delay(3000)])
      await release()
      return await ran
    })
    return { code, stderr, units: (await lastReport(ada)).units }
  }

  for (const [what, { found, isLent, ...how }] of Object.entries(asked)) {
    test(`${what} says what is there, whoever had it`, async () => {
      const faulty = await run(how, bad)
      assert.equal(faulty.code, 101, faulty.stderr)
      assert.match(faulty.stderr, found)
      const outcomes = faulty.units.filter(({ crate }) => crate === 'four').map(({ outcome }) => outcome)
      assert.ok(!outcomes.includes('compiled-mesh'), outcomes.join())
      const clean = await run(how, good)
      assert.equal(clean.code, 0, clean.stderr)
      const away = clean.units.filter(({ outcome }) => outcome === 'compiled-mesh').map(({ crate }) => crate)
      assert.equal(away.length > 0, isLent, JSON.stringify(clean.units))
    })
  }
})
