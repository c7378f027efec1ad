import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { computesWithOutDir } from '../../src/recall/out-dir.ts'
import { action } from './support.ts'

const depInfo = (variable: string): string => `lib.d: src.rs none.txt\n\nsrc.rs:\n\n# env-dep:${variable}=/build/out\n`

async function computes(source: string | undefined, variable = 'OUT_DIR'): Promise<boolean> {
  const dir = mkdtempSync(join(tmpdir(), 'shoal-out-dir-'))
  try {
    if (source !== undefined) writeFileSync(join(dir, 'src.rs'), source)
    const roots = [{ name: 'workspace' as const, path: dir }]
    return await computesWithOutDir(depInfo(variable), { action, roots })
  } finally {
    rmSync(dir, { recursive: true })
  }
}

for (const source of [
  'include!(concat!(env!("OUT_DIR"), "/a.rs"));',
  'const A: &str = include_str! ( concat! [ env! { "OUT_DIR" } , "/a" ] );',
  '#![doc = include_str!(std::concat!(core::env!("OUT_DIR"), "/a.md"))]',
  'tonic::include_proto!("a");',
]) {
  test(`names a file: ${source}`, async () => assert.equal(await computes(source), false))
}

for (const source of [
  'const A: usize = env!("OUT_DIR").len();',
  'const A: &str = concat!(env!("OUT_DIR"), "/a");',
  'include!(concat!(env!("OUT_DIR"), "/a.rs")); const A: u8 = env!("OUT_DIR").as_bytes()[1];',
  'const A: bool = option_env!(r"OUT_DIR").is_some();',
  'const A: bool = option_env!(r#"OUT_DIR"#).is_some();',
]) {
  test(`may be computed with: ${source}`, async () => {
    assert.equal(await computes(source), true)
    assert.equal(await computes(source, 'OTHER'), false)
  })
}

test('a source that is gone may have said anything', async () => assert.equal(await computes(undefined), true))
