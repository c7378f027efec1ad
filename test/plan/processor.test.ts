import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { mathematics, processorName } from '../../src/plan/processor.ts'

const scratch = mkdtempSync(join(tmpdir(), 'shoal-processor-'))
after(() => rmSync(scratch, { recursive: true }))

/** One core as Linux tells of it. */
const core = (number: number, model: string, mhz: string, flags: string): string =>
  `processor\t: ${number}\nvendor_id\t: GenuineIntel\nmodel name\t: ${model}\ncpu MHz\t\t: ${mhz}\nflags\t\t: ${flags}\nbogomips\t: ${mhz}\n\n`

function nameOf(...cores: string[]): string | undefined {
  const file = join(scratch, 'cpuinfo')
  writeFileSync(file, cores.join(''))
  return processorName(file)
}

test('processors of one kind have one name, however many and however fast they run just now', () => {
  const one = nameOf(core(0, 'A', '800', 'sse avx'))
  assert.match(one ?? '', /^[0-9a-f]{32}$/)
  assert.equal(nameOf(core(0, 'A', '800', 'sse avx'), core(1, 'A', '4100', 'sse avx')), one)
})

test('another model, another feature or another kind of core beside it is another processor', () => {
  const a = core(0, 'A', '800', 'sse avx')
  const names = [nameOf(a), nameOf(core(0, 'B', '800', 'sse avx')), nameOf(core(0, 'A', '800', 'sse'))]
  const mixed = nameOf(a, core(1, 'B', '800', 'sse avx'))
  assert.equal(new Set([...names, mixed]).size, 4)
  assert.equal(nameOf(core(0, 'B', '1', 'sse avx'), core(1, 'A', '2', 'sse avx')), mixed)
})

test('Arm cores are told apart by what they say of themselves', () => {
  const arm = (part: string): string => `processor\t: 0\nBogoMIPS\t: 48\nFeatures\t: fp asimd\nCPU part\t: ${part}\n`
  assert.notEqual(nameOf(arm('0xd0c')), nameOf(arm('0xd40')))
  assert.equal(nameOf(arm('0xd0c')), nameOf(arm('0xd0c')))
})

test('a system that tells nothing has no name for its processor', () => {
  assert.equal(nameOf('hello\n'), undefined)
  assert.equal(processorName(join(scratch, 'none')), undefined)
  assert.equal(processorName() !== undefined, existsSync('/proc/cpuinfo'))
})

test('mathematics has another name with another libm, and where that computes in another way', () => {
  const [maps, library, cpuinfo] = ['maps', 'libm.so.6', 'math-cpuinfo'].map((name) => join(scratch, name))
  assert.ok(maps && library && cpuinfo)
  const name = (content: string, flags: string): string => {
    writeFileSync(library, content)
    writeFileSync(maps, `7f00-7f01 r-xp 0 08:01 1    /usr/lib/libmvec.so.1\n7f00-7f01 r-xp 0 08:01 1    ${library}\n`)
    writeFileSync(cpuinfo, core(0, 'A', '800', flags))
    return mathematics(maps, cpuinfo)
  }
  const one = name('one', 'sse avx2 fma')
  assert.equal(name('one', 'fma sse4 avx2'), one)
  assert.equal(new Set([one, name('two', 'avx2 fma'), name('one', 'avx2'), name('one', '')]).size, 4)
  // Nothing is the same as what nobody knows.
  assert.notEqual(mathematics(join(scratch, 'none'), cpuinfo), mathematics(join(scratch, 'none'), cpuinfo))
  if (process.platform === 'linux' && existsSync('/lib64/ld-linux-x86-64.so.2'))
    assert.equal(mathematics(), mathematics())
})
