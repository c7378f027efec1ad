import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { holdsCompressed } from '../../src/plan/compressed.ts'

const skip = process.platform !== 'linux' && 'no ELF here'
test('tells objects, and archives of them, with compressed sections from those without', { skip }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'shoal-compressed-'))
  const at = (name: string): string => join(dir, name)
  try {
    const names = Array.from({ length: 50 }, (_, n) => `struct s${n} { int a_member_with_a_long_name_${n}; } y${n};`)
    writeFileSync(at('x.c'), `${names.join('\n')}\nint x(void) { return y1.a_member_with_a_long_name_1; }\n`)
    const compile = (name: string, ...flags: string[]): Buffer => {
      execFileSync('cc', ['-g', ...flags, '-c', at('x.c'), '-o', at(`${name}.o`)])
      execFileSync('ar', ['crs', at(`${name}.a`), at(`${name}.o`)])
      return readFileSync(at(`${name}.o`))
    }
    assert.equal(holdsCompressed(compile('plain', '-gz=none')), false)
    assert.equal(holdsCompressed(readFileSync(at('plain.a'))), false)
    assert.equal(holdsCompressed(compile('packed', '-gz=zlib')), true)
    assert.equal(holdsCompressed(readFileSync(at('packed.a'))), true)
  } finally {
    rmSync(dir, { recursive: true })
  }
})

test('knows compressed files by how they begin, and takes what it cannot read for one', () => {
  assert.equal(holdsCompressed(gzipSync('text')), true)
  assert.equal(holdsCompressed(Buffer.from('text')), false)
  assert.equal(holdsCompressed(Buffer.alloc(0)), false)
  const elf = Buffer.alloc(64)
  elf.write('\x7fELF', 'latin1')
  assert.equal(holdsCompressed(elf), true)
})
