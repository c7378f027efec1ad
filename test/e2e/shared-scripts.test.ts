import assert from 'node:assert/strict'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, capture, type ReportRow, type TestNode, type UnitRow } from '../support/cluster.ts'
import { fishSys, needsFish, sorts } from '../support/fish-sys.ts'
import { cargoHome, publish } from '../support/registry.ts'
import { environmentOf, everything, outDirOf, writeAll } from '../support/scripts.ts'

interface Purged {
  results: number
  files: number
}

describe('what the build scripts of published packages did', () => {
  let cluster: Cluster
  const policies: Record<string, string> = { ada: 'team', benny: 'own', cy: 'quorum:2' }
  before(async () => {
    const config = (name: string): string =>
      `[build]\nscript-launcher = true\n[trust]\naudit-share = 0\npolicy = "${policies[name]}"\n`
    cluster = await Cluster.start(Object.keys(policies), config)
    await publish(join(cluster.dir, 'crates'), sorts.map(fishSys))
    for (const name of Object.keys(policies)) {
      await cargoHome(join(cluster.dir, `${name}-cargo`), join(cluster.dir, 'crates'))
      await writeAll(join(cluster.dir, `${name}-ws`), needsFish)
    }
  })
  after(() => cluster.close())

  const workspaceOf = (name: string): string => join(cluster.dir, `${name}-ws`)
  const targetOf = (name: string): string => join(workspaceOf(name), 'target')

  /** Builds on a node, in a workspace and with a home of cargo's of its own. */
  async function build(
    name: string,
    { of = sorts, nice = false, runs: count = of.length }: { of?: string[]; nice?: boolean; runs?: number } = {},
  ): Promise<Record<string, string>> {
    const node = cluster.node(name)
    const packages = of === sorts ? [] : of.flatMap((each) => ['-p', `${each}-sys`])
    const [program = '', ...args] = [...(nice ? ['nice', '-n', '5'] : []), 'cargo', 'build', '--release', '--offline']
    const all = { ...(await environmentOf(node)), ...homes(name) }
    const ran = await capture(program, [...args, ...packages], { cwd: workspaceOf(name), env: all })
    assert.equal(ran.code, 0, ran.stderr)
    const runs = await runsOf(node, count)
    return Object.fromEntries(
      runs.map((unit) => [unit.package?.split('-')[0] ?? '', `${unit.outcome} ${unit.reason}`.trim()]),
    )
  }
  const homes = (name: string): NodeJS.ProcessEnv => ({
    CARGO_HOME: join(cluster.dir, `${name}-cargo`),
    RUSTUP_HOME: process.env.RUSTUP_HOME ?? join(process.env.HOME ?? '/', '.rustup'),
  })

  async function runsOf(node: TestNode, count: number): Promise<UnitRow[]> {
    for (const end = Date.now() + 20_000; ; await delay(20)) {
      const { units } = await node.ask<ReportRow>('report')
      const runs = units.filter(({ kind }) => kind === 'build-script-run')
      if (runs.length >= count || Date.now() > end) return runs
    }
  }

  const says = async (name: string): Promise<string> =>
    (await capture(join(targetOf(name), 'release/app'), [])).stdout.trim()
  const left = async (name: string): Promise<Map<string, string>[]> =>
    await Promise.all(
      sorts.map(async (each) => await everything(await outDirOf(workspaceOf(name), `${each}-sys`, 'release'))),
    )

  test('is taken where two people say the same, and on the word of one nowhere', async () => {
    const plain = await capture('cargo', ['build', '--release', '--offline'], {
      cwd: workspaceOf('cy'),
      env: { ...process.env, ...homes('cy'), RUSTC_WRAPPER: '' },
    })
    assert.equal(plain.code, 0, plain.stderr)
    const [honest, own] = [await says('cy'), await left('cy')]
    await rm(targetOf('cy'), { recursive: true })

    // The one that takes any member's word, and the one that takes none, do not take this.
    const ran = 'compiled-here'
    assert.deepEqual(await build('ada', { of: ['fish'] }), { fish: ran })
    assert.deepEqual(await build('benny', { of: ['fish', 'eel'] }), { fish: ran, eel: ran })
    assert.deepEqual(await build('benny', { of: ['squid'], nice: true }), { squid: ran })
    assert.deepEqual(await build('ada', { of: ['eel', 'squid'], nice: true }), {
      eel: `${ran} policy`,
      squid: `${ran} policy`,
    })

    // In a moment all know who has what.
    await delay(500)
    // Two have said the same of squid, and it is not so: so many it takes.
    const cy = cluster.node('cy')
    assert.deepEqual(await build('cy'), {
      fish: 'recalled-mesh',
      eel: 'compiled-here new-place',
      squid: 'recalled-mesh',
    })
    const [fins = ''] = honest.split(' ')
    assert.equal(await says('cy'), `${fins} ${fins} ${Number(fins) + 5}`)
    const [fish, eel] = await left('cy')
    assert.deepEqual([fish, eel], own.slice(0, 2))
    assert.match(
      (await cy.shoal('why', 'fish_sys')).stdout,
      /recalled: .*fish_sys \(build-script-run\) from (ada|benny)\b/,
    )
    const units = (await runsOf(cy, sorts.length)).filter(({ outcome }) => outcome === 'recalled-mesh')
    for (const { where } of units) assert.ok(['ada', 'benny'].includes(where), where)
  })

  test('goes, with what was made of it, when somebody drops all that one of them gave', async () => {
    const cy = cluster.node('cy')
    const poisoned = await says('cy')
    for (const name of ['ada', 'benny']) await cluster.node(name).stop()
    const { results, files: gone } = await cy.json<Purged>('purge', '--by', 'ada', '--yes')
    assert.ok(results >= 1 && gone >= 6, `${results} ${gone}`)
    const out = await outDirOf(workspaceOf('cy'), 'squid-sys', 'release')
    assert.deepEqual(await readdir(out), [])
    // Of eel it has only its own word.
    assert.deepEqual(await build('cy', { runs: 2 }), { fish: 'compiled-here', squid: 'compiled-here' })
    const [fins] = poisoned.split(' ')
    assert.equal(await says('cy'), `${fins} ${fins} ${fins}`)
  })
})
