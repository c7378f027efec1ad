import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { writeFiles } from '../support/busy.ts'
import { Cluster, capture, lastReport, type TestNode, type UnitRow } from '../support/cluster.ts'

const lies = fileURLToPath(new URL('../support/lying-sources.mjs', import.meta.url))
const manifest = '[package]\nname = "linted"\nversion = "0.1.0"\nedition = "2021"\n'

/** What is asked, of a source that it finds fault with and of one that it does not. */
const asked = {
  clippy: {
    args: ['clippy', '--offline', '--', '-D', 'warnings'],
    env: {},
    bad: 'pub fn nothing(x: &[u8]) -> bool { x.len() == 0 }\n',
    good: 'pub fn nothing(x: &[u8]) -> bool { x.is_empty() }\n',
    found: /clippy::len.zero/,
    here: '',
  },
  'check that denies warnings': {
    args: ['check', '--offline'],
    env: { RUSTFLAGS: '-D warnings' },
    bad: 'pub fn f() { let unused = 1; }\n',
    good: 'pub fn f() {}\n',
    found: /unused variable/,
    // That nobody is lent it is said whether somebody had it or not.
    here: 'policy',
  },
}

for (const [what, { args, env, bad, good, found, here }] of Object.entries(asked)) {
  describe(what, () => {
    let cluster: Cluster

    before(async () => {
      // Nobody tries anything: what is used is used on the word of those who say it.
      const config = (): string => '[lend]\nslots = 0\n[trust]\npolicy = "team"\naudit-share = 0\naudit-first = 0\n'
      cluster = await Cluster.start(['ada', 'ben', 'cy', 'lou'], config, (name, dir) =>
        name === 'lou'
          ? { NODE_OPTIONS: `--import=${lies}`, SHOAL_TEST_LIE: `lou/ws/src/lib.rs:${join(dir, 'bad.rs')}` }
          : {},
      )
      await writeFiles(cluster.dir, { 'bad.rs': bad })
    })
    after(() => cluster.close())

    async function run(
      name: string,
      source: string,
    ): Promise<{ node: TestNode; code: number | null; stderr: string; unit: UnitRow }> {
      const node = cluster.node(name)
      const dir = join(cluster.dir, name, 'ws')
      await writeFiles(dir, { 'Cargo.toml': manifest, 'src/lib.rs': source })
      const { code, stderr } = await capture('cargo', args, { cwd: dir, env: { ...(await node.cargoEnv()), ...env } })
      const [unit] = (await lastReport(node)).units
      assert.ok(unit)
      return { node, code, stderr, unit }
    }

    test('does not pass on the word of one who lies, and finds what is there', async () => {
      const lied = await run('lou', good)
      assert.deepEqual([lied.code, lied.unit.outcome, lied.unit.reason], [0, 'compiled-here', here], lied.stderr)
      const { code, stderr, unit, node } = await run('ada', bad)
      assert.equal(code, 101, node.log)
      assert.match(stderr, found)
      assert.deepEqual([unit.outcome, unit.reason], ['compiled-here', 'policy'])
    })

    test('is taken from two who say the same, and is as good as one’s own', async () => {
      const clean = `${good}// as it was checked in\n`
      for (const [name, outcome, reason] of [
        ['ben', 'compiled-here', here],
        ['cy', 'compiled-here', 'policy'],
        ['ada', 'recalled-mesh', ''],
      ]) {
        const { code, stderr, unit } = await run(name ?? '', clean)
        assert.deepEqual([code, unit.outcome, unit.reason], [0, outcome, reason], `${name}: ${stderr}`)
      }
      await capture('rm', ['-r', join(cluster.dir, 'cy/ws/target')])
      assert.equal((await run('cy', clean)).unit.outcome, 'recalled-here')
    })
  })
}
