import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { reasonNotAway } from '../../src/plan/classify.ts'
import { recorderName } from '../../src/plan/codegen.ts'
import { unitArgs } from './support.ts'

const dir = mkdtempSync(join(tmpdir(), 'shoal-linkers-'))
after(() => rmSync(dir, { recursive: true, force: true }))
writeFileSync(join(dir, 'a.rs'), 'fn main() {}')

/** What the rustc here tells a linker of that name; without what differs from call to call. */
function toldTo(name: string): string {
  const program = join(dir, name)
  writeFileSync(program, '#!/bin/sh\nexit 0\n', { mode: 0o755 })
  const args = ['--print', 'link-args', '-C', `linker=${program}`, '-o', join(dir, 'a'), join(dir, 'a.rs')]
  const told = execFileSync('rustc', args, { encoding: 'utf8' })
  return told.replaceAll(program, 'LINKER').replace(/\/rustc\w{6}\//g, '/')
}

test('a linker here that may be replaced by a recorder elsewhere is told the same', () => {
  const expected = toldTo(recorderName)
  for (const name of ['cc', 'x86_64-linux-gnu-cc', 'cc-13', 'gcc', 'clang', 'x86_64-linux-gnu-gcc-13', 'g++']) {
    const args = unitArgs(['bin'], 'dep-info,link', '-C', `linker=/opt/${name}`)
    const mayBeReplaced = reasonNotAway(args, undefined, 'x86_64-unknown-linux-gnu') === undefined
    if (mayBeReplaced) assert.equal(toldTo(name), expected, name)
    assert.equal(mayBeReplaced, /(^|-)cc/.test(name), name)
  }
})
