import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
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

test('what no lender should have this node read may have said anything', { timeout: 10_000 }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'shoal-out-dir-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const roots = [{ name: 'workspace' as const, path: join(dir, 'root') }]
  const tells = async (files: readonly string[]): Promise<boolean> =>
    await computesWithOutDir(`lib.d: ${files.join(' ')}\n\n# env-dep:OUT_DIR=/build/out\n`, { action, roots })
  execFileSync('mkdir', ['-p', join(dir, 'root/src.rs')])
  execFileSync('mkfifo', [join(dir, 'root/pipe.rs')])
  for (const name of ['outside.rs', 'root/plain.rs', 'root/large.rs']) writeFileSync(join(dir, name), '')
  truncateSync(join(dir, 'root/large.rs'), 9 << 20)
  assert.equal(await tells(['plain.rs']), false)
  for (const file of ['pipe.rs', 'src.rs', 'large.rs', '../outside.rs', join(dir, 'outside.rs'), '/proc/kmsg.rs']) {
    assert.equal(await tells([file]), true, file)
  }
  assert.equal(await tells(Array.from({ length: 5000 }, (_, index) => `${'./'.repeat(index)}plain.rs`)), true)
  for (let index = 0; index < 9; index++) {
    writeFileSync(join(dir, `root/big${index}.rs`), '')
    truncateSync(join(dir, `root/big${index}.rs`), 8 << 20)
  }
  assert.equal(await tells([0, 1, 2, 3, 4, 5, 6, 7, 8].map((index) => `big${index}.rs`)), true)
})
