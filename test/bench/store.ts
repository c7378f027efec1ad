import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Key } from 'interface-datastore'
import { silentLogger } from '../../src/base/log.ts'
import { createBlockStore } from '../../src/store/blocks.ts'
import { sha256 } from '../../src/store/files.ts'
import { openIndexDb } from '../../src/store/index-db.ts'
import { cidOf, hexOf } from '../../src/wire/cid.ts'
import { argument, median, say } from './figures.ts'

/**
 * `npm run bench -- store [--runs N]`: 2,000 small blocks as files of the store, against the same inline in the database of
 * the index. Either way they are put 32 at a time and read one after the other, each compared with its name.
 */
const count = 2000
const atOnce = 32
const runs = argument('runs', 5)

interface Small {
  put(bytes: Uint8Array, hex: string): Promise<unknown>
  get(bytes: Uint8Array, hex: string): Promise<unknown>
  close(): Promise<void>
}

async function asFiles(dir: string): Promise<Small> {
  const store = createBlockStore({ dir, log: silentLogger, maxBytes: 1 << 30, minFreeBytes: 0 })
  await store.start()
  await store.indexed()
  return {
    put: (bytes) => store.put(bytes),
    get: (bytes) => store.get(cidOf(bytes)),
    close: () => store.stop(),
  }
}

async function inline(dir: string): Promise<Small> {
  const { datastore, close } = await openIndexDb({ dir, log: silentLogger })
  const keyOf = (hex: string): Key => new Key(`/blocks/${hex}`, false)
  return {
    // Whoever puts has to know the name, too, and whether it is there.
    put: async (bytes) => {
      const key = keyOf(Buffer.from(await sha256(bytes)).toString('hex'))
      if (!(await datastore.has(key))) await datastore.put(key, bytes)
    },
    get: async (bytes, hex) => {
      const found = await datastore.get(keyOf(hex))
      if (Buffer.from(await sha256(found)).toString('hex') !== hexOf(cidOf(bytes))) throw new Error('other bytes')
    },
    close,
  }
}

async function measured(open: (dir: string) => Promise<Small>, dir: string): Promise<{ put: number; get: number }> {
  const blocks = Array.from({ length: count }, (_, n) => {
    const bytes = randomBytes(1024 + (n % 8) * 1024)
    return { bytes, hex: hexOf(cidOf(bytes)) }
  })
  const small = await open(dir)
  const from = performance.now()
  for (let n = 0; n < count; n += atOnce) {
    await Promise.all(blocks.slice(n, n + atOnce).map(({ bytes, hex }) => small.put(bytes, hex)))
  }
  const put = performance.now() - from
  for (const { bytes, hex } of blocks) await small.get(bytes, hex)
  const warm = performance.now()
  for (const { bytes, hex } of blocks) await small.get(bytes, hex)
  const get = performance.now() - warm
  await small.close()
  return { put, get }
}

const dir = await mkdtemp(join(tmpdir(), 'shoal-bench-store-'))
try {
  const rows: { put: number; get: number }[][] = [[], []]
  for (let run = 0; run < runs; run++) {
    rows[0]?.push(await measured(asFiles, join(dir, `files-${run}`)))
    rows[1]?.push(await measured(inline, join(dir, `inline-${run}`)))
  }
  say(`${count} blocks of 1 to 8 KiB, medians of ${runs}, microseconds a block`)
  for (const [name, figures] of [
    ['a file each', rows[0] ?? []],
    ['inline in the index', rows[1] ?? []],
  ] as const) {
    const each = (what: 'put' | 'get'): string => ((median(figures.map((row) => row[what])) * 1000) / count).toFixed(0)
    say(`  ${name.padEnd(22)} put ${each('put').padStart(5)}, warm look-up ${each('get').padStart(5)}`)
  }
} finally {
  await rm(dir, { recursive: true, force: true })
}
