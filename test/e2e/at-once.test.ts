import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { assertCompiledOnce, together } from '../support/at-once.ts'
import { Cluster, type TestNode } from '../support/cluster.ts'
import { type Files, packageManifest } from '../support/fixture.ts'

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
