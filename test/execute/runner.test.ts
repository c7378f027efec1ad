import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { after, describe, test } from 'node:test'
import type { EarlyMetadata } from '../../src/execute/runner.ts'
import { decodeResult, encodeResult } from '../../src/plan/action.ts'
import { placeRoots } from '../../src/plan/roots.ts'
import { emptyWork } from './hostile-support.ts'
import { type Files, Lender, okResult, type Prepared } from './support.ts'

const lender = new Lender()
await lender.start()
after(() => lender.stop())
const skip = lender.executor.tier === 'none' ? `no sandbox here: ${lender.executor.reason}` : false

/** Both compiles of a unit, which must agree to the byte. */
async function sameBytes(prepared: Prepared): Promise<Map<string, Uint8Array>> {
  const here = lender.here(prepared)
  assert.equal(here.status, 0, here.stderr)
  const result = okResult(await lender.run(prepared))
  const away = new Map<string, Uint8Array>()
  for (const output of result.outputs) {
    const bytes = await lender.bytes(output.cid)
    const expected = here.outputs.get(output.name)
    assert.ok(expected !== undefined && Buffer.compare(bytes, expected) === 0, `${output.name}: other bytes than here`)
    away.set(output.name, bytes)
  }
  assert.deepEqual(
    result.outputs.map(({ kind }) => kind),
    prepared.action.outputs.map(([, kind]) => kind).filter((kind) => kind !== 'dep-info'),
  )
  assert.deepEqual(
    result.outputs.map(({ executable }) => executable),
    result.outputs.map(() => false),
  )
  assert.equal(decodeResult(encodeResult(result).bytes).depInfo, result.depInfo)
  return away
}

const metadataOf = (outputs: Map<string, Uint8Array>): Files =>
  Object.fromEntries([...outputs].filter(([name]) => name.endsWith('.rmeta')))

const base = `
pub mod inner;
#[derive(Debug, Clone)] pub struct Point { pub x: i32, pub y: i32 }
#[inline] pub fn location() -> &'static str { file!() }
pub fn checked(values: &[u32], at: usize) -> u32 { values[at] }
`
const inner = 'pub fn twice<T: Clone>(it: &T) -> (T, T) { (it.clone(), it.clone()) }\n'

describe('an action in the sandbox', { skip }, () => {
  test('gives the bytes that rustc gives here, also to a library on top of it', async () => {
    const lower = await lender.prepare({ crate: 'lower', files: { 'src/lib.rs': base, 'src/inner.rs': inner } })
    const metadata = metadataOf(await sameBytes(lower))
    const upper = await lender.prepare({
      crate: 'upper',
      files: {
        'src/lib.rs':
          'pub fn far() -> (lower::Point, lower::Point) { lower::inner::twice(&lower::Point { x: 1, y: 2 }) }',
      },
      deps: metadata,
    })
    await sameBytes(upper)
  })

  test('reads OUT_DIR, included files and the environment as here', async () => {
    const prepared = await lender.prepare({
      crate: 'generated',
      files: {
        'src/lib.rs':
          'include!(concat!(env!("OUT_DIR"), "/gen.rs"));\npub const NOTE: &str = include_str!("note.txt");\npub const NAME: &str = env!("CARGO_PKG_NAME");\npub const REV: &str = env!("GIT_REV");',
        'src/note.txt': 'a note\n',
      },
      build: { 'gen.rs': 'pub fn made() -> u32 { line!() }\n', 'deep/er/data.bin': 'x' },
      env: [['GIT_REV', 'abc123']],
    })
    await sameBytes(prepared)
    const result = okResult(await lender.run(prepared))
    assert.match(result.depInfo, /^\0out\0\/generated-0123456789abcdef\.d: /)
    assert.ok(result.depInfo.includes(' \0build\0/gen.rs'))
    assert.ok(result.depInfo.includes('# env-dep:OUT_DIR=\0build\0\n'))
    assert.equal(placeRoots(result.depInfo, [{ name: 'out', path: '/o' }]).startsWith('/o/generated-'), true)
  })

  test('has a place for every root that a variable may name', async () => {
    for (const root of ['target', 'nowhere']) {
      const unit = (source: string) =>
        lender.prepare({ crate: 'places', files: { 'src/lib.rs': source }, env: [['DIR', `\0${root}\0/debug`]] })
      assert.equal(okResult(await lender.run(await unit('pub fn f() {}'))).outputs.length, 2)
      await assert.rejects(lender.run(await unit('pub const DIR: &str = env!("DIR");')), { code: 'ERR_PATH_BOUND' })
    }
  })

  test('loads a proc-macro', async () => {
    const macro = lender.procMacro(
      'make',
      'use proc_macro::TokenStream;\n#[proc_macro] pub fn seven(_: TokenStream) -> TokenStream { "pub fn seven() -> u32 { 7 }".parse().unwrap() }\n#[proc_macro_derive(Named)] pub fn named(item: TokenStream) -> TokenStream { let n = item.to_string().len(); format!("pub const LEN: usize = {n};").parse().unwrap() }',
    )
    const files = { 'src/lib.rs': 'make::seven!();\n#[derive(make::Named)] pub struct Thing { pub a: u8 }' }
    await sameBytes(await lender.prepare({ crate: 'uses', files, deps: macro }))
  })

  test('checks only, without a library', async () => {
    const files = { 'src/lib.rs': base, 'src/inner.rs': inner }
    const outputs = await sameBytes(await lender.prepare({ crate: 'checked', files, emit: 'dep-info,metadata' }))
    assert.deepEqual([...outputs.keys()], ['libchecked-0123456789abcdef.rmeta'])
  })

  test('returns warnings as here, without notifications of outputs', async () => {
    const files = { 'src/lib.rs': 'pub fn f() { let unused = 1; }\npub fn g() { std::mem::drop(&3); }\n' }
    const prepared = await lender.prepare({ crate: 'warns', files })
    const here = lender.here(prepared)
    const diagnostics = here.stderr.split('\n').filter((line) => !line.includes('"$message_type":"artifact"'))
    const result = okResult(await lender.run(prepared))
    assert.equal(Buffer.from(result.stderr).toString(), diagnostics.join('\n'))
    assert.match(diagnostics[0] ?? '', /unused variable/)
  })

  test('refuses what says where it lies, in whatever form', async () => {
    const macro = lender.procMacro(
      'says',
      'use proc_macro::TokenStream;\n#[proc_macro] pub fn say(text: TokenStream) -> TokenStream { let dir = std::env::var("DIR").unwrap(); let text = text.to_string(); let text = text.trim_matches(\'"\').replace("\\\\\\"", "\\"").replace("DIR", &dir); eprintln!("{text}"); "pub fn f() {}".parse().unwrap() }',
    )
    const says = (text: string) =>
      lender.prepare({
        crate: 'said',
        files: { 'src/lib.rs': `says::say!(${JSON.stringify(text)});` },
        deps: macro,
        env: [['DIR', '\0workspace\0']],
      })
    for (const text of ['it lies in DIR', '{"message":"it lies in DIR"}', '{"rendered":" --> DIR/src/lib.rs:1:1"}']) {
      await assert.rejects(lender.run(await says(text)), { code: 'ERR_PATH_BOUND' }, text)
    }
    const named = '{"spans":[{"file_name":"DIR/src/lib.rs"}],"rendered":" --> DIR/src/lib.rs:1:1"}'
    const result = okResult(await lender.run(await says(named)))
    assert.equal(Buffer.from(result.stderr).toString(), `${named.replaceAll('DIR', '\0workspace\0')}\n`)
  })

  test('announces the metadata while rustc still runs, and does not take it back', async () => {
    const events: string[] = []
    // Enough code for the library to come long after the metadata.
    const body = Array.from(
      { length: 400 },
      (_, i) => `pub fn f${i}(v: &[u64]) -> String { format!("{:?}{}", v, v.len() + ${i}) }`,
    )
    const prepared = await lender.prepare({
      crate: 'early',
      files: { 'src/lib.rs': body.join('\n') },
      argv: ['-C', 'opt-level=3'],
    })
    const stop = new AbortController()
    let announced: EarlyMetadata | undefined
    const cut = lender.run(prepared, {
      signal: stop.signal,
      onRmeta: (rmeta) => {
        announced = rmeta
        events.push('rmeta')
        stop.abort(new Error('enough'))
      },
    })
    await assert.rejects(cut, /enough/)
    events.push('end')
    // It was still running: the abort that the announcement caused ended it.
    assert.deepEqual(events, ['rmeta', 'end'])
    const result = okResult(await lender.run(prepared))
    const metadata = result.outputs.find(({ kind }) => kind === 'metadata')
    assert.equal(announced?.name, metadata?.name)
    assert.equal(announced?.cid.toString(), metadata?.cid.toString())
    assert.equal(announced?.size, metadata?.size)
    assert.equal(announced?.depInfo, result.depInfo)
    assert.match(result.depInfo, /src\/lib\.rs/)
  })

  test('reports that rustc failed, with its words', async () => {
    const outcome = await lender.run(
      await lender.prepare({ crate: 'wrong', files: { 'src/lib.rs': 'pub fn f() -> u32 { "text" }' } }),
    )
    assert.ok(outcome.kind === 'failed')
    assert.equal(outcome.status, 1)
    assert.match(outcome.stderr, /mismatched types/)
  })

  test('leaves nothing in its work directory', async () => {
    await lender.executor.idle()
    assert.deepEqual(readdirSync(`${lender.dir}/work`).sort(), emptyWork)
  })
})
