import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { Executor } from '../../src/execute/executor.ts'
import type { GuestLimits } from '../../src/execute/limits.ts'
import type { Observed } from '../../src/execute/observed.ts'
import type { EarlyMetadata, Outcome } from '../../src/execute/runner.ts'
import { encodeResult } from '../../src/plan/action.ts'
import { nameRoots } from '../../src/plan/roots.ts'
import { keptObserver } from '../support/programs.ts'
import { Lender, type Prepared } from './support.ts'

const lender = new Lender()
await lender.start()
const observer = (await keptObserver('rustc', join(lender.dir, 'bin')))?.path
let executors = 0

async function executor(library: string | undefined): Promise<Executor> {
  const needs = { blocks: lender.store, clock: systemClock, log: silentLogger, env: process.env }
  const init = { workDir: join(lender.dir, `watched-${executors++}`), processors: 2 }
  const made = new Executor(needs, { ...init, ...(library === undefined ? {} : { observer: library }) })
  await made.start()
  return made
}
const watching = await executor(observer)
after(async () => {
  await watching.idle()
  await lender.stop()
})
const noSandbox = watching.tier === 'none' ? `no sandbox here: ${watching.reason}` : false
const skip = noSandbox || (observer === undefined ? 'no observer for this system' : false)

interface Ran {
  outcome: Outcome & { kind: 'ok' }
  early: EarlyMetadata | undefined
}

async function run(prepared: Prepared, by = watching, limits: Partial<GuestLimits> = {}): Promise<Ran> {
  let early: EarlyMetadata | undefined
  const outcome = await by.run({
    action: prepared.action,
    inputs: prepared.inputs,
    toolchain: lender.toolchain,
    signal: new AbortController().signal,
    limits,
    onRmeta: (rmeta) => {
      early = rmeta
    },
  })
  assert.ok(outcome.kind === 'ok', outcome.kind === 'failed' ? outcome.stderr : '')
  return { outcome, early }
}

/** What was seen as `kind errno path`, roots by name. */
function seen(observed: Observed | undefined): Set<string> {
  assert.ok(observed !== undefined, 'not all of it was observed')
  const text = observed.events.map(
    ({ kind, errno, macro, path }) => `${kind} ${errno}${macro ? ' macro' : ''} ${nameRoots(path, observed.roots)}`,
  )
  return new Set(text)
}

const plain = {
  'src/lib.rs':
    'pub mod inner;\npub const NOTE: &str = include_str!("note.txt");\npub const SET: bool = option_env!("MOOD").is_some();',
  'src/inner.rs': 'pub fn f() {}',
  'src/note.txt': 'a note\n',
}

describe('a compile in the sandbox, observed', { skip }, () => {
  test('shows what it read, what it looked for in vain, and which variables it asked for', async () => {
    const { outcome, early } = await run(await lender.prepare({ crate: 'plain', files: plain }))
    for (const observed of [early?.observed, outcome.observed]) {
      const events = seen(observed)
      for (const event of [
        'open 0 \0workspace\0/src/lib.rs',
        'open 0 \0workspace\0/src/inner.rs',
        'stat 2 \0workspace\0/src/inner/mod.rs',
        'open 0 \0workspace\0/src/note.txt',
        'env 2 MOOD',
      ]) {
        assert.ok(events.has(event), event)
      }
      assert.ok(!events.has('open 0 \0workspace\0/src/other.rs'))
    }
  })

  test('gives the very result that it gives unobserved', async () => {
    const prepared = await lender.prepare({ crate: 'plain', files: plain })
    const results = await Promise.all(
      [watching, lender.executor].map(async (by) => {
        const { outcome } = await run(prepared, by)
        return encodeResult({ ...outcome.result, wallMs: 0 }).cid.toString()
      }),
    )
    assert.equal(results[0], results[1])
    assert.equal((await run(prepared, lender.executor)).outcome.observed, undefined)
  })

  test('shows what a macro does, also through directories that it holds open', async () => {
    const deps = lender.procMacro(
      'curious',
      `use proc_macro::TokenStream;
extern "C" { fn gethostname(into: *mut u8, size: usize) -> i32; }
#[proc_macro] pub fn look(_: TokenStream) -> TokenStream {
    let _ = std::time::SystemTime::now();
    unsafe { gethostname([0u8; 256].as_mut_ptr(), 256) };
    let dir = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let _ = std::env::var("HOME");
    let _ = std::fs::read_to_string("/etc/passwd");
    let _ = std::fs::read_to_string(format!("{dir}/../outside.txt"));
    let _ = std::fs::read_to_string("relative.txt");
    let _ = std::fs::read_dir(format!("{dir}/src")).map(|entries| entries.count());
    let _ = std::fs::write(format!("{dir}/written"), "x");
    std::fs::create_dir_all("/tmp/a/b").unwrap();
    std::fs::write("/tmp/a/b/c", "x").unwrap();
    std::fs::remove_dir_all("/tmp/a").unwrap();
    std::thread::spawn(|| std::fs::read("/from/a/thread").err()).join().unwrap();
    TokenStream::new()
}`,
    )
    const files = { 'src/lib.rs': 'curious::look!();' }
    const { outcome } = await run(await lender.prepare({ crate: 'looks', files, deps }))
    const events = seen(outcome.observed)
    const marker = outcome.observed?.marker ?? ''
    for (const event of [
      'env 0 macro CARGO_MANIFEST_DIR',
      'env 2 macro HOME',
      'clock 0 clock_gettime',
      'env 0 macro gethostname()',
      'open 2 /etc/passwd',
      'open 2 \0workspace\0/../outside.txt',
      'open 2 \0workspace\0/relative.txt',
      'list 0 \0workspace\0/src',
      'write 30 \0workspace\0/written',
      'write 0 /tmp/a/b/c',
      'list 0 /tmp/a/b',
      'open 2 /from/a/thread',
      'load 0 \0deps\0/libcurious-feedfeedfeedfeed.so',
    ]) {
      assert.ok(events.has(event), `${event} is not among ${[...events].filter((each) => !each.includes('toolchain'))}`)
    }
    assert.match(marker, /^\/shoal-\d{32}$/)
  })

  test('is not observed when the guest spoils its notes, and its result is none the worse', async () => {
    for (const [name, spoil] of [
      ['overwrites', 'std::fs::write(&notes, vec![255u8; 1 << 20]).unwrap();'],
      ['empties', 'std::fs::write(&notes, "").unwrap();'],
      ['removes', 'std::fs::remove_file(&notes).unwrap();'],
      ['hides', 'std::fs::remove_file(&notes).unwrap(); std::fs::create_dir(&notes).unwrap();'],
      ['enlarges', 'std::fs::File::options().write(true).open(&notes).unwrap().set_len(1 << 30).unwrap();'],
    ] as const) {
      // Only what shrinks the file under the mapping could end the compiler itself, which is as well.
      const deps = lender.procMacro(
        name,
        `use proc_macro::TokenStream;
#[proc_macro] pub fn spoil(_: TokenStream) -> TokenStream {
    let notes = std::env::var("SHOAL_OBSERVE").unwrap();
    ${spoil}
    "pub fn spoilt() {}".parse().unwrap()
}`,
      )
      const prepared = await lender.prepare({
        crate: `by_${name}`,
        files: { 'src/lib.rs': `${name}::spoil!();` },
        deps,
      })
      if (name === 'overwrites' || name === 'empties') {
        const outcome = await watching
          .run({ ...prepared, toolchain: lender.toolchain, signal: new AbortController().signal, onRmeta: () => {} })
          .catch((error: unknown) => error)
        assert.ok(!(typeof outcome === 'object' && outcome !== null && 'observed' in outcome && outcome.observed), name)
        continue
      }
      assert.equal((await run(prepared)).outcome.observed, undefined, name)
    }
  })

  test('is charged for the room that its notes take, not for their length', async () => {
    const files = { 'src/lib.rs': 'pub fn f() {}' }
    const { outcome } = await run(await lender.prepare({ crate: 'small', files }), watching, { outBytes: 2 << 20 })
    assert.ok(seen(outcome.observed).size > 10)
    assert.deepEqual(
      outcome.result.outputs.map(({ name }) => name),
      ['libsmall-0123456789abcdef.rmeta', 'libsmall-0123456789abcdef.rlib'],
    )
  })

  test('that has its notes full of made-up looks is not believed, and costs the node no more than others', async () => {
    const flood = `
      use std::os::unix::fs::FileExt;
      #[proc_macro] pub fn flood(count: proc_macro::TokenStream) -> proc_macro::TokenStream {
          let notes = std::fs::OpenOptions::new().read(true).write(true).open(std::env::var("SHOAL_OBSERVE").unwrap()).unwrap();
          let mut word = [0u8; 8];
          notes.read_exact_at(&mut word, 8).unwrap();
          let used = u64::from_le_bytes(word);
          let mut all: Vec<u8> = vec![];
          for n in 0..count.to_string().parse::<u32>().unwrap() {
              for part in [&24u32.to_le_bytes()[..], &[12, 0, 2, 0, 2, 0, 0, 0], format!("/made{n:07}").as_bytes()] { all.extend(part) }
          }
          notes.write_all_at(&all, 65600 + used).unwrap();
          notes.write_all_at(&(used + all.len() as u64).to_le_bytes(), 8).unwrap();
          proc_macro::TokenStream::new()
      }`
    const deps = lender.procMacro('floods', `extern crate proc_macro; ${flood}`)
    const flooded = async (count: number): Promise<Ran> => {
      const files = { 'src/lib.rs': `floods::flood!(${count}); pub fn f() {}` }
      return await run(await lender.prepare({ crate: `flooded${count}`, files, deps }))
    }
    assert.ok(seen((await flooded(100)).outcome.observed).has('stat 2 /made0000099'))
    const { outcome, early } = await flooded(200_000)
    assert.deepEqual([outcome.observed, early?.observed], [undefined, undefined])
  })

  test('goes on unobserved when the library is not there', async () => {
    const blind = await executor(join(lender.dir, 'nowhere/libshoal-observer.so'))
    const { outcome } = await run(await lender.prepare({ crate: 'blind', files: plain }), blind)
    assert.equal(outcome.observed, undefined)
    await blind.idle()
  })
})
