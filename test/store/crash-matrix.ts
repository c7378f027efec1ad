import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { CID } from 'multiformats/cid'
import { seededRandom } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { createBlockStore } from '../../src/store/blocks.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { blockCount, blockOf, crashInit } from './crash-load.ts'
import { namesIn } from './support.ts'

/**
 * Kills a process at random moments while it uses a store, and looks at what is left each time. `npm run crash -- --rounds
 * 10000 [--seed N]`; the tests run a few rounds of it.
 */
type Worker = ChildProcessByStdio<Writable, Readable, null>

const program = fileURLToPath(new URL('./crash-worker.ts', import.meta.url))
/** A killed process has lived for at most so long, most of them for less than a quarter of it: opening takes some 10 ms. */
const longestLifeMs = 240
/** Blocks that are pinned before each round at least. */
const leastPinned = 3

export interface CrashFigures {
  rounds: number
  /** Rounds after which something unfinished was lying about. */
  leftovers: number
  /** Pinned blocks that were looked for, over all rounds. */
  pinnedSeen: number
  blocksVerified: number
}

/** @throws AssertionError for a corrupt read, a lost pinned block or an old temporary file */
export async function crashRounds(dir: string, rounds: number, seed: number): Promise<CrashFigures> {
  const store = join(dir, 'store')
  const scratch = join(dir, 'scratch')
  await mkdir(scratch, { recursive: true })
  const random = seededRandom(seed)
  const figures: CrashFigures = { rounds: 0, leftovers: 0, pinnedSeen: 0, blocksVerified: 0 }
  const pinned = new Set<number>()
  const cids = Array.from({ length: blockCount }, (_, number) => cidOf(blockOf(number)))
  const compiled = join(dir, 'compiled')
  // A process that is killed leaves no compiled code for the next one.
  const first = started(compiled)
  first.stdin.end()
  await once(first, 'close')
  let next = started(compiled)
  try {
    while (figures.rounds < rounds) {
      const worker = next
      await once(worker.stdout, 'data')
      next = started(compiled)
      const orders = { dir: store, scratch, seed: Math.floor(random() * 2 ** 31), pinned: [...pinned] }
      const said = await killed(worker, JSON.stringify(orders), random() ** 2 * longestLifeMs)
      read(said, pinned)
      const left = (await unfinished(store)).length
      figures.leftovers += Number(left > 0)
      figures.blocksVerified += await lookAt(store, cids, pinned, `seed ${seed}, round ${figures.rounds}`)
      figures.pinnedSeen += pinned.size
      figures.rounds++
    }
  } finally {
    next.kill('SIGKILL')
  }
  return figures
}

/** It loads its program while the one before is still at work, and then waits for its orders. */
function started(compiled: string): Worker {
  const env = { ...process.env, NODE_COMPILE_CACHE: compiled }
  return spawn(process.execPath, [program], { env, stdio: ['pipe', 'pipe', 'inherit'] })
}

async function killed(worker: Worker, orders: string, afterMs: number): Promise<string> {
  let said = ''
  worker.stdout.setEncoding('latin1').on('data', (text: string) => {
    said += text
  })
  const closed = once(worker, 'close')
  worker.stdin.write(`${orders}\n`)
  await Promise.race([delay(afterMs), closed])
  worker.kill('SIGKILL')
  const [code, signal] = await closed
  assert.deepEqual([code, signal], [null, 'SIGKILL'], 'it ended before it was killed')
  return said
}

/** Takes note of what the worker said before its end; its last line may be cut off. */
function read(said: string, pinned: Set<number>): void {
  for (const line of said.split('\n').slice(0, -1)) {
    const [word, number] = line.split(' ')
    assert.notEqual(word, 'corrupt', line)
    if (word === 'pinned') pinned.add(Number(number))
    else if (word === 'unpinning') pinned.delete(Number(number))
  }
}

/** Everything in a store's directory that is only there for a moment. */
async function unfinished(store: string): Promise<string[]> {
  const beside = (await namesIn(store)).filter((name) => /^lock[.-]/.test(name))
  const drafts = (await namesIn(join(store, 'pins'))).filter((name) => name.includes('.'))
  return [...beside, ...drafts, ...(await namesIn(join(store, 'tmp')))]
}

/** @returns how many blocks were read and found right */
async function lookAt(dir: string, cids: readonly CID[], pinned: Set<number>, what: string): Promise<number> {
  const store = createBlockStore({ dir, log: silentLogger, ...crashInit })
  await store.start()
  try {
    await store.indexed()
    assert.deepEqual(await unfinished(dir), [], `${what}: older than the process that has the store`)
    const { checked, bad } = await store.verify()
    assert.equal(bad, 0, `${what}: corrupt blocks`)
    assert.ok(store.stats().bytes <= crashInit.maxBytes, `${what}: ${store.stats().bytes} bytes`)
    for (const number of pinned) {
      const got = await store.get(cidOf(blockOf(number)))
      assert.ok(got !== undefined && Buffer.compare(got, blockOf(number)) === 0, `${what}: pinned block ${number}`)
    }
    assert.ok(store.stats().pinned >= pinned.size)
    // A worker that was killed between pinning and saying so left a pin that nobody knows of.
    for (const [number, cid] of cids.entries()) if (!pinned.has(number)) await store.unpin(cid)
    assert.equal((await readdir(join(dir, 'quarantine'))).length, 0)
    for (let number = 0; pinned.size < leastPinned; number += 2) {
      if (await store.pin(await store.put(blockOf(number)))) pinned.add(number)
    }
    return checked
  } finally {
    await store.stop()
  }
}

async function main(): Promise<void> {
  const argument = (name: string, otherwise: number): number => {
    const at = process.argv.indexOf(`--${name}`)
    return at < 0 ? otherwise : Number(process.argv[at + 1])
  }
  const rounds = argument('rounds', 10_000)
  const seed = argument('seed', Math.floor(Date.now() / 1000))
  const dir = await mkdtemp(join(tmpdir(), 'shoal-crash-'))
  const from = performance.now()
  try {
    let done = 0
    while (done < rounds) {
      const some = Math.min(200, rounds - done)
      const figures = await crashRounds(join(dir, String(done)), some, seed + done)
      await rm(join(dir, String(done)), { recursive: true })
      done += some
      const seconds = Math.round((performance.now() - from) / 1000)
      process.stdout.write(`${done} kills in ${seconds} s: ${JSON.stringify(figures)}\n`)
    }
    process.stdout.write('no corrupt read, no lost pinned block, no temporary file older than its process\n')
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
