import assert from 'node:assert/strict'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { whileBusy, writeFiles } from '../support/busy.ts'
import { Cluster, lastReport } from '../support/cluster.ts'
import { until } from '../support/until.ts'

const manifest = (name: string, rest = ''): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`
const usesMacros = '[dependencies]\nmacros = { path = "../macros" }\n'

const files = {
  'Cargo.toml':
    '[workspace]\nresolver = "2"\nmembers = ["macros", "first", "plain", "queries", "beside", "above", "misses"]\n',
  'macros/Cargo.toml': manifest('macros', '[lib]\nproc-macro = true\n'),
  'macros/src/lib.rs': `use proc_macro::TokenStream;
fn text(path: &str) -> TokenStream { format!("pub const TEXT: &str = {:?};", std::fs::read_to_string(path).unwrap()).parse().unwrap() }
#[proc_macro] pub fn nothing(_: TokenStream) -> TokenStream { TokenStream::new() }
#[proc_macro] pub fn query(_: TokenStream) -> TokenStream { text("queries/.sqlx/query-1.json") }
#[proc_macro] pub fn query_beside(_: TokenStream) -> TokenStream {
    let dir = std::path::PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join(".sqlx");
    let mut all: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    all.sort();
    format!("pub const TEXT: &str = {:?};", all.join(" ")).parse().unwrap()
}
#[proc_macro] pub fn query_above(_: TokenStream) -> TokenStream { text(".sqlx/query-3.json") }
#[proc_macro] pub fn words(_: TokenStream) -> TokenStream { text("misses/.words") }
`,
  'first/Cargo.toml': manifest('first', usesMacros),
  'first/src/lib.rs': '',
  'plain/Cargo.toml': manifest('plain', usesMacros),
  'plain/src/lib.rs': 'macros::nothing!();\n',
  'plain/.env': 'PORT=1\n',
  'plain/tls/server.key': 'a key\n',
  'queries/Cargo.toml': manifest('queries', usesMacros),
  'queries/src/lib.rs': 'macros::query!();\n',
  'queries/.sqlx/query-1.json': '{}',
  'beside/Cargo.toml': manifest('beside', usesMacros),
  'beside/src/lib.rs': 'macros::query_beside!();\n',
  'beside/.sqlx/query-1.json': '{}',
  'beside/.sqlx/query-2.json': '[]',
  // What `cargo sqlx prepare --workspace` makes.
  '.sqlx/query-3.json': '{"above":3}',
  'above/Cargo.toml': manifest('above', usesMacros),
  'above/src/lib.rs': 'macros::query_above!();\n',
  'misses/Cargo.toml': manifest('misses', usesMacros),
  'misses/src/lib.rs': 'macros::words!();\n',
  'misses/.words': 'hidden',
}

test('hidden files keep here only what cannot do without them, and that is tried once', async () => {
  const cluster = await Cluster.start(['ada', 'ben'])
  try {
    const ada = cluster.node('ada')
    const dir = join(cluster.dir, 'ws')
    await writeFiles(dir, files)
    const build = async (...packages: string[]) => {
      const ran = await ada.cargo(dir, 'build', '--offline', '-j4', ...packages.flatMap((name) => ['-p', name]))
      assert.equal(ran.code, 0, ran.stderr)
      const { units } = await lastReport(ada)
      return Object.fromEntries(units.map(({ crate, outcome, reason }) => [crate, `${outcome} ${reason}`.trim()]))
    }
    await build('first')
    const made = await whileBusy(ada, join(cluster.dir, 'busy'), 2, async (release) => {
      const building = build('plain', 'queries', 'beside', 'above', 'misses')
      await until('all are tried elsewhere', async () => {
        const there = await readdir(join(dir, 'target/debug/deps'))
        const isThere = ['plain', 'queries'].every((name) => there.some((file) => file.startsWith(`lib${name}-`)))
        return isThere && ada.log.includes('unit came back')
      })
      await release()
      return await building
    })
    // What a macro lists where the manifest lies is bound to its place; what lies above the package is not sent.
    const { beside = '', above, ...others } = made
    assert.match(beside, /^compiled-here( path-bound)?$/, ada.log)
    assert.equal(above, 'compiled-here', ada.log)
    assert.deepEqual(others, { plain: 'compiled-mesh', queries: 'compiled-mesh', misses: 'compiled-here' }, ada.log)
    await writeFile(join(dir, 'misses/src/lib.rs'), 'macros::words!();\n// edited\n')
    assert.deepEqual(await build('misses'), { misses: 'compiled-here withheld-files' })
  } finally {
    await cluster.close()
  }
})
