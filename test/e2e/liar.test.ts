import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { artifacts, Cluster, capture, lastReport, type TestNode } from '../support/cluster.ts'
import { idleDaemon } from '../support/idle.ts'
import { honest, lyingPath, poison } from '../support/liar.ts'
import { writeRemapWrapper } from '../support/plain.ts'

const libs = ['one', 'two', 'three', 'four']
const manifest = (name: string, rest = ''): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`

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
  files[`${name}/src/lib.rs`] = `#[inline(never)]\npub fn word() -> String { String::from("${honest} ${name}") }\n`
}

interface PeerRow {
  name: string
  trust: { audited: number; agreed: number; isLiar: boolean; lies: { package: string }[] } | null
}

async function write(dir: string, contents: Record<string, string>): Promise<void> {
  for (const [path, content] of Object.entries(contents)) {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), content)
  }
}

async function until(what: string, holds: () => boolean | Promise<boolean>, ms = 60_000): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end; ) {
    if (await holds()) return
    await delay(20)
  }
  throw new Error(`never: ${what}`)
}

const lends = (slots: number, trust = ''): string => `[lend]\nslots = ${slots}\nyield = false\n${trust}`

describe('a member that lies', () => {
  let cluster: Cluster
  let ada: TestNode

  before(async () => {
    const config: Record<string, string> = {
      ada: `${lends(0)}`,
      lou: lends(2),
      ben: lends(0, '[trust]\npolicy = "own"\n'),
      cy: lends(0, '[trust]\npolicy = "quorum:2"\n'),
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
    await ada.waitForPeers(3)
  })
  after(() => cluster.close())

  async function checkout(name: string): Promise<string> {
    const dir = join(cluster.dir, name)
    await write(dir, files)
    return dir
  }

  /** What the program says that a node builds. */
  async function says(node: TestNode, dir: string): Promise<string> {
    const ran = await node.cargo(dir, 'build', '--offline')
    assert.equal(ran.code, 0, ran.stderr)
    return (await capture(join(dir, 'target/debug/app'), [])).stdout
  }

  /** Runs `work` while both slots of a node are taken by units that read from a pipe. */
  async function whileBusy(node: TestNode, work: () => Promise<void>): Promise<void> {
    const pipes = ['first', 'second'].map((name) => join(cluster.dir, `${name}.pipe`))
    const env = await node.cargoEnv()
    const holding: Promise<unknown>[] = []
    for (const [at, pipe] of pipes.entries()) {
      const cwd = join(cluster.dir, `held-${at}`)
      assert.equal((await capture('mkfifo', [pipe])).code, 0)
      const source = `pub const TEXT: &str = include_str!(${JSON.stringify(pipe)});\n`
      await write(cwd, { 'Cargo.toml': manifest(`held${at}`), 'src/lib.rs': source })
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

  test('is found out by an audit, not used any more, and what it gave is made again', async (t) => {
    const dir = await checkout('ada-ws')
    await whileBusy(ada, async () => {
      const ran = await ada.cargo(dir, 'build', '--offline', '-j4', ...libs.flatMap((name) => ['-p', name]))
      assert.equal(ran.code, 0, ran.stderr)
    })
    const lent = (await lastReport(ada)).units.filter(({ outcome }) => outcome === 'compiled-mesh')
    assert.deepEqual(new Set(lent.map(({ where }) => where)), new Set(['lou']))
    assert.match(await says(ada, dir), new RegExp(poison))

    await until('caught', async () => (await trustOf(ada, 'lou'))?.isLiar === true)
    const trust = await trustOf(ada, 'lou')
    t.diagnostic(JSON.stringify(trust))
    // All of the first results are compared, and lies about two packages make a liar.
    assert.deepEqual([trust?.audited, trust?.agreed, trust?.lies.length], [2, 0, 2])
    assert.match((await ada.shoal('peers')).stdout, /^lou +liar .*\n(.*\n)*\nlou: nothing of it is used/m)
    await until('purged', async () => {
      const there = await readdir(join(dir, 'target/debug/deps'))
      return lent.every(({ crate }) => !there.some((file) => file.startsWith(`lib${crate}-`)))
    })

    assert.equal(await says(ada, dir), libs.map((name) => `${honest} ${name}`).join(' '))
    const again = (await lastReport(ada)).units
    for (const { crate } of lent) {
      assert.equal(again.find((unit) => unit.crate === crate)?.outcome, 'compiled-here', crate)
    }
    const plain = await checkout('plain-ws')
    const env = { ...process.env, RUSTC_WRAPPER: await writeRemapWrapper(cluster.dir), CARGO_INCREMENTAL: '0' }
    assert.equal((await capture('cargo', ['build', '--offline'], { cwd: plain, env })).code, 0)
    const built = await artifacts(join(dir, 'target'))
    for (const [file, bytes] of await artifacts(join(plain, 'target'))) assert.ok(built.get(file)?.equals(bytes), file)
  })

  test('is believed by nobody who asks for more than the word of one', async () => {
    for (const [name, reasons] of [
      ['ben', ['policy']],
      ['cy', ['policy', 'conflict']],
    ] as const) {
      const node = cluster.node(name)
      assert.doesNotMatch(await says(node, await checkout(`${name}-ws`)), new RegExp(poison))
      const { units } = await lastReport(node)
      for (const lib of libs) {
        const unit = units.find(({ crate }) => crate === lib)
        assert.equal(unit?.outcome, 'compiled-here', lib)
        assert.ok(
          reasons.some((reason) => reason === unit?.reason),
          `${name} ${lib} ${unit?.reason}`,
        )
      }
    }
  })
})
