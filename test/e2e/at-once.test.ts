import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { artifacts, Cluster, cratesIoReachable, type TestNode, type UnitRow } from '../support/cluster.ts'
import { type Files, packageManifest, writeFiles } from '../support/fixture.ts'
import { type Settled, settledTogether } from '../support/settled.ts'

const workspace = fileURLToPath(new URL('../../examples/workspace', import.meta.url))

interface Build {
  /** An example, or what a workspace is made of. */
  files: 'offline' | 'workspace' | Files
  args: readonly string[]
  env?: NodeJS.ProcessEnv
}

/**
 * Sources are what a compile's time is guessed from, and how long a member waits for another depends on that: with so much
 * text that no compile takes longer than expected, whatever else this machine does.
 */
const padding = '// Many small fish.\n'.repeat(100_000)
const uses = (...names: string[]): string =>
  `[dependencies]\n${names.map((name) => `${name} = { path = "../${name}" }\n`).join('')}`

/** All kinds of units, in four layers. */
const layered: Files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["macros", "table", "left", "right", "app"]\n',
  'macros/Cargo.toml': packageManifest('macros', '[lib]\nproc-macro = true\n'),
  'macros/src/lib.rs':
    'use proc_macro::TokenStream;\n#[proc_macro] pub fn two(_: TokenStream) -> TokenStream { "2".parse().unwrap() }\n',
  'table/Cargo.toml': packageManifest('table', 'build = "build.rs"\n'),
  'table/build.rs':
    'fn main() { std::fs::write(std::env::var("OUT_DIR").unwrap() + "/table.rs", "pub const TABLE: u8 = 1;").unwrap(); }\n',
  'table/src/lib.rs': 'include!(concat!(env!("OUT_DIR"), "/table.rs"));\n',
  'left/Cargo.toml': packageManifest('left', uses('table', 'macros')),
  'left/src/lib.rs': 'pub const SUM: u8 = table::TABLE + macros::two!();\n',
  'right/Cargo.toml': packageManifest('right', uses('table')),
  'right/src/lib.rs': 'pub const SUM: u8 = table::TABLE + 3;\n',
  'app/Cargo.toml': packageManifest('app', uses('left', 'right')),
  'app/src/main.rs': 'fn main() { print!("{}", left::SUM + right::SUM); }\n',
  ...Object.fromEntries(['macros', 'table', 'left', 'right', 'app'].map((name) => [`${name}/padding.rs`, padding])),
}

/** Builds it on both nodes at the same moment, each time in a directory of its own. */
async function together(cluster: Cluster, nodes: readonly TestNode[], build: Build): Promise<[Settled, Settled]> {
  const place = [typeof build.files === 'string' ? build.files : 'own', ...build.args].join('-')
  const calls = await Promise.all(
    nodes.map(async (node, index) => {
      const name = `${place}/${index === 0 ? 'one' : 'deeper/two'}`
      const cwd = join(cluster.dir, name)
      if (typeof build.files === 'string') await cluster.checkout(build.files, name)
      else await writeFiles(cwd, build.files)
      const env: NodeJS.ProcessEnv = { ...(await node.cargoEnv()), ...build.env }
      for (const [name, value] of Object.entries(env)) if (value === undefined) delete env[name]
      return { node, program: 'cargo', args: [...build.args, '--offline'], cwd, env }
    }),
  )
  const [one, two] = await settledTogether(calls)
  assert.ok(one && two)
  for (const { ran } of [one, two]) assert.equal(ran.code, 0, ran.stderr)
  const [expected, actual] = await Promise.all(calls.map(({ cwd }) => artifacts(join(cwd, 'target'))))
  assert.ok(expected && expected.size > 0)
  assert.deepEqual(actual, expected)
  return [one, two]
}

/** Each cargo asks for a unit once, and for the same ones: as many are compiled as one of them asks for. */
function assertCompiledOnce(one: readonly UnitRow[], two: readonly UnitRow[]): void {
  assert.notEqual(one.length, 0)
  assert.deepEqual(countsOf(one), countsOf(two))
  const all = [...one, ...two]
  assert.deepEqual(all.filter(isNeither), [])
  // What knows where it lies is compiled wherever it lies.
  const bound = new Set(all.filter(({ reason }) => reason === 'path-bound').map(nameOf))
  const compiled = all.filter((unit) => !bound.has(nameOf(unit)) && isCompiled(unit))
  assert.deepEqual(countsOf(compiled), countsOf(one.filter((unit) => !bound.has(nameOf(unit)))))
}

const isCompiled = ({ outcome }: UnitRow): boolean => outcome.startsWith('compiled')
const isNeither = (unit: UnitRow): boolean => !isCompiled(unit) && !unit.outcome.startsWith('recalled')
const nameOf = ({ crate, kind, package: of }: UnitRow): string => `${of} ${crate} ${kind}`

/** Unit → how often; a crate that is built twice with other features counts twice. */
function countsOf(units: readonly UnitRow[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of units.map(nameOf).toSorted()) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

describe('two cargos that build one workspace at the same moment', () => {
  let cluster: Cluster
  let node: TestNode

  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
  })
  after(() => cluster.close())

  test('compile every unit exactly once', async () => {
    const [one, two] = await together(cluster, [node, node], { files: 'offline', args: ['build'] })
    assertCompiledOnce(one.units, two.units)
  })

  test('also where cargo wants it incremental, and its tests with it', async () => {
    const [one, two] = await together(cluster, [node, node], {
      files: 'offline',
      args: ['check', '--all-targets'],
      env: { CARGO_INCREMENTAL: undefined },
    })
    assertCompiledOnce(one.units, two.units)
  })

  test('also with all that examples/workspace needs from crates.io', async (t) => {
    if (!(await cratesIoReachable(workspace))) return t.skip('skipped: crates.io not reachable')
    const [one, two] = await together(cluster, [node, node], { files: 'workspace', args: ['build'] })
    assert.ok(one.units.length >= 100, `${one.units.length} units`)
    assertCompiledOnce(one.units, two.units)
  })
})

describe('two members of a mesh that build one workspace at the same moment', () => {
  let cluster: Cluster

  before(async () => {
    cluster = await Cluster.start(['ada', 'ben'])
  })
  after(() => cluster.close())

  test('compile every unit exactly once between them', async () => {
    const [one, two] = await together(cluster, cluster.nodes, { files: layered, args: ['build'] })
    assertCompiledOnce(one.units, two.units)
    assert.ok([...one.units, ...two.units].some(({ outcome }) => outcome === 'recalled-mesh'))
  })
})
