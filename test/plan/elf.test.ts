import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { readDynamic } from '../../src/plan/elf.ts'

const scratch = mkdtempSync(join(tmpdir(), 'shoal-elf-'))
after(() => rmSync(scratch, { recursive: true }))

/** A procedural macro that does this. */
function macro(name: string, body: string): string {
  const source = join(scratch, `${name}.rs`)
  writeFileSync(
    source,
    `extern crate proc_macro;\n#[proc_macro] pub fn m(_: proc_macro::TokenStream) -> proc_macro::TokenStream { ${body} }\n`,
  )
  execFileSync('rustc', ['--crate-type', 'proc-macro', '--edition', '2021', '--out-dir', scratch, source])
  return join(scratch, `lib${name}.so`)
}

test('a macro that can look at all variables without asking for one is told from others', async () => {
  const [all, one, none] = [
    macro('all', 'std::env::vars().count().to_string().parse().unwrap()'),
    macro('one', 'std::env::var("HOME").unwrap().len().to_string().parse().unwrap()'),
    macro('none', 'proc_macro::TokenStream::new()'),
  ]
  assert.equal((await readDynamic(all))?.usesEnviron, true)
  assert.equal((await readDynamic(one))?.usesEnviron, false)
  assert.equal((await readDynamic(none))?.usesEnviron, false)
})

test('a program that passes the environment on may look at all of it', async () => {
  const run = macro('run', 'std::process::Command::new("true").env("A", "b").status().unwrap(); "1".parse().unwrap()')
  assert.equal((await readDynamic(run))?.usesEnviron, true)
})

test('what is no such file has nothing to tell', async () => {
  writeFileSync(join(scratch, 'text'), 'no ELF file')
  assert.equal(await readDynamic(join(scratch, 'text')), undefined)
  writeFileSync(join(scratch, 'short'), Buffer.from('\x7fELF', 'latin1'))
  assert.equal(await readDynamic(join(scratch, 'short')), undefined)
})
