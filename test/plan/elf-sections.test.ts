import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { hasSection } from '../../src/plan/elf-sections.ts'

const dir = mkdtempSync(join(tmpdir(), 'shoal-sections-'))
after(() => rmSync(dir, { recursive: true, force: true }))
const skip = process.platform === 'linux' ? false : 'no ELF here'

/** As little of a file as has these sections by name. */
function elf(...names: string[]): Buffer {
  const texts = Buffer.from(`\0${names.join('\0')}\0`)
  const [header, section] = [Buffer.alloc(64), Buffer.alloc(64)]
  header.writeUInt32BE(0x7f454c46)
  header.set([2, 1, 1], 4)
  header.writeBigUInt64LE(64n, 40)
  section.writeBigUInt64LE(128n, 24)
  section.writeBigUInt64LE(BigInt(texts.length), 32)
  return Buffer.concat([header, section, texts])
}

test('hasSection() knows the sections of a program', async () => {
  if (skip === false) assert.equal(await hasSection(process.execPath, '.text'), true)
  const gold = '.note.gnu.gold-version'
  const path = join(dir, 'program')
  for (const names of [[gold], ['.text', gold, '.shstrtab']]) {
    writeFileSync(path, elf(...names))
    assert.equal(await hasSection(path, gold), true)
  }
  writeFileSync(path, elf('.text', `${gold}s`, '.shstrtab'))
  assert.equal(await hasSection(path, gold), false)
})

test('hasSection() finds none in what is no such file', async () => {
  const header = readFileSync(process.execPath).subarray(0, 64)
  for (const bytes of [Buffer.alloc(0), Buffer.from('#!/bin/sh\n'), Buffer.alloc(64), header]) {
    const path = join(dir, 'none')
    writeFileSync(path, bytes)
    assert.equal(await hasSection(path, '.text'), false)
  }
  assert.equal(await hasSection(join(dir, 'absent'), '.text'), false)
})
