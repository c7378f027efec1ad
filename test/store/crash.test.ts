import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { seededRandom } from '../../src/base/clock.ts'
import { namesIn, openStore, tempDir } from './support.ts'

const hammer = fileURLToPath(new URL('./hammer.ts', import.meta.url))

/** Runs the hammer and kills it the moment it has reported `puts` finished puts. @returns what it reported */
async function hammered(args: readonly string[], puts: number): Promise<Set<string>> {
  const child = spawn(process.execPath, [hammer, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  let lines = 0
  child.stdout.setEncoding('latin1')
  child.stdout.on('data', (text: string) => {
    output += text
    lines += text.split('\n').length - 1
    if (lines >= puts) child.kill('SIGKILL')
  })
  const [code, signal] = await once(child, 'close')
  assert.deepEqual([code, signal], [null, 'SIGKILL'])
  return new Set(output.split('\n').slice(0, -1))
}

test('a store whose process was killed in the middle of puts has whole blocks only', async (t) => {
  const root = await tempDir(t)
  const dir = join(root, 'store')
  await mkdir(join(root, 'scratch'))
  const random = seededRandom(20_26)
  let leftovers = 0
  for (let round = 0; round < 36; round++) {
    const done = await hammered([dir, String(round), join(root, 'scratch')], 1 + Math.floor(random() * 60))
    leftovers += (await namesIn(join(dir, 'tmp'))).length

    const store = await openStore(t, { dir, maxBytes: 24 << 20 })
    assert.deepEqual(await namesIn(join(dir, 'tmp')), [], `round ${round}`)
    const { checked, bad } = await store.verify()
    assert.equal(bad, 0, `round ${round}`)
    assert.equal(checked, store.stats().blocks)
    assert.ok(store.stats().bytes <= 24 << 20)
    const kept = new Set(store.keys())
    assert.ok(
      [...done].some((hex) => kept.has(hex)),
      'finished puts survive',
    )
    await store.stop()
  }
  assert.ok(leftovers > 0, 'some of the kills came in the middle of a write')
})
