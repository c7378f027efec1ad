import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { processorName } from '../../src/plan/processor.ts'

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
