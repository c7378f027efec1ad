import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { gather } from '../../src/daemon/lend.ts'
import { lentReads } from '../../src/daemon/lent-reads.ts'
import { rerun } from '../../src/daemon/rerun.ts'
import { type Rerun, tryCase } from '../../src/daemon/verdict.ts'
import { Executor } from '../../src/execute/executor.ts'
import { encodeAction, encodeInputs } from '../../src/plan/action.ts'
import { KnownTrees } from '../../src/plan/known-trees.ts'
import { namesIn } from '../../src/recall/read-set.ts'
import { saidIn } from '../../src/recall/said.ts'
import { buildObserver } from '../../src/shim/build.ts'
import { dagCborCodec } from '../../src/wire/cid.ts'
import { Lender, type Prepared, type Unit } from '../execute/support.ts'
import { Court } from '../recall/words.ts'

const lender = new Lender()
await lender.start()
const observer = (await buildObserver({ rustc: 'rustc', outDir: join(lender.dir, 'bin') }))?.path
const needs = { blocks: lender.store, clock: systemClock, log: silentLogger, env: process.env }
const executor = new Executor(needs, {
  ...{ workDir: join(lender.dir, 'watched'), processors: 2 },
  ...(observer !== undefined && { observer }),
})
await executor.start()
after(async () => {
  await executor.idle()
  await executor.stop()
  await lender.stop()
})
const skip = executor.tier === 'none' ? executor.reason : observer === undefined ? 'no observer for this system' : false

const covered = new Set(
  lender.toolchain.files.flatMap(({ path }) => {
    const parts = path.split('/')
    return parts.map((_, at) => parts.slice(0, at + 1).join('/'))
  }),
)
const running: Parameters<typeof rerun>[2] = {
  log: silentLogger,
  trees: new KnownTrees(),
  bytes: (cid) => lender.bytes(cid),
  ensure: async () => 0,
  run: (action, inputs, { signal }) =>
    executor.run({ action, inputs, toolchain: lender.toolchain, signal, onRmeta: () => undefined }),
  covered: () => covered,
  usesEnviron: async () => false,
  math: 'of the lender',
}
const { signal } = new AbortController()
const court = new Court()

/** What a lender that does its work well says of a unit, held against what comes out when it is run again. */
async function judged(
  prepared: Prepared,
  usesMacros: boolean,
  says: (stderr: string) => string = (stderr) => stderr,
): Promise<string> {
  const { action } = prepared
  const inputs = encodeInputs(prepared.inputs).cid
  await lender.store.put(encodeInputs(prepared.inputs).bytes, dagCborCodec)
  const laid = await gather(inputs, [], signal, running)
  const outcome = await running.run(action, laid.inputs, { signal, onRmeta: () => undefined })
  assert.ok(outcome.kind === 'ok' && outcome.observed, outcome.kind === 'failed' ? outcome.stderr : 'not observed')
  const { result, observed } = outcome
  const { depInfo } = result
  const reads = await lentReads(
    { action, ...laid, observed, depInfo },
    { covered, usesEnviron: running.usesEnviron, math: running.math },
  )
  assert.ok(typeof reads !== 'string', String(reads))
  const told = namesIn(depInfo, { action })
  const said = saidIn(Buffer.from(says(Buffer.from(result.stderr).toString())))
  const again = (): Promise<Rerun | undefined> => rerun({ action: encodeAction(action).bytes, inputs }, signal, running)
  const kinds = ['confined', 'host'] as const
  const verdicts = kinds.map((tier) => {
    const claims = [{ claim: court.claim(court.mesh.ann, result, reads, { tier }), reads, told, said }]
    return tryCase({ claims, own: undefined, usesMacros }, again)
  })
  return (await Promise.all(verdicts)).map(({ kind }) => kind).join()
}

describe('an honest lender is found right', { skip }, () => {
  const units: Record<string, Omit<Unit, 'crate'>> = {
    modules: {
      files: {
        'src/lib.rs': 'pub mod a; pub mod b { pub mod c; } #[path = "../else/where.rs"] pub mod d; include!("./e.rs");',
        ...{ 'src/a/mod.rs': 'mod f;', 'src/a/f.rs': '', 'src/b/c.rs': '', 'else/where.rs': '', 'src/e.rs': '' },
      },
    },
    texts: {
      files: {
        'src/lib.rs': '#![doc = include_str!("../README.md")] pub const B: &[u8] = include_bytes!("a/../data.bin");',
        ...{ 'README.md': 'read', 'src/data.bin': 'data', 'src/a/x': '' },
      },
    },
    variables: {
      files: {
        'src/lib.rs': 'pub const A: Option<&str> = option_env!("VERSION"); pub const B: &str = env!("GIT_REV");',
      },
      env: [['GIT_REV', 'abc']],
    },
    warnings: {
      files: {
        'src/lib.rs': `mod more; pub fn f() { let unused = (1); ${"let a = 'a';".repeat(20)} }\nfn dead() { vec![1,].len(); }\n`,
        'src/more.rs': '#[deprecated(note = "no longer")] pub fn old() {}\npub fn g() { old() }\n',
      },
    },
    generated: {
      files: { 'src/lib.rs': 'include!(concat!(env!("OUT_DIR"), "/made.rs"));' },
      build: { 'made.rs': 'pub fn f() { let unused = option_env!("OTHER"); }' },
    },
  }
  for (const [crate, unit] of Object.entries(units)) {
    test(`whose unit is made of ${crate}`, async () => {
      assert.equal(await judged(await lender.prepare({ crate, ...unit }), false), 'agreed,agreed')
    })
  }

  test('who has rustc say what it says, and not who has it say more', async () => {
    const { warnings = { files: {} } } = units
    const says = async (change: (stderr: string) => string): Promise<string> =>
      await judged(await lender.prepare({ crate: 'warnings', ...warnings }), false, change)
    const more = `${JSON.stringify({ level: 'warning', message: 'm', spans: [], children: [], rendered: 'run this\n' })}\n`
    assert.equal(await says((stderr) => stderr.split('\n').toReversed().join('\n')), 'agreed,agreed')
    assert.equal(await says((stderr) => stderr + more), 'disagreed,disagreed')
    assert.equal(await says(() => ''), 'disagreed,disagreed')
  })

  test('whose unit has a macro that reads, lists and asks', async () => {
    const deps = lender.procMacro(
      'looks',
      `extern crate proc_macro;
      #[proc_macro] pub fn look(_: proc_macro::TokenStream) -> proc_macro::TokenStream {
          let text = std::fs::read_to_string("src/../schema.sql").unwrap();
          let count = std::fs::read_dir("migrations").unwrap().count();
          let asked = std::env::var("ASKED").is_ok() || std::fs::metadata("absent.toml").is_ok();
          format!("pub const LOOKED: &str = {:?};", format!("{text} {count} {asked}")).parse().unwrap()
      }`,
    )
    const files = { 'src/lib.rs': 'looks::look!();', 'schema.sql': 'select 1', 'migrations/1.sql': '' }
    assert.equal(await judged(await lender.prepare({ crate: 'macros', files, deps }), true), 'agreed,agreed')
  })
})
