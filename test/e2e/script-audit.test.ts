import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, capture, type ReportRow } from '../support/cluster.ts'
import { fishSys, needsFish, sorts } from '../support/fish-sys.ts'
import { idleDaemon } from '../support/idle.ts'
import { cargoHome, publish } from '../support/registry.ts'
import { environmentOf, outDirOf, writeAll } from '../support/scripts.ts'
import { until } from '../support/until.ts'

interface Standing {
  peers: { name: string; trust: { agreed: number; unexplained: number; lies: unknown[]; isLiar: boolean } | null }[]
}

test('what two people say that a script did is tried when there is time, and taken away if it does something else here', async () => {
  const names = ['ada', 'benny', 'cy']
  const policy = (name: string): string => (name === 'cy' ? 'policy = "quorum:2"\naudit-share = 1' : 'audit-share = 0')
  const config = (name: string): string =>
    `[build]\nscript-launcher = true\n[lend]\nslots = 0\n[trust]\n${policy(name)}\n`
  const cluster = await Cluster.start(names, config)
  try {
    const cy = cluster.node('cy')
    await cy.stop()
    cy.program = idleDaemon
    await cy.start()
    for (const name of names) await cluster.node(name).waitForPeers(2)
    await publish(join(cluster.dir, 'crates'), sorts.map(fishSys))
    const dirOf = (name: string): string => join(cluster.dir, `${name}-ws`)
    for (const name of names) {
      await cargoHome(join(cluster.dir, `${name}-cargo`), join(cluster.dir, 'crates'))
      await writeAll(dirOf(name), needsFish)
    }
    const build = async (
      name: string,
      before: string[],
      packages: string[],
      count = 3,
    ): Promise<Record<string, string>> => {
      const node = cluster.node(name)
      const [program = '', ...args] = [...before, 'cargo', 'build', '--release', '--offline']
      const homes = {
        CARGO_HOME: join(cluster.dir, `${name}-cargo`),
        RUSTUP_HOME: process.env.RUSTUP_HOME ?? join(process.env.HOME ?? '/', '.rustup'),
      }
      const env = { ...(await environmentOf(node)), ...homes }
      const chosen = packages.flatMap((each) => ['-p', `${each}-sys`])
      const ran = await capture(program, [...args, ...chosen], { cwd: dirOf(name), env })
      assert.equal(ran.code, 0, ran.stderr)
      let runs: [string, string][] = []
      await until('all scripts are told of', async () => {
        const { units } = await node.ask<ReportRow>('report')
        const ofRuns = units.filter(({ kind }) => kind === 'build-script-run')
        runs = ofRuns.map(({ package: of, outcome }) => [of?.split('-')[0] ?? '', outcome])
        return runs.length >= count
      })
      return Object.fromEntries(runs)
    }
    // What they say of squid is not so: how nicely it runs is in what it makes.
    for (const name of ['ada', 'benny']) {
      await build(name, [], ['fish', 'eel'], 2)
      await build(name, ['nice', '-n', '5'], ['squid'], 1)
    }
    await delay(500)
    const taken = { fish: 'recalled-mesh', eel: 'recalled-mesh', squid: 'recalled-mesh' }
    assert.deepEqual(await build('cy', [], []), taken)
    const says = async (): Promise<string[]> =>
      (await capture(join(dirOf('cy'), 'target/release/app'), [])).stdout.trim().split(' ')
    const [fins = '', , wrong] = await says()
    assert.equal(Number(wrong), Number(fins) + 5)

    const outOf = (name: string): Promise<string> => outDirOf(dirOf('cy'), `${name}-sys`, 'release')
    const squid = await outOf('squid')
    await until('what squid left is taken away', async () => (await readdir(squid)).length === 0)
    for (const name of ['fish', 'eel'])
      assert.match(await readFile(join(await outOf(name), 'include/fins.h'), 'utf8'), /FINS/)
    const { peers } = await cy.json<Standing>('peers')
    const seen = Object.fromEntries(peers.map(({ name, trust }) => [name, trust]))
    for (const name of ['ada', 'benny']) {
      assert.equal(seen[name]?.unexplained, 1, name)
      assert.deepEqual([seen[name]?.lies, seen[name]?.isLiar], [[], false], name)
    }
    // It is not taken a second time.
    assert.deepEqual(await build('cy', [], [], 1), { squid: 'compiled-here' })
    assert.deepEqual(await says(), [fins, fins, fins])
  } finally {
    await cluster.close()
  }
})
