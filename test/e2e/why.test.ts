import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, type Ran, type TestNode, type UnitRow } from '../support/cluster.ts'
import { type Files, packageManifest, writeFiles } from '../support/fixture.ts'
import { settled } from '../support/settled.ts'
import { because, readWhy, type WhyBlock } from '../support/why.ts'

const files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["*-crate"]\n',
  'leaf-crate/Cargo.toml': packageManifest('leaf-crate', '[features]\ndeep = []\n'),
  'leaf-crate/src/lib.rs': `pub const DEPTH: u32 = if cfg!(feature = "deep") { 9 } else { 1 };
pub const COLOUR: Option<&str> = option_env!("WHY_COLOUR");
`,
  'spare-crate/Cargo.toml': packageManifest('spare-crate'),
  'spare-crate/src/lib.rs': 'pub const SPARE: u32 = 1;\n',
  'gen-crate/Cargo.toml': packageManifest('gen-crate', 'build = "build.rs"\n'),
  'gen-crate/build.rs': `fn main() {
    println!("cargo:rerun-if-changed=words.txt");
    println!("cargo:rerun-if-env-changed=WHY_FLAVOUR");
    println!("cargo:rustc-env=FLAVOUR={}", std::env::var("WHY_FLAVOUR").unwrap_or_default());
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR").unwrap());
    let words = std::fs::read_to_string("words.txt").unwrap();
    std::fs::write(out.join("same.rs"), "pub const SAME: u32 = 1;").unwrap();
    std::fs::write(out.join("words.rs"), format!("pub const WORDS: &str = {words:?};")).unwrap();
}
`,
  'gen-crate/words.txt': 'one',
  'gen-crate/src/lib.rs': `include!(concat!(env!("OUT_DIR"), "/words.rs"));
include!(concat!(env!("OUT_DIR"), "/same.rs"));
pub const FLAVOUR: &str = env!("FLAVOUR");
`,
  'macro-crate/Cargo.toml': packageManifest('macro-crate', '[lib]\nproc-macro = true\n'),
  'macro-crate/src/lib.rs': `#[proc_macro]
pub fn schema(_: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let path = std::path::PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../schema.txt");
    format!("{:?}", std::fs::read_to_string(path).unwrap()).parse().unwrap()
}
`,
  'schema.txt': 'columns',
  'reader-crate/Cargo.toml': packageManifest(
    'reader-crate',
    '[dependencies]\nmacro-crate = { path = "../macro-crate" }\n',
  ),
  'reader-crate/src/lib.rs': 'pub const SCHEMA: &str = macro_crate::schema!();\n',
  'mid-crate/Cargo.toml': packageManifest('mid-crate', '[dependencies]\nleaf-crate = { path = "../leaf-crate" }\n'),
  'mid-crate/src/lib.rs': 'pub const MID: u32 = leaf_crate::DEPTH + 1;\n',
  'top-crate/Cargo.toml': packageManifest('top-crate', '[dependencies]\nmid-crate = { path = "../mid-crate" }\n'),
  'top-crate/src/lib.rs': 'pub const TOP: u32 = mid_crate::MID + 1;\n',
} satisfies Files

const short = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 12)
const wasIs = (before: string, now: string): string => `was ${short(before)}, is ${short(now)}`

describe('why a unit was not recalled', () => {
  let cluster: Cluster
  let node: TestNode
  let dir: string

  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
    dir = join(cluster.dir, 'ws')
    await writeFiles(dir, files)
    await build()
  })
  after(() => cluster.close())

  /** From nothing, so that every unit is asked for. */
  async function build(env: NodeJS.ProcessEnv = {}): Promise<UnitRow[]> {
    await rm(join(dir, 'target'), { recursive: true, force: true })
    const options = { cwd: dir, env: { ...(await node.cargoEnv()), ...env } }
    const { ran, units } = await settled(node, 'cargo', ['build', '--offline'], options)
    assert.equal(ran.code, 0, ran.stderr)
    return units
  }

  async function blocks(crate: string): Promise<WhyBlock[]> {
    const ran: Ran = await node.shoal('why', crate)
    assert.equal(ran.code, 0, ran.stderr)
    return readWhy(ran.stdout)
  }

  /** The first cause of the first unit. */
  const first = async (crate: string): Promise<string | undefined> => because((await blocks(crate))[0])

  /** Builds with a change, asks, and puts everything back. */
  async function changed(
    change: Partial<Record<keyof typeof files, string>>,
    ask: () => Promise<void>,
    env?: NodeJS.ProcessEnv,
  ): Promise<void> {
    await writeFiles(dir, change)
    try {
      await build(env)
      await ask()
    } finally {
      await writeFiles(dir, files)
    }
  }

  test('it was never seen before', async () => {
    const [block] = await blocks('leaf-crate')
    assert.equal(block?.title, 'leaf_crate (lib): compiled here')
    assert.equal(because(block), 'nothing like it was compiled here before')
  })

  test('it was recalled', async () => {
    await build()
    assert.deepEqual(await blocks('leaf_crate'), [{ title: 'recalled: leaf_crate (lib)', entries: [] }])
  })

  test('a source file is another one: in the crate, and in whoever depends on it', async () => {
    const now = `${files['leaf-crate/src/lib.rs']}pub const MORE: u32 = 1;\n`
    await changed({ 'leaf-crate/src/lib.rs': now }, async () => {
      const cause = `file <workspace>/leaf-crate/src/lib.rs: ${wasIs(files['leaf-crate/src/lib.rs'], now)}`
      assert.deepEqual(await blocks('leaf-crate'), [
        { title: 'leaf_crate (lib): compiled here', entries: [['because', cause]] },
      ])
      const [top, ...others] = await blocks('top-crate')
      assert.deepEqual(others, [])
      const [root, so, then = ['so', 'in top_crate'], ...rest] = top?.entries ?? []
      assert.deepEqual(root, ['because', `in leaf_crate (lib) ${cause}`])
      // Whichever way leads to it: what top reaches is part of its action too.
      assert.equal(so?.[0], 'so')
      assert.match(so?.[1] ?? '', /^in (top|mid)_crate \(lib\) dependency leaf_crate: was \w{12}, is \w{12}$/)
      assert.match(then.join(' '), /^so in top_crate/)
      assert.deepEqual(rest, [])
      assert.deepEqual(await blocks('gen-crate'), [
        { title: 'recalled: gen_crate (lib), build_script_build (build-script)', entries: [] },
      ])
    })
  })

  test('a variable was not set, or had another value', async () => {
    await changed({}, async () => assert.equal(await first('leaf-crate'), 'variable WHY_COLOUR: was not set, is red'), {
      WHY_COLOUR: 'red',
    })
    await changed(
      {},
      async () => assert.equal(await first('top-crate'), 'in leaf_crate (lib) variable WHY_COLOUR: was red, is blue'),
      { WHY_COLOUR: 'blue' },
    )
  })

  test('a flag', async () => {
    await changed(
      {},
      async () => {
        assert.equal(await first('top-crate'), '-C opt-level: was absent, is 1')
        assert.equal(await first('leaf-crate'), '-C opt-level: was absent, is 1')
      },
      { CARGO_PROFILE_DEV_OPT_LEVEL: '1' },
    )
  })

  test('a feature', async () => {
    const manifest = files['mid-crate/Cargo.toml'].replace(' }', ', features = ["deep"] }')
    await changed({ 'mid-crate/Cargo.toml': manifest }, async () => {
      assert.equal(await first('leaf-crate'), 'feature deep: was off, is on')
      assert.equal(await first('mid-crate'), 'in leaf_crate (lib) feature deep: was off, is on')
    })
  })

  test('a dependency more', async () => {
    const manifest = `${files['mid-crate/Cargo.toml']}spare-crate = { path = "../spare-crate" }\n`
    const source = `${files['mid-crate/src/lib.rs']}pub use spare_crate::SPARE;\n`
    await changed({ 'mid-crate/Cargo.toml': manifest, 'mid-crate/src/lib.rs': source }, async () => {
      const text = await first('mid-crate')
      assert.match(text ?? '', /^dependency spare_crate: was absent, is \w{12}$/)
      const top = await first('top-crate')
      assert.match(top ?? '', /^in mid_crate \(lib\) dependency spare_crate: was absent, is/)
    })
  })

  test('what a build script wrote, and what it set', async () => {
    await changed({ 'gen-crate/words.txt': 'two' }, async () => {
      const text = (words: string): string => `pub const WORDS: &str = "${words}";`
      const generated = `generated <build>/words.rs: ${wasIs(text('one'), text('two'))}`
      assert.deepEqual(await first('gen-crate'), `${generated}`)
    })
    await changed({}, async () => assert.equal(await first('gen-crate'), 'variable FLAVOUR: was "", is sweet'), {
      WHY_FLAVOUR: 'sweet',
    })
  })

  test('a build script that itself was changed', async () => {
    const now = files['gen-crate/build.rs'].replace('SAME: u32 = 1', 'SAME: u32 = 2')
    await changed({ 'gen-crate/build.rs': now }, async () => {
      const [root, so] = (await blocks('gen-crate'))[0]?.entries ?? []
      const cause = `file <workspace>/gen-crate/build.rs: ${wasIs(files['gen-crate/build.rs'], now)}`
      assert.deepEqual(root, ['because', `in build_script_build (build-script) ${cause}`])
      const text = (n: number): string => `pub const SAME: u32 = ${n};`
      assert.deepEqual(so, ['so', `in gen_crate (lib) generated <build>/same.rs: ${wasIs(text(1), text(2))}`])
    })
  })

  test('a file that only a procedural macro reads', async () => {
    await changed({ 'schema.txt': 'columns and rows' }, async () => {
      const text = await first('reader-crate')
      assert.match(text ?? '', /^file <workspace>\/.*schema\.txt: was \w+, is \w+$/)
      assert.ok(text?.endsWith(wasIs('columns', 'columns and rows')), text)
    })
  })

  test('the same in JSON, and in the report', async () => {
    const now = `${files['spare-crate/src/lib.rs']}pub const JSON: u32 = 1;\n`
    await changed({ 'spare-crate/src/lib.rs': now }, async () => {
      const cause = {
        what: 'file',
        name: '<workspace>/spare-crate/src/lib.rs',
        recorded: short(files['spare-crate/src/lib.rs']),
        here: short(now),
      }
      const why = await node.json<{ schema: number; session: string; units: { because: { cause: object }[][] }[] }>(
        'why',
        'spare-crate',
      )
      assert.equal(why.schema, 1)
      assert.deepEqual(why.units[0]?.because[0]?.[0]?.cause, cause)
      const report = await node.json<{ session: string; units: { crate: string; causes?: object[] }[] }>('report')
      assert.deepEqual(report.units.find(({ crate }) => crate === 'spare_crate')?.causes, [cause])
      await build()
      const again = await node.json<typeof why>('why', 'spare-crate', '--session', report.session)
      assert.deepEqual(again, why)
    })
  })

  test('a crate that the build has not, and a build that is not remembered', async () => {
    const near = await node.shoal('why', 'leafcrate')
    assert.equal(near.code, 2)
    assert.match(near.stderr, /nothing called leafcrate\n {2}hint: Did you mean leaf_crate/)
    const far = await node.shoal('why', 'tokio')
    assert.equal(far.code, 2)
    assert.match(far.stderr, /nothing called tokio\n {2}hint: cargo asks for nothing that is fresh/)
    const gone = await node.shoal('why', 'leaf-crate', '--session', 'nonsense')
    assert.equal(gone.code, 2)
    assert.match(gone.stderr, /no such build is remembered/)
  })

  test('what cannot be read of earlier builds costs the explanation, nothing else', async () => {
    await node.stop()
    await rm(join(node.home, 'cache/index'), { recursive: true })
    await node.start()
    const [unit] = (await build()).filter(({ crate }) => crate === 'leaf_crate')
    assert.equal(unit?.outcome, 'compiled-here')
    assert.equal(await first('leaf-crate'), 'nothing like it was compiled here before')
  })
})

test('why before anything was built', async () => {
  const cluster = await Cluster.start(['ada'])
  try {
    const ran = await cluster.node('ada').shoal('why', 'anything')
    assert.equal(ran.code, 2)
    assert.match(ran.stderr, /^error\[ERR_USAGE\]: no build is remembered yet\n {2}hint: Build something/)
  } finally {
    await cluster.close()
  }
})
