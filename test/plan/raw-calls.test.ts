import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { callsKernelItself } from '../../src/plan/raw-calls.ts'

test('callsKernelItself() finds the name wherever it lies, and nothing where there is none', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-raw-'))
  try {
    const file = join(dir, 'program')
    for (const at of [0, 100, (1 << 20) - 4, 1 << 20, (2 << 20) - 1]) {
      const bytes = Buffer.alloc(2 << 20, 'x')
      bytes.write('linux_raw', at)
      await writeFile(file, at === (2 << 20) - 1 ? Buffer.concat([bytes, Buffer.from('inux_raw')]) : bytes)
      assert.equal(await callsKernelItself(file), true, `at ${at}`)
    }
    await writeFile(file, Buffer.alloc(2 << 20, 'linux_ra'))
    assert.equal(await callsKernelItself(file), false)
    await writeFile(file, '')
    assert.equal(await callsKernelItself(file), false)
  } finally {
    await rm(dir, { recursive: true })
  }
})
