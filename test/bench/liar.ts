import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { whileBusy, writeFiles } from '../support/busy.ts'
import { Cluster, type TestNode } from '../support/cluster.ts'
import { idleDaemon } from '../support/idle.ts'
import { honest, lyingPath } from '../support/liar.ts'
import { argument, say } from './figures.ts'

/**
 * After how many of its results a liar is found out, where only a share of them is tried: `npm run bench -- liar [--share S] [--trials N]
 * [--libraries N]`. Four members compile for a fifth, one of them puts something else into each library. So many libraries are
 * built at a time; what was sampled of them is tried before the next.
 */
const [share, trials, count] = [argument('share', 0.03), argument('trials', 3), argument('libraries', 60)]
/** The first that is tried raises a doubt in 99 of 100 cases within so many; from then on each is tried. */
const predicted = Math.ceil(Math.log(0.01) / Math.log(1 - share))
const lenders = ['lou', 'ben', 'cy', 'dee']

function libraries(round: number): Record<string, string> {
  const names = Array.from({ length: count }, (_, at) => `lib${round}x${at}`)
  const files: Record<string, string> = {
    'Cargo.toml': `[workspace]\nresolver = "2"\nmembers = [${names.map((name) => `"${name}"`).join(', ')}]\n`,
  }
  for (const name of names) {
    files[`${name}/Cargo.toml`] = `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n`
    files[`${name}/src/lib.rs`] = `#[inline(never)]\npub fn word() -> String { String::from("${honest} ${name}") }\n`
  }
  return files
}

interface PeerRow {
  name: string
  trust: { accepted: number; audited: number; unexplained: number; isLiar: boolean; lies: unknown[] } | null
}

async function standings(node: TestNode): Promise<Map<string, NonNullable<PeerRow['trust']>>> {
  const { peers } = await node.ask<{ peers: PeerRow[] }>('peers')
  return new Map(peers.flatMap(({ name, trust }) => (trust === null ? [] : [[name, trust]])))
}

async function triedAll(node: TestNode): Promise<void> {
  for (;;) {
    const { trust } = await node.ask<{ trust: { audits: { waiting: number } } }>('status')
    if (trust.audits.waiting === 0) return
    await delay(200)
  }
}

interface Trial {
  /** Results of the liar that were used when the first doubt came up: at least so many, because nothing is tried during a build, and at most. */
  doubted: [least: number, most: number]
  /** Used before it was found out, and tried. */
  uses: number
  audited: number
}

async function trial(): Promise<Trial> {
  const config = (name: string): string =>
    name === 'ada'
      ? `[lend]\nslots = 0\n[trust]\naudit-first = 0\naudit-share = ${share}\n`
      : '[lend]\nslots = 2\nyield = false\n'
  const cluster = await Cluster.start(['ada', ...lenders], config, (name, dir) =>
    name === 'lou' ? { PATH: lyingPath(dir) } : {},
  )
  try {
    const ada = cluster.node('ada')
    await ada.stop()
    ada.program = idleDaemon
    await ada.start()
    await ada.waitForPeers(lenders.length)
    let before = 0
    let doubted: Trial['doubted'] | undefined
    for (let round = 0; ; round += 1) {
      const dir = join(cluster.dir, `round${round}`)
      await writeFiles(dir, libraries(round))
      const built = await whileBusy(ada, `${dir}-busy`, 2, () => ada.cargo(dir, 'build', '--offline', '-j8'), 600_000)
      if (built.code !== 0) throw new Error(built.stderr)
      await triedAll(ada)
      const known = await standings(ada)
      const accused = [...known].filter(([name, trust]) => name !== 'lou' && trust.lies.length + trust.unexplained > 0)
      if (accused.length > 0) throw new Error(`accused: ${accused.map(([name]) => name).join(', ')}`)
      const lou = known.get('lou')
      const uses = lou?.accepted ?? 0
      if (lou !== undefined && lou.lies.length > 0) doubted ??= [before + 1, uses]
      if (lou?.isLiar && doubted !== undefined) return { doubted, uses, audited: lou.audited }
      before = uses
    }
  } finally {
    await cluster.close()
  }
}

say(`of what others give ${share * 100} % is tried: a first doubt within ${predicted} uses in 99 of 100 cases`)
let within = 0
for (let at = 0; at < trials; at += 1) {
  const { doubted, uses, audited } = await trial()
  if (doubted[0] <= predicted) within += 1
  say(`  doubted after ${doubted.join(' to ')} uses, found out after ${uses}; ${audited} tried, nobody else accused`)
}
say(`  ${within} of ${trials} within the prediction`)
