import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { writeFiles } from '../support/busy.ts'
import { artifacts, Cluster, capture, lastReport, type TestNode } from '../support/cluster.ts'
import { idleDaemon } from '../support/idle.ts'
import { honest, lyingPath, poison } from '../support/liar.ts'
import { writeRemapWrapper } from '../support/plain.ts'
import { until } from '../support/until.ts'

const libs = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight']
const manifest = (name: string, rest = ''): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`

/** Libraries, and a program that says a word of each. @param round other sources each time, which nobody has compiled */
function workspace(round: number): Record<string, string> {
  const files: Record<string, string> = {
    'Cargo.toml': `[workspace]\nresolver = "2"\nmembers = ["app", ${libs.map((name) => `"${name}"`).join(', ')}]\n`,
    'app/Cargo.toml': manifest(
      'app',
      `[dependencies]\n${libs.map((name) => `${name} = { path = "../${name}" }\n`).join('')}`,
    ),
    'app/src/main.rs': `fn main() { print!("{}", [${libs.map((name) => `${name}::word()`).join(', ')}].join(" ")); }\n`,
  }
  for (const name of libs) {
    files[`${name}/Cargo.toml`] = manifest(name)
    files[`${name}/src/lib.rs`] =
      `pub const ROUND: u32 = ${round};\n#[inline(never)]\npub fn word() -> String { String::from("${honest} ${name}") }\n`
  }
  return files
}

interface PeerRow {
  name: string
  trust: {
    accepted: number
    audited: number
    agreed: number
    unexplained: number
    isLiar: boolean
    lies: { package: string }[]
  } | null
}

/** One build of Ada's for which others worked, and which of its libraries Lou gave. */
interface Round {
  number: number
  dir: string
  lies: string[]
}

const lends = (slots: number, trust = ''): string => `[lend]\nslots = ${slots}\nyield = false\n${trust}`

describe('a member that lies, among four that compile for others', () => {
  let cluster: Cluster
  let ada: TestNode

  before(async () => {
    const config: Record<string, string> = {
      ada: `${lends(0)}`,
      lou: lends(2),
      ben: lends(2, '[trust]\npolicy = "own"\n'),
      cy: lends(2, '[trust]\npolicy = "quorum:2"\n'),
      dee: lends(2),
    }
    cluster = await Cluster.start(
      Object.keys(config),
      (name) => config[name] ?? '',
      (name, dir) => (name === 'lou' ? { PATH: lyingPath(dir) } : {}),
    )
    ada = cluster.node('ada')
    // Its machine has nothing else to do, whatever else runs here.
    await ada.stop()
    ada.program = idleDaemon
    await ada.start()
    await ada.waitForPeers(4)
  })
  after(() => cluster.close())

  async function checkout(name: string, round: number): Promise<string> {
    const dir = join(cluster.dir, name)
    await writeFiles(dir, workspace(round))
    return dir
  }

  /** What the program says that a node builds. */
  async function says(node: TestNode, dir: string): Promise<string> {
    const ran = await node.cargo(dir, 'build', '--offline')
    assert.equal(ran.code, 0, ran.stderr)
    return (await capture(join(dir, 'target/debug/app'), [])).stdout
  }

  /** Runs `work` while both slots of a node are taken by units that read from a pipe. */
  async function whileBusy(node: TestNode, round: number, work: () => Promise<void>): Promise<void> {
    const pipes = ['first', 'second'].map((name) => join(cluster.dir, `${name}${round}.pipe`))
    const env = await node.cargoEnv()
    const holding: Promise<unknown>[] = []
    for (const [at, pipe] of pipes.entries()) {
      const cwd = join(cluster.dir, `held-${round}-${at}`)
      assert.equal((await capture('mkfifo', [pipe])).code, 0)
      const source = `pub const TEXT: &str = include_str!(${JSON.stringify(pipe)});\n`
      await writeFiles(cwd, { 'Cargo.toml': manifest(`held${at}`), 'src/lib.rs': source })
      holding.push(once(spawn('cargo', ['build', '--offline'], { cwd, env, stdio: 'ignore' }), 'close'))
    }
    type Status = { units: { here: number } }
    await until('every slot is taken', async () => (await node.ask<Status>('status')).units.here === 2)
    try {
      await work()
    } finally {
      for (const pipe of pipes) await writeFile(pipe, 'text')
      await Promise.all(holding)
    }
  }

  const trustOf = async (node: TestNode, name: string): Promise<PeerRow['trust']> =>
    (await node.ask<{ peers: PeerRow[] }>('peers')).peers.find((peer) => peer.name === name)?.trust ?? null

  async function build(number: number): Promise<Round> {
    const dir = await checkout(`ada-ws${number}`, number)
    await whileBusy(ada, number, async () => {
      const ran = await ada.cargo(dir, 'build', '--offline', '-j8', ...libs.flatMap((name) => ['-p', name]))
      assert.equal(ran.code, 0, ran.stderr)
    })
    const { units } = await lastReport(ada)
    assert.ok(units.every(({ outcome }) => outcome === 'compiled-mesh'))
    return { number, dir, lies: units.filter(({ where }) => where === 'lou').map(({ crate }) => crate) }
  }

  async function areAllTried(): Promise<boolean> {
    const { trust } = await ada.ask<{ trust: { audits: { waiting: number } } }>('status')
    return trust.audits.waiting === 0
  }

  /** Of what the first tests found. */
  let lastLies: Round | undefined

  test('is found out by the first two audits, not used any more, and what it gave is made again', async (t) => {
    // Who takes how much is up to the market; of one package alone nobody is called a liar. Of other sources of the same library the latest
    // counts, so each round is tried before the next.
    const rounds: Round[] = []
    const given = (): string[] => rounds.flatMap(({ lies }) => lies)
    do {
      const round = await build(rounds.length)
      rounds.push(round)
      const words = await says(ada, round.dir)
      assert.equal(words.includes(poison), round.lies.length > 0)
      await until('all tried', areAllTried)
    } while (given().length < 20 && (await trustOf(ada, 'lou'))?.isLiar !== true)
    lastLies = rounds.findLast(({ lies }) => lies.length > 0)
    const trust = await trustOf(ada, 'lou')
    const { trust: audits } = await ada.ask<{ trust: unknown }>('status')
    t.diagnostic(JSON.stringify({ rounds: rounds.map(({ lies }) => lies), trust, audits }))
    // All of the first twenty results are compared, and lies about two packages make a liar.
    assert.deepEqual([trust?.isLiar, trust?.agreed, trust?.lies.length], [true, 0, 2])
    assert.equal(trust?.accepted, given().length)
    assert.match((await ada.shoal('peers')).stdout, /^lou +liar .*\n(.*\n)*\nlou: nothing of it is used/m)

    for (const { number, dir, lies } of rounds) {
      await until('purged', async () => {
        const there = await readdir(join(dir, 'target/debug/deps'))
        return lies.every((crate) => !there.some((file) => file.startsWith(`lib${crate}-`)))
      })
      assert.equal(await says(ada, dir), libs.map((name) => `${honest} ${name}`).join(' '))
      const again = (await lastReport(ada)).units.filter(({ crate }) => libs.includes(crate))
      // What the others gave stays.
      if (lies.length > 0) assert.deepEqual(again.map(({ crate }) => crate).sort(), lies.toSorted())
      assert.ok(again.every(({ where }) => where !== 'lou'))
      const plain = await checkout(`plain-${basename(dir)}`, number)
      const env = { ...process.env, RUSTC_WRAPPER: await writeRemapWrapper(cluster.dir), CARGO_INCREMENTAL: '0' }
      assert.equal((await capture('cargo', ['build', '--offline'], { cwd: plain, env })).code, 0)
      const built = await artifacts(join(dir, 'target'))
      for (const [file, bytes] of await artifacts(join(plain, 'target')))
        assert.ok(built.get(file)?.equals(bytes), file)
    }

    await until('all tried', areAllTried)
    for (const name of ['ben', 'cy', 'dee']) {
      const { audited = 0, agreed = 0, unexplained = 0, isLiar = false } = (await trustOf(ada, name)) ?? {}
      assert.deepEqual([agreed, unexplained, isLiar], [audited, 0, false], name)
    }
  })

  test('is believed by nobody who asks for more than the word of one', async () => {
    assert.ok(lastLies)
    for (const name of ['ben', 'cy']) {
      const node = cluster.node(name)
      const dir = await checkout(`${name}-ws`, lastLies.number)
      assert.equal(await says(node, dir), libs.map((lib) => `${honest} ${lib}`).join(' '))
      const { units } = await lastReport(node)
      for (const crate of lastLies.lies) {
        const unit = units.find((each) => each.crate === crate)
        assert.notEqual(unit?.where, 'lou', crate)
        // By its owner's policy, because others say something else, because two others agree, or because it compiled that for Ada when Lou took long.
        const found = [unit?.outcome, unit?.reason].join(' ')
        const fine = [
          'compiled-here policy',
          'recalled-here ',
          ...(name === 'cy' ? ['compiled-here conflict', 'recalled-mesh '] : []),
        ]
        assert.ok(
          fine.some((each) => found.startsWith(each)),
          `${name} ${crate} ${found}`,
        )
      }
      assert.equal(await trustOf(node, 'lou'), null)
    }
  })
})
