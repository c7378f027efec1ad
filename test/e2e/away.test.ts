import assert from 'node:assert/strict'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { ask } from '../../src/cli/client.ts'
import { whileBusy, writeFiles } from '../support/busy.ts'
import { artifacts, Cluster, capture, lastReport, type TestNode, type UnitRow } from '../support/cluster.ts'
import { writeRemapWrapper } from '../support/plain.ts'
import { until } from '../support/until.ts'

const manifest = (name: string, rest = ''): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`
const libs = ['plain', 'owner', 'outsider', 'moody', 'climber', 'placed']
const usesMacros = '[dependencies]\nmacros = { path = "../macros" }\n'
const text =
  'fn text(words: String) -> TokenStream { format!("pub const WORDS: &str = {words:?};").parse().unwrap() }\n'

const files = {
  'Cargo.toml':
    '[workspace]\nresolver = "2"\nmembers = ["macros", "first", "plain", "owner", "outsider", "moody", "climber", "placed", "app"]\n',
  'macros/Cargo.toml': manifest('macros', '[lib]\nproc-macro = true\n'),
  'macros/src/lib.rs': `use proc_macro::TokenStream;
${text}
fn file(path: &str) -> String { std::fs::read_to_string(path).unwrap_or("none".into()).trim().into() }
#[proc_macro] pub fn own(_: TokenStream) -> TokenStream {
    let count = std::fs::read_dir("owner/data").unwrap().count();
    let hinted = std::env::var("OWNER_HINT").is_ok();
    text(format!("{} {count} {} {hinted}", file("owner/words.txt"), file("owner/hint.txt")))
}
#[proc_macro] pub fn outside(_: TokenStream) -> TokenStream { text(file("outside.txt")) }
#[proc_macro] pub fn mood(_: TokenStream) -> TokenStream { text(std::env::var("MOOD").unwrap_or("unset".into())) }
#[proc_macro] pub fn climb(_: TokenStream) -> TokenStream { text(file("../beside.txt")) }
#[proc_macro] pub fn place(_: TokenStream) -> TokenStream {
    text(std::env::var("CARGO_MANIFEST_DIR").unwrap().rsplit('/').next().unwrap().into())
}
`,
  // Whoever builds this has the macros built as the other libraries use them.
  'first/Cargo.toml': manifest('first', usesMacros),
  'first/src/lib.rs': '',
  'plain/Cargo.toml': manifest('plain'),
  'plain/src/lib.rs': 'pub const WORDS: &str = include_str!("words.txt");\n',
  'plain/src/words.txt': 'plain',
  'owner/Cargo.toml': manifest('owner', usesMacros),
  'owner/src/lib.rs': 'macros::own!();\n',
  'owner/words.txt': 'mine',
  'owner/data/one': '',
  'outsider/Cargo.toml': manifest('outsider', usesMacros),
  'outsider/src/lib.rs': 'macros::outside!();\n',
  'moody/Cargo.toml': manifest('moody', usesMacros),
  'moody/src/lib.rs': 'macros::mood!();\n',
  'climber/Cargo.toml': manifest('climber', usesMacros),
  'climber/src/lib.rs': 'macros::climb!();\n',
  'placed/Cargo.toml': manifest('placed', usesMacros),
  'placed/src/lib.rs': 'macros::place!();\n',
  'app/Cargo.toml': manifest(
    'app',
    `[dependencies]\n${libs.map((name) => `${name} = { path = "../${name}" }\n`).join('')}`,
  ),
  'app/src/main.rs':
    'fn main() { print!("{}", [plain::WORDS, owner::WORDS, outsider::WORDS, moody::WORDS, climber::WORDS, placed::WORDS].join(", ")); }\n',
}

interface StatusRow {
  units: { here: number; away: number; waiting: number }
}

describe('what a compile away looked at', () => {
  let cluster: Cluster
  let ada: TestNode
  let holds = 0

  before(async () => {
    cluster = await Cluster.start(['ada', 'ben'])
    ada = cluster.node('ada')
  })
  after(() => cluster.close())

  async function cargo(dir: string, extra: NodeJS.ProcessEnv, ...args: string[]): Promise<void> {
    const ran = await capture('cargo', ['build', '--offline', '-j4', ...args], {
      cwd: dir,
      env: { ...(await ada.cargoEnv()), ...extra },
    })
    assert.equal(ran.code, 0, ran.stderr)
  }

  /**
   * Builds the libraries while Ada has no slot for them, until nothing but her own slots can help.
   * @param stuck those that end up waiting for one
   * @param refused how many results of Ben's are refused, by him or by Ada
   */
  async function build(
    dir: string,
    { env = {}, stuck = [], refused = 0 }: { env?: NodeJS.ProcessEnv; stuck?: string[]; refused?: number } = {},
  ): Promise<Map<string, UnitRow>> {
    await cargo(dir, env, '-p', 'first')
    const whileStuck = async (release: () => Promise<void>): Promise<void> => {
      const before = ada.log.length
      let over = false
      const building = cargo(dir, env, ...libs.flatMap((name) => ['-p', name])).finally(() => {
        over = true
      })
      const arrived = async (): Promise<boolean> => {
        const names = await readdir(join(dir, 'target/debug/deps'))
        return libs.every((lib) => stuck.includes(lib) || names.some((name) => name.startsWith(`lib${lib}-`)))
      }
      const isDone = async (): Promise<boolean> => {
        const refusals = ada.log.slice(before).match(/result from away not used|unit came back/g)?.length ?? 0
        const { units } = (await ask(join(ada.home, 'run/shoal.sock'), 'status', {})) as StatusRow
        const waits = stuck.length > 0 && units.away === 0 && units.waiting === stuck.length
        return over || (waits && refusals >= refused && (await arrived()))
      }
      // Ben may seem to be slow on a busy machine, and may be lost sight of for some seconds, but not for half a minute.
      await until('built, or stuck', isDone, { ms: 25_000 })
      await release()
      await building
    }
    await whileBusy(ada, join(cluster.dir, `busy-${holds++}`), 2, whileStuck)
    const { units } = await lastReport(ada)
    return new Map(units.map((unit) => [unit.crate, unit]))
  }

  async function says(dir: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
    await cargo(dir, env)
    return (await capture(join(dir, 'target/debug/app'), [])).stdout
  }

  /** The same sources through plain cargo, elsewhere: the bytes that must come out. */
  async function assertPlain(dir: string, name: string, env: NodeJS.ProcessEnv): Promise<void> {
    const plainDir = join(cluster.dir, name, 'plain')
    await writeFiles(plainDir, { ...files, 'outside.txt': 'out there', '../beside.txt': 'even further' })
    const plainEnv = { ...process.env, RUSTC_WRAPPER: await writeRemapWrapper(cluster.dir), CARGO_INCREMENTAL: '0' }
    const ran = await capture('cargo', ['build', '--offline'], { cwd: plainDir, env: { ...plainEnv, ...env } })
    assert.equal(ran.code, 0, ran.stderr)
    const [expected, built] = [await artifacts(join(plainDir, 'target')), await artifacts(join(dir, 'target'))]
    for (const [file, bytes] of expected) assert.ok(built.get(file)?.equals(bytes), file)
  }

  /** Those whose macros look where no lender can see anything. */
  const stuck = ['outsider', 'moody', 'climber', 'placed']

  const outcomes = (units: Map<string, UnitRow>): [string, string, string, string][] =>
    libs.map((name) => {
      const unit = units.get(name)
      return [name, unit?.outcome ?? '', unit?.fallback ?? '', unit?.reason ?? '']
    })

  test('is held against what is here: what it missed is compiled here, what it was given is taken', async () => {
    const dir = join(cluster.dir, 'first/ws')
    const env = { MOOD: 'cheerful' }
    await writeFiles(dir, { ...files, 'outside.txt': 'out there', '../beside.txt': 'even further' })
    assert.deepEqual(outcomes(await build(dir, { env, stuck, refused: 4 })), [
      ['plain', 'compiled-mesh', '', ''],
      ['owner', 'compiled-mesh', '', ''],
      ['outsider', 'compiled-here', 'ERR_INPUT_MISSING', 'source-outside-package'],
      ['moody', 'compiled-here', 'ERR_INPUT_MISSING', 'source-outside-package'],
      ['climber', 'compiled-here', 'ERR_OUTPUT', 'unobserved'],
      ['placed', 'compiled-here', 'ERR_PATH_BOUND', 'path-bound'],
    ])
    assert.equal(await says(dir, env), 'plain, mine 1 none false, out there, cheerful, even further, placed')
    await assertPlain(dir, 'first', env)
  })

  test('keeps such a unit here when its sources change', async () => {
    const dir = join(cluster.dir, 'first/ws')
    const edited = Object.entries(files).filter(([path]) => path.endsWith('src/lib.rs') && !path.startsWith('macros'))
    await writeFiles(dir, Object.fromEntries(edited.map(([path, content]) => [path, `${content}// Edited.\n`])))
    await rm(join(dir, 'target'), { recursive: true })
    const env = { MOOD: 'cheerful' }
    const units = outcomes(await build(dir, { env, stuck }))
    assert.deepEqual(units.slice(0, 2), [
      ['plain', 'compiled-mesh', '', ''],
      ['owner', 'compiled-mesh', '', ''],
    ])
    for (const [name, outcome, fallback, reason] of units.slice(2)) {
      assert.deepEqual([name, outcome, fallback], [name, 'compiled-here', ''])
      const why = { climber: 'unobserved', placed: 'path-bound' }[name] ?? 'source-outside-package'
      assert.equal(reason, why, name)
    }
    assert.equal(await says(dir, env), 'plain, mine 1 none false, out there, cheerful, even further, placed')
  })

  test('is remembered with the result: what changes is compiled again, what changes back is recalled', async () => {
    const dir = join(cluster.dir, 'second/ws')
    await writeFiles(dir, { ...files, 'owner/words.txt': 'second' })
    const [owner, outsider, moody] = ['owner', 'outsider', 'moody'].map((name) => `${name}/src/lib.rs`)
    // Sources of their own, so that nothing of the first checkout can be recalled; the same actions as there.
    for (const path of [owner, outsider, moody]) {
      await writeFiles(dir, { [path ?? '']: `${files[path as keyof typeof files]}// Second.\n` })
    }
    const first = await build(dir, { stuck })
    assert.equal(first.get('owner')?.outcome, 'compiled-mesh')
    // What `-p` built lies beside what all of the workspace is built from, and rustc would look at it.
    await rm(join(dir, 'target'), { recursive: true })
    assert.equal(await says(dir), 'plain, second 1 none false, none, unset, none, placed')

    const changes: [Record<string, string>, NodeJS.ProcessEnv, string, string][] = [
      [{ 'owner/words.txt': 'third' }, {}, 'owner', 'plain, third 1 none false, none, unset, none, placed'],
      [{ 'owner/data/two': '' }, {}, 'owner', 'plain, third 2 none false, none, unset, none, placed'],
      [{ 'owner/hint.txt': 'hint' }, {}, 'owner', 'plain, third 2 hint false, none, unset, none, placed'],
      [{}, { OWNER_HINT: '' }, 'owner', 'plain, third 2 hint true, none, unset, none, placed'],
      [{ 'outside.txt': 'came' }, {}, 'outsider', 'plain, third 2 hint false, came, unset, none, placed'],
      [{}, { MOOD: 'set' }, 'moody', 'plain, third 2 hint false, came, set, none, placed'],
    ]
    for (const [change, env, crate, expected] of changes) {
      await writeFiles(dir, change)
      await rm(join(dir, 'target'), { recursive: true })
      assert.equal(await says(dir, env), expected)
      const unit = (await lastReport(ada)).units.find((each) => each.crate === crate)
      assert.match(unit?.outcome ?? '', /^compiled/, crate)
    }
    await writeFiles(dir, { 'owner/words.txt': 'second' })
    for (const path of ['owner/data/two', 'owner/hint.txt', 'outside.txt']) await rm(join(dir, path))
    await rm(join(dir, 'target'), { recursive: true })
    assert.equal(await says(dir), 'plain, second 1 none false, none, unset, none, placed')
    const recalled = new Map((await lastReport(ada)).units.map(({ crate, outcome }) => [crate, outcome]))
    for (const lib of libs) assert.equal(recalled.get(lib), 'recalled-here', lib)
  })

  test('is what the lender recalls by, in another directory', async () => {
    const ben = cluster.node('ben')
    const dir = join(cluster.dir, 'third/ws')
    const own = await ada.cargo(join(cluster.dir, 'second/ws'), 'build', '--offline')
    assert.equal(own.code, 0)
    await writeFiles(dir, {
      ...files,
      'owner/words.txt': 'second',
      'owner/src/lib.rs': 'macros::own!();\n// Second.\n',
    })
    await ada.stop()
    const ran = await ben.cargo(dir, 'build', '--offline', '-p', 'owner')
    await ada.start()
    assert.equal(ran.code, 0, ran.stderr)
    const unit = (await lastReport(ben)).units.find(({ crate }) => crate === 'owner')
    assert.equal(unit?.outcome, 'recalled-here')
  })
})
