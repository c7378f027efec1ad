import assert from 'node:assert/strict'
import { mkdirSync, symlinkSync } from 'node:fs'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { whileBusy, writeFiles } from '../support/busy.ts'
import { artifacts, Cluster, capture, lastReport, type TestNode, type UnitRow } from '../support/cluster.ts'
import { writeRemapWrapper } from '../support/plain.ts'

interface ToolchainsRow {
  served: number
  fetched: number
  failed: number
  fetching: string | null
  kept: number
  bytes: number
}

const toolchainsOf = async (node: TestNode): Promise<ToolchainsRow> =>
  (await node.ask<{ sharing: { toolchains: ToolchainsRow } }>('status')).sharing.toolchains

async function until(node: TestNode, holds: (row: ToolchainsRow) => boolean): Promise<ToolchainsRow> {
  for (let tries = 0; tries < 300; tries++) {
    const row = await toolchainsOf(node)
    if (holds(row)) return row
    await delay(200)
  }
  throw new Error(`never: ${JSON.stringify(await toolchainsOf(node))}\n${node.log}`)
}

const manifest = (name: string, rest: string): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`
const libs = Array.from({ length: 4 }, (_, n) => `lib${n}`)
/** Code for a compiler to make. */
const work = (n: number): string => `pub fn f${n}(mut words: Vec<String>) -> std::collections::BTreeMap<String, usize> {
    words.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
    words.into_iter().enumerate().map(|(at, word)| (format!("{word}-{at}"), at * ${n})).collect()
}
`

/** Libraries that use a macro, which reads a file. @param salt what makes them new to everybody */
const workspace = (salt: string): Record<string, string> => ({
  'Cargo.toml': `[workspace]\nresolver = "2"\nmembers = ["makes", ${libs.map((name) => `"${name}"`)}]\n`,
  'makes/Cargo.toml': manifest('makes', '[lib]\nproc-macro = true\n'),
  'makes/src/lib.rs': `use proc_macro::TokenStream;
#[proc_macro] pub fn words(name: TokenStream) -> TokenStream {
    let words = std::fs::read_to_string(format!("{name}/words.txt")).unwrap();
    format!("pub const WORDS: &str = {words:?};").parse().unwrap()
}
`,
  ...Object.fromEntries(
    libs.flatMap((name) => [
      [`${name}/Cargo.toml`, manifest(name, '[dependencies]\nmakes = { path = "../makes" }\n')],
      [
        `${name}/src/lib.rs`,
        `makes::words!(${name});\n${Array.from({ length: 3 }, (_, n) => work(n)).join('')}// ${salt}\n`,
      ],
      [`${name}/words.txt`, name],
    ]),
  ),
})

const names = ['stable', 'nightly'] as const
const installed = (await capture('rustup', ['toolchain', 'list'])).stdout
const skip = names.every((name) => installed.includes(`${name}-`)) ? false : 'stable and nightly are not both installed'

/** Where rustup keeps one of them. */
async function sysroot(name: string): Promise<string> {
  return (await capture('rustc', [`+${name}`, '--print', 'sysroot'])).stdout.trim()
}

/** One with a version of its own; undefined where there is none. */
async function third(): Promise<string | undefined> {
  const release = async (name: string): Promise<string> => (await capture('rustc', [`+${name}`, '-V'])).stdout
  const known = await Promise.all(names.map(release))
  for (const [, name = ''] of installed.matchAll(/^(\d+\.\d+\.\d+)-/gm)) {
    if (!known.includes(await release(name))) return name
  }
  return undefined
}

/** Ada builds, Ben lends. */
class Pair {
  readonly cluster: Cluster
  readonly ada: TestNode
  readonly ben: TestNode
  /** Each is a package that nobody has built before. */
  made = 0

  private constructor(cluster: Cluster) {
    this.cluster = cluster
    this.ada = cluster.node('ada')
    this.ben = cluster.node('ben')
  }

  /** @param toolchains what is installed where Ben's node looks: nothing else is in his home, and no Rust along his path */
  static async start(toolchains: readonly string[]): Promise<Pair> {
    const sysroots = await Promise.all(toolchains.map(sysroot))
    const env = (name: string, dir: string): NodeJS.ProcessEnv => {
      if (name !== 'ben') return {}
      const home = join(dir, 'nothing')
      const rustup = join(home, '.rustup')
      mkdirSync(join(rustup, 'toolchains'), { recursive: true })
      for (const path of sysroots) symlinkSync(path, join(rustup, 'toolchains', basename(path)))
      return { HOME: home, RUSTUP_HOME: rustup, CARGO_HOME: join(home, '.cargo'), PATH: '/usr/bin:/bin' }
    }
    return new Pair(await Cluster.start(['ada', 'ben'], () => '', env))
  }

  async build(dir: string, name: string): Promise<UnitRow[]> {
    const ran = await this.ada.cargo(dir, `+${name}`, 'build', '--offline')
    assert.equal(ran.code, 0, ran.stderr)
    return (await lastReport(this.ada)).units
  }

  /** A small package; what its build tells the others is which toolchain is used. */
  async #buildSmall(name: string): Promise<void> {
    const dir = join(this.cluster.dir, `small-${++this.made}`)
    const ran = await capture('cargo', ['init', '--lib', '--vcs', 'none', '--name', 'small', dir])
    assert.equal(ran.code, 0, ran.stderr)
    await writeFile(join(dir, 'src/lib.rs'), `pub const N: u32 = ${this.made};\n`)
    await this.build(dir, name)
  }

  /** Small builds until Ben has heard of the toolchain; then waits until he has as many of them as are expected. */
  async untilFetched(name: string, count: number): Promise<ToolchainsRow> {
    const heard = ({ fetched, fetching }: ToolchainsRow): boolean => fetched >= count || fetching !== null
    for (let builds = 0; builds < 20 && !heard(await toolchainsOf(this.ben)); builds++) await this.#buildSmall(name)
    return await until(this.ben, ({ fetched }) => fetched === count)
  }

  async #plainArtifacts(name: string, files: Readonly<Record<string, string>>): Promise<Map<string, Buffer>> {
    const dir = join(this.cluster.dir, `plain-${name}-${this.made}`)
    await writeFiles(dir, files)
    const env = { ...process.env, RUSTC_WRAPPER: await writeRemapWrapper(this.cluster.dir), CARGO_INCREMENTAL: '0' }
    const ran = await capture('cargo', [`+${name}`, 'build', '--offline'], { cwd: dir, env })
    assert.equal(ran.code, 0, ran.stderr)
    return await artifacts(join(dir, 'target'))
  }

  /** Builds a workspace from nothing, all but its macro while nothing is free here, and compares what came of it with what plain rustc makes. */
  async lentBy(name: string): Promise<{ dir: string; away: UnitRow[] }> {
    const files = workspace(`${++this.made}`)
    const dir = join(this.cluster.dir, `ws-${name}-${this.made}`)
    await writeFiles(dir, files)
    const ran = await this.ada.cargo(dir, `+${name}`, 'build', '--offline', '-p', 'makes')
    assert.equal(ran.code, 0, ran.stderr)
    // Ben is told of no other toolchain by what keeps her busy.
    await writeFiles(`${dir}-busy`, { 'rust-toolchain': `${name}\n` })
    const units = await whileBusy(this.ada, `${dir}-busy`, 2, () => this.build(dir, name))
    const expected = await this.#plainArtifacts(name, files)
    const actual = await artifacts(join(dir, 'target'))
    assert.deepEqual([...actual.keys()].sort(), [...expected.keys()].sort())
    for (const [file, bytes] of expected) assert.ok(actual.get(file)?.equals(bytes), file)
    return { dir, away: units.filter(({ outcome }) => outcome === 'compiled-mesh') }
  }
}

describe('a node without any Rust lends', { skip }, () => {
  let pair: Pair

  before(async () => {
    pair = await Pair.start([])
    // Nor an observer that a rustc could have made.
    await rm(join(pair.ben.home, 'state/bin'), { recursive: true })
  })
  after(() => pair.cluster.close())

  test('with the toolchain that a member builds with, fetched from there', async (t) => {
    await until(pair.ada, ({ served }) => served >= 2)
    assert.deepEqual(
      [(await toolchainsOf(pair.ben)).served, pair.ben.log.includes('toolchain is being fetched')],
      [0, false],
    )
    const from = Date.now()
    const { bytes, kept } = await pair.untilFetched('stable', 1)
    assert.equal(kept, 1)
    t.diagnostic(`${bytes} bytes, ${Date.now() - from} ms`)
  })

  test('units that use macros too, watched by the builder’s own observer', async (t) => {
    const { dir, away } = await pair.lentBy('stable')
    t.diagnostic(`${away.length} units compiled by ben`)
    assert.ok(away.length > 0)
    for (const { crate } of away) assert.ok(libs.includes(crate), crate)
    // What they read is known: when it changes, they are made anew.
    for (const { crate } of away) await writeFile(join(dir, crate, 'words.txt'), 'changed')
    await rm(join(dir, 'target'), { recursive: true })
    const again = new Map((await pair.build(dir, 'stable')).map(({ crate, outcome }) => [crate, outcome]))
    for (const { crate } of away) assert.match(again.get(crate) ?? '', /^compiled/, crate)
  })

  test('and with another beside it', async (t) => {
    await pair.untilFetched('nightly', 2)
    const { away } = await pair.lentBy('nightly')
    t.diagnostic(`${away.length} units compiled by ben`)
    assert.ok(away.length > 0)
  })

  test('and a third one', async (t) => {
    const name = await third()
    if (name === undefined) return t.skip('no third version is installed')
    await pair.untilFetched(name, 3)
    for (const each of [name, ...names]) {
      const { away } = await pair.lentBy(each)
      t.diagnostic(`${each}: ${away.length} units compiled by ben`)
      assert.ok(away.length > 0, each)
    }
  })

  test('and still has all of them when it comes back', async () => {
    await pair.ben.stop()
    await pair.ben.start()
    const count = (await third()) === undefined ? 2 : 3
    const row = await until(pair.ben, ({ served }) => served === count)
    assert.deepEqual([row.fetched, row.failed, row.kept], [0, 0, count])
    assert.equal((await readdir(join(pair.ben.home, 'cache/toolchains'))).length, count)
    await pair.ada.waitForPeers(1)
    assert.ok((await pair.lentBy('stable')).away.length > 0)
    assert.equal((await toolchainsOf(pair.ben)).fetched, 0)
  })
})

describe('a node with another version of Rust', { skip }, () => {
  let pair: Pair
  before(async () => {
    pair = await Pair.start(['nightly'])
  })
  after(() => pair.cluster.close())

  test('lends what it has', async (t) => {
    const { away } = await pair.lentBy('nightly')
    t.diagnostic(`${away.length} units compiled by ben`)
    assert.ok(away.length > 0)
    assert.equal((await toolchainsOf(pair.ben)).fetched, 0)
  })

  test('and what the builder has, beside it', async (t) => {
    await pair.untilFetched('stable', 1)
    for (const name of names) {
      const { away } = await pair.lentBy(name)
      t.diagnostic(`${name}: ${away.length} units compiled by ben`)
      assert.ok(away.length > 0, name)
    }
    assert.equal((await toolchainsOf(pair.ben)).fetched, 1)
  })
})
