import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { seededRandom } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { createBlockStore } from '../../src/store/blocks.ts'
import { hexOf } from '../../src/wire/cid.ts'

/**
 * Puts blocks without end until it is killed, several at once, and writes the name of each finished one to standard
 * output. Arguments: the store's directory, a seed, a directory for files of its own.
 */
const [dir = '', seed = '0', scratch = ''] = process.argv.slice(2)
const random = seededRandom(Number(seed))
const store = createBlockStore({ dir, log: silentLogger, maxBytes: 24 << 20, minFreeBytes: 0 })
await store.start()

function someBytes(): Buffer {
  const size = Math.floor(random() ** 3 * (3 << 20))
  return Buffer.alloc(size, `${Math.floor(random() * 500)}:`)
}

async function hammer(worker: number): Promise<never> {
  const file = join(scratch, `source-${worker}`)
  for (;;) {
    const bytes = someBytes()
    const asFile = random() < 0.3
    if (asFile) writeFileSync(file, bytes)
    const cid = asFile ? (await store.putFile(file, { maxBytes: 8 << 20 })).cid : await store.put(bytes)
    process.stdout.write(`${hexOf(cid)}\n`)
  }
}

await Promise.all(Array.from({ length: 6 }, (_, worker) => hammer(worker)))
