import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { seededRandom } from '../../src/base/clock.ts'
import { codeOf } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import { createBlockStore } from '../../src/store/blocks.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { blockCount, blockOf, crashInit } from './crash-load.ts'

/**
 * One process of the crash matrix. Once told to on standard input (a JSON line: the store's directory, a directory for
 * files of its own, a seed, the numbers of blocks that are pinned already), it opens the store and puts, gets, pins, unpins,
 * removes and evicts without end, several at once, until it is killed. Says on standard output, a line each: `pinned N`
 * when that is so for good, `unpinning N` before it is undone, `corrupt N` when a read gave other bytes than were put.
 */
interface Orders {
  dir: string
  scratch: string
  seed: number
  pinned: number[]
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)
/** Few, so that the store is never full of them. */
const maxPinned = 6

say('ready')
const [line] = await Promise.race([once(process.stdin, 'data'), once(process.stdin, 'end')])
if (line === undefined) process.exit()
const { dir, scratch, seed, pinned: before }: Orders = JSON.parse(String(line))
const random = seededRandom(seed)
const pinned = new Set(before)
/** Nobody else pins or unpins them meanwhile: who comes last would not be known. */
const unpinning = new Set<number>()
const store = createBlockStore({ dir, log: silentLogger, ...crashInit })
await store.start()

async function work(worker: number): Promise<never> {
  for (;;) {
    try {
      await step(Math.floor(random() * blockCount), worker, random())
    } catch (error) {
      // All that is there may be in use just then.
      if (codeOf(error) !== 'ERR_DISK_FULL') throw error
    }
  }
}

async function step(number: number, worker: number, choice: number): Promise<void> {
  const bytes = blockOf(number)
  const cid = cidOf(bytes)
  if (choice < 0.3) await store.put(bytes)
  else if (choice < 0.45) {
    const file = join(scratch, `source-${worker}`)
    writeFileSync(file, bytes)
    await store.putFile(file, { maxBytes: 8 << 20 })
  } else if (choice < 0.7) {
    const got = await store.get(cid)
    if (got !== undefined && Buffer.compare(got, bytes) !== 0) say(`corrupt ${number}`)
  } else if (choice < 0.82) await pin(number)
  else if (choice < 0.84) await unpin()
  else if (choice < 0.9) {
    // Who removes and pins the same block at once cannot know which comes last.
    if (number % 2 === 1) await store.remove(cid)
  } else if (choice < 0.94) await store.shrink(random() * store.stats().bytes)
  else await store.path(cid)
}

async function pin(number: number): Promise<void> {
  if (number % 2 === 1 || pinned.has(number) || unpinning.has(number) || pinned.size >= maxPinned) return
  pinned.add(number)
  const bytes = blockOf(number)
  await store.put(bytes)
  if (await store.pin(cidOf(bytes))) say(`pinned ${number}`)
  else pinned.delete(number)
}

async function unpin(): Promise<void> {
  const [oldest] = pinned
  if (oldest === undefined) return
  pinned.delete(oldest)
  unpinning.add(oldest)
  say(`unpinning ${oldest}`)
  await store.unpin(cidOf(blockOf(oldest)))
  unpinning.delete(oldest)
}

await Promise.all(Array.from({ length: 6 }, (_, worker) => work(worker)))
