import assert from 'node:assert/strict'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { writeFiles } from '../support/busy.ts'
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
const libs = Array.from({ length: 8 }, (_, n) => `lib${n}`)
/** Takes a compiler some time. */
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
        `makes::words!(${name});\n${Array.from({ length: 10 }, (_, n) => work(n)).join('')}// ${salt}\n`,
      ],
      [`${name}/words.txt`, name],
    ]),
  ),
})

const names = ['stable', 'nightly'] as const
const installed = (await capture('rustup', ['toolchain', 'list'])).stdout
const skip = names.every((name) => installed.includes(`${name}-`)) ? false : 'stable and nightly are not both installed'

describe('a node without any Rust lends', { skip }, () => {
  let cluster: Cluster
  let ada: TestNode
  let ben: TestNode
  /** Each is a package that nobody has built before. */
  let made = 0

  before(async () => {
    // Ben's node sees no Rust at all: nothing in his home, nothing along his path, and no observer that a rustc could have made.
    const env = (name: string, dir: string): NodeJS.ProcessEnv => {
      const nothing = join(dir, 'nothing')
      const places = { HOME: nothing, RUSTUP_HOME: join(nothing, '.rustup'), CARGO_HOME: join(nothing, '.cargo') }
      return name === 'ben' ? { ...places, PATH: '/usr/bin:/bin' } : {}
    }
    cluster = await Cluster.start(['ada', 'ben'], () => '', env)
    ada = cluster.node('ada')
    ben = cluster.node('ben')
    await rm(join(ben.home, 'state/bin'), { recursive: true })
  })
  after(() => cluster.close())

  async function build(dir: string, name: string): Promise<UnitRow[]> {
    const ran = await ada.cargo(dir, `+${name}`, 'build', '--offline')
    assert.equal(ran.code, 0, ran.stderr)
    return (await lastReport(ada)).units
  }

  /** A small package; what its build tells the others is which toolchain is used. */
  async function buildSmall(name: string): Promise<void> {
    const dir = join(cluster.dir, `small-${++made}`)
    const ran = await capture('cargo', ['init', '--lib', '--vcs', 'none', '--name', 'small', dir])
    assert.equal(ran.code, 0, ran.stderr)
    await writeFile(join(dir, 'src/lib.rs'), `pub const N: u32 = ${made};\n`)
    await build(dir, name)
  }

  /** Small builds until Ben has heard of the toolchain; then waits until he has as many of them as are expected. */
  async function untilFetched(name: string, count: number): Promise<ToolchainsRow> {
    const heard = ({ fetched, fetching }: ToolchainsRow): boolean => fetched >= count || fetching !== null
    for (let builds = 0; builds < 20 && !heard(await toolchainsOf(ben)); builds++) await buildSmall(name)
    return await until(ben, ({ fetched }) => fetched === count)
  }

  async function plainArtifacts(name: string, files: Readonly<Record<string, string>>): Promise<Map<string, Buffer>> {
    const dir = join(cluster.dir, `plain-${name}`)
    await writeFiles(dir, files)
    const env = { ...process.env, RUSTC_WRAPPER: await writeRemapWrapper(cluster.dir), CARGO_INCREMENTAL: '0' }
    const ran = await capture('cargo', [`+${name}`, 'build', '--offline'], { cwd: dir, env })
    assert.equal(ran.code, 0, ran.stderr)
    return await artifacts(join(dir, 'target'))
  }

  /** Builds a workspace from nothing, and compares what came of it with what plain rustc makes. */
  async function lentBy(name: string): Promise<{ dir: string; away: UnitRow[] }> {
    const dir = join(cluster.dir, `ws-${name}`)
    const files = workspace(`${++made}`)
    await writeFiles(dir, files)
    const units = await build(dir, name)
    const expected = await plainArtifacts(name, files)
    const actual = await artifacts(join(dir, 'target'))
    assert.deepEqual([...actual.keys()].sort(), [...expected.keys()].sort())
    for (const [file, bytes] of expected) assert.ok(actual.get(file)?.equals(bytes), file)
    return { dir, away: units.filter(({ outcome }) => outcome === 'compiled-mesh') }
  }

  test('with the toolchain that a member builds with, fetched from there', async (t) => {
    await until(ada, ({ served }) => served >= 2)
    assert.deepEqual([(await toolchainsOf(ben)).served, ben.log.includes('toolchain is being fetched')], [0, false])
    const from = Date.now()
    const { bytes, kept } = await untilFetched('stable', 1)
    assert.equal(kept, 1)
    t.diagnostic(`${bytes} bytes, ${Date.now() - from} ms`)
  })

  test('units that use macros too, watched by the builder’s own observer', async (t) => {
    const { dir, away } = await lentBy('stable')
    t.diagnostic(`${away.length} units compiled by ben`)
    assert.ok(away.length > 0)
    for (const { crate } of away) assert.ok(libs.includes(crate), crate)
    // What they read is known: when it changes, they are made anew.
    for (const { crate } of away) await writeFile(join(dir, crate, 'words.txt'), 'changed')
    await rm(join(dir, 'target'), { recursive: true })
    const again = new Map((await build(dir, 'stable')).map(({ crate, outcome }) => [crate, outcome]))
    for (const { crate } of away) assert.match(again.get(crate) ?? '', /^compiled/, crate)
  })

  test('and with another beside it', async (t) => {
    await untilFetched('nightly', 2)
    const { away } = await lentBy('nightly')
    t.diagnostic(`${away.length} units compiled by ben`)
    assert.ok(away.length > 0)
  })

  test('and still has both when it comes back', async () => {
    await ben.stop()
    await ben.start()
    const row = await until(ben, ({ served }) => served === 2)
    assert.deepEqual([row.fetched, row.failed, row.kept], [0, 0, 2])
    assert.equal((await readdir(join(ben.home, 'cache/toolchains'))).length, 2)
    await ada.waitForPeers(1)
    const dir = join(cluster.dir, 'again')
    await writeFiles(dir, workspace(`${++made}`))
    const units = await build(dir, 'stable')
    assert.ok(
      units.some(({ outcome }) => outcome === 'compiled-mesh'),
      JSON.stringify(units),
    )
    assert.equal((await toolchainsOf(ben)).fetched, 0)
  })
})
