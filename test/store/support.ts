import assert from 'node:assert/strict'
import { chmodSync, lstatSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Clock } from '../../src/base/clock.ts'
import { codeOf } from '../../src/base/errors.ts'
import { type Logger, silentLogger } from '../../src/base/log.ts'
import { type BlockStore, createBlockStore } from '../../src/store/blocks.ts'
import { type IndexDb, openIndexDb } from '../../src/store/index-db.ts'
import type { BlockStoreInit } from '../../src/store/init.ts'

const cleanups = new WeakMap<TestContext, (() => unknown)[]>()

/** Runs `clean` when the test has ended; what was asked for last comes first. */
export function afterwards(t: TestContext, clean: () => unknown): void {
  const known = cleanups.get(t)
  if (known !== undefined) {
    known.push(clean)
    return
  }
  const list = [clean]
  cleanups.set(t, list)
  t.after(async () => {
    for (const each of list.toReversed()) await each()
  })
}

/** A directory of the test's own, removed after it. */
export async function tempDir(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-store-'))
  afterwards(t, () => rm(dir, { recursive: true, force: true }))
  return dir
}

/** A started store that is stopped before its directory goes. */
export async function openStore(t: TestContext, init: Partial<BlockStoreInit> = {}): Promise<BlockStore> {
  const dir = init.dir ?? (await tempDir(t))
  const store = createBlockStore({
    log: silentLogger,
    maxBytes: 1 << 30,
    minFreeBytes: 0,
    reserveBytes: 0,
    ...init,
    dir,
  })
  await store.start()
  afterwards(t, () => store.stop())
  await store.indexed()
  return store
}

/** A clock that moves only when told to. */
export class ManualClock implements Clock {
  ms = 0
  now(): number {
    return this.ms
  }
  wall(): number {
    return Date.now() + this.ms
  }
  after(): () => void {
    throw new Error('no timers expected')
  }
}

/** A log that keeps what was said. */
export function recordingLog(): { log: Logger; lines: { message: string; fields: Record<string, unknown> }[] } {
  const lines: { message: string; fields: Record<string, unknown> }[] = []
  const say = (message: string, fields: Record<string, unknown> = {}): void => void lines.push({ message, fields })
  const log: Logger = { debug: say, info: say, warn: say, error: say, child: () => log }
  return { log, lines }
}

/** Compares bytes without printing them: the difference of two large buffers takes gigabytes to render. */
export function assertSame(actual: Uint8Array | string | undefined, expected: Uint8Array | undefined, what = ''): void {
  const same =
    typeof actual === 'object' && expected !== undefined ? Buffer.compare(actual, expected) === 0 : actual === expected
  assert.ok(same, `${what}: ${actual?.length ?? 'no'} bytes, expected ${expected?.length ?? 'none'}`)
}

/** Matches an error by its code. */
export const withCode =
  (code: string) =>
  (error: unknown): boolean =>
    codeOf(error) === code

export async function namesIn(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).toSorted()
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}

/**
 * Changes a file's content in place and puts its mtime back: of what a stat shows only ctime is different. A clock that
 * is too coarse to show that is waited out.
 */
export function tamper(path: string, change: (bytes: Buffer) => Uint8Array): void {
  const before = lstatSync(path, { bigint: true })
  chmodSync(path, 0o644)
  const changed = change(readFileSync(path))
  do {
    writeFileSync(path, changed)
    utimesSync(path, Number(before.atimeMs) / 1000, Number(before.mtimeMs) / 1000)
  } while (lstatSync(path, { bigint: true }).ctimeNs === before.ctimeNs)
}

export function flipBit(bytes: Buffer): Buffer {
  const flipped = Buffer.from(bytes)
  const middle = flipped.length >> 1
  flipped.writeUInt8(flipped.readUInt8(middle) ^ 1, middle)
  return flipped
}

/** An open index in `<dir>/index`; closed before its directory goes. */
export async function openIndex(t: TestContext, dir?: string): Promise<IndexDb> {
  const index = await openIndexDb({ dir: join(dir ?? (await tempDir(t)), 'index'), log: silentLogger })
  afterwards(t, () => index.close())
  return index
}
