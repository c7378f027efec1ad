import assert from 'node:assert/strict'
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, type TestNode } from '../support/cluster.ts'
import { assertAllRecalled, Fixture, packageManifest, readSaid, writeFiles } from '../support/fixture.ts'

const odd = ['a: b.txt', 'back\\slash.txt', 'line\nbreak.txt', '#hash $dollar.txt']

const macro = `use proc_macro::TokenStream;

/// Rewrites a source of the package that is being compiled, once.
#[proc_macro]
pub fn meddle(_: TokenStream) -> TokenStream {
    let package = std::path::PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap());
    if std::fs::remove_file(package.join("../armed")).is_ok() {
        std::fs::write(package.join("meddled.txt"), "two").unwrap();
    }
    TokenStream::new()
}
`

const files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["odd", "meddled", "macros", "app"]\n',
  'macros/Cargo.toml': packageManifest('macros', '[lib]\nproc-macro = true\n'),
  'macros/src/lib.rs': macro,
  'meddled/Cargo.toml': packageManifest('meddled', '[dependencies]\nmacros = { path = "../macros" }\n'),
  'meddled/src/lib.rs': 'macros::meddle!();\npub const TEXT: &str = include_str!("../meddled.txt");\n',
  'meddled/meddled.txt': 'one',
  'odd/Cargo.toml': packageManifest('odd'),
  'odd/src/lib.rs': `pub const TEXTS: &[&str] = &[${odd.map((name) => `include_str!(${JSON.stringify(`../${name}`)})`).join(', ')}];\n`,
  ...Object.fromEntries(odd.map((name) => [`odd/${name}`, 'one'])),
  'app/Cargo.toml': packageManifest(
    'app',
    '[dependencies]\nodd = { path = "../odd" }\nmeddled = { path = "../meddled" }\n',
  ),
  'app/src/main.rs': 'fn main() {\n    println!("odd={}\\nmeddled={}", odd::TEXTS.join(" "), meddled::TEXT);\n}\n',
}

/** Calls `damage` on every file below a directory. */
async function damageFiles(dir: string, damage: (path: string, index: number) => Promise<void>): Promise<number> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  for (const [index, path] of paths.entries()) await damage(path, index)
  return paths.length
}

async function flipMiddle(path: string): Promise<void> {
  const bytes = await readFile(path)
  const middle = bytes.length >> 1
  if (bytes.length > 0) bytes.writeUInt8(bytes.readUInt8(middle) ^ 0x55, middle)
  await writeFile(path, bytes)
}

describe('what cannot be trusted is compiled again, and rightly', () => {
  let cluster: Cluster
  let node: TestNode
  let fixture: Fixture

  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
    const dir = join(cluster.dir, 'damaged')
    fixture = new Fixture(node, dir, { files, env: {}, args: ['build', '--offline'] }, async () =>
      readSaid((await capture(join(dir, 'target/debug/app'), [])).stdout),
    )
    await fixture.prepare()
  })
  after(() => cluster.close())

  const says = async (): Promise<Readonly<Record<string, string>>> => {
    const { ran } = await fixture.succeed(fixture.base)
    return await fixture.listen({}, ran)
  }
  const ones = odd.map(() => 'one').join(' ')

  test('names of files that make rules cannot hold', async () => {
    assert.equal(fixture.said.odd, ones)
    for (const name of odd) {
      await writeFiles(fixture.dir, { [`odd/${name}`]: 'two' })
      const expected = odd.map((other) => (other === name ? 'two' : 'one')).join(' ')
      assert.equal((await says()).odd, expected, name)
      await writeFiles(fixture.dir, { [`odd/${name}`]: 'one' })
      assert.equal((await says()).odd, ones, name)
    }
  })

  test('a package that changes while it is compiled', async () => {
    await writeFiles(fixture.dir, {
      armed: '',
      'meddled/src/lib.rs': `${files['meddled/src/lib.rs']}// Compiled by nobody.\n`,
    })
    assert.equal((await says()).meddled, 'two')
    await writeFiles(fixture.dir, { 'meddled/meddled.txt': 'one' })
    assert.equal((await says()).meddled, 'one')
    await writeFiles(fixture.dir, { 'meddled/src/lib.rs': files['meddled/src/lib.rs'] })
    assert.deepEqual(await says(), fixture.said)
  })

  for (const [what, part, damage] of [
    ['shortened blocks', 'blocks', (path: string) => truncate(path, 7)],
    ['edited blocks', 'blocks', flipMiddle],
    ['edited traces', 'index', flipMiddle],
    ['shortened traces', 'index', (path: string) => truncate(path, 100)],
  ] as const) {
    test(`${what} are misses, and are replaced`, async () => {
      await node.stop()
      assert.ok((await damageFiles(join(node.home, 'cache', part), damage)) > 0)
      await node.start()
      assert.deepEqual(await says(), fixture.said)
      const { ran, units } = await fixture.succeed(fixture.base)
      assert.deepEqual(await fixture.listen({}, ran), fixture.said)
      assertAllRecalled(units.filter(({ crate }) => crate !== 'odd'))
    })
  }
})
