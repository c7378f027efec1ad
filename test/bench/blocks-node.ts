import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { Session } from 'node:inspector/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { Supply } from '../../src/daemon/supply.ts'
import { blockProtocol, encodeRequest, maxRangeBytes } from '../../src/mesh/block-frames.ts'
import { createHost, type Host, startHost } from '../../src/mesh/host.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import type { Membership } from '../../src/mesh/membership.ts'
import { createMesh, type Mesh } from '../../src/mesh/mesh.ts'
import { StreamWriter } from '../../src/mesh/stream-writer.ts'
import { type BlockStore, createBlockStore } from '../../src/store/blocks.ts'

/** One node of `blocks.ts`: a mesh and a store, and beside them a bare libp2p node for the comparison. */
export type Order =
  | { do: 'start'; dir: string; membership: Membership; listen: string }
  | { do: 'fill'; count: number; size: number; plain?: boolean }
  | { do: 'fetch'; blocks: { cid: string; size: number }[]; from: string[]; keep: boolean }
  | { do: 'bare'; address: string; bytes: number; piece: number }
  | { do: 'stall'; address: string; cid: string; streams: number }
  | { do: 'usage' }
  | { do: 'drop'; cids: string[] }

export interface Answer {
  peerId?: string
  addresses?: string[]
  bare?: string[]
  cids?: string[]
  ms?: number
  cpuMs?: number
  /** Most memory seen in use above what it was before. */
  grownBytes?: number
  rss?: number
  /** Fetches that were tried again since the start. */
  retries?: number
  error?: string
}

const bareProtocol = '/bench/bare/1.0.0'
const atOnce = 64
const stallMs = 3000

interface Node {
  mesh: Mesh
  store: BlockStore
  supply: Supply
  bare: Host
}

let node: Node | undefined
let retries = 0

async function start({ dir, membership, listen }: Order & { do: 'start' }): Promise<Node> {
  const store = createBlockStore({ dir: join(dir, 'blocks'), log: silentLogger, maxBytes: 8e9, minFreeBytes: 0 })
  await store.start()
  const mesh = await createMesh(
    { clock: systemClock, random: Math.random, log: silentLogger, source: store, lookup: async () => [] },
    { stateDir: dir, membership, name: dir, listen: [listen], mdns: false },
  )
  await mesh.start()
  const bare = await createHost({
    identity: await loadIdentity(join(dir, 'bare')),
    membership,
    stateDir: join(dir, 'bare'),
    listen: [listen],
    log: silentLogger,
    mdns: false,
    interfaces: () => ({}),
  })
  await bare.handle(bareProtocol, (stream) => serveBare(stream))
  await startHost(bare)
  return { mesh, store, supply: new Supply({ blocks: store, mesh }), bare }
}

/** Sends as many bytes as the first message says, as fast as the stream takes them. */
function serveBare(stream: Stream): void {
  stream.addEventListener(
    'message',
    (event: StreamMessageEvent) => {
      const asked = event.data instanceof Uint8Array ? event.data : event.data.subarray()
      const [bytes = 0, size = 0] = Buffer.from(asked).toString().split('/').map(Number)
      const piece = randomBytes(size)
      const writer = new StreamWriter(stream, 2 * size)
      const send = async (): Promise<void> => {
        for (let left = bytes; left > 0; left -= size) {
          writer.push(piece.subarray(0, Math.min(left, size)))
          if (writer.queuedBytes >= size && !(await writer.drained())) return
        }
      }
      void send()
    },
    { once: true },
  )
}

async function receiveBare({ bare }: Node, order: Order & { do: 'bare' }): Promise<void> {
  const connection = await bare.dial(multiaddr(order.address))
  const stream = await connection.newStream(bareProtocol)
  let received = 0
  await new Promise<void>((resolve, reject) => {
    stream.addEventListener('message', (event: StreamMessageEvent) => {
      received += event.data.byteLength
      if (received === order.bytes) resolve()
    })
    stream.addEventListener('close', () => reject(new Error(`closed after ${received} bytes`)))
    stream.send(Buffer.from(`${order.bytes}/${order.piece}`))
  })
  stream.abort(new Error('done'))
}

async function fetchAll({ mesh, supply }: Node, { blocks, from, keep }: Order & { do: 'fetch' }): Promise<void> {
  const waiting = blocks.map(({ cid, size }) => ({ cid: CID.parse(cid), size }))[Symbol.iterator]()
  const signal = AbortSignal.timeout(300_000)
  await Promise.all(
    Array.from({ length: Math.min(atOnce, blocks.length) }, async () => {
      for (const { cid, size } of waiting) {
        if (keep) await again(() => supply.ensure(cid, size, from, signal))
        else await mesh.fetchBlock(cid, { from, maxBytes: size, signal })
      }
    }),
  )
}

/** Asks for a block over and over, and reads nothing of it for a while. */
async function stall({ bare }: Node, { address, cid, streams }: Order & { do: 'stall' }): Promise<void> {
  const connection = await bare.dial(multiaddr(address))
  const open = await Promise.all(Array.from({ length: streams }, () => connection.newStream(blockProtocol)))
  for (const stream of open) {
    stream.pause()
    for (let id = 0; id < 64; id++) {
      const offset = BigInt(id * maxRangeBytes)
      stream.send(encodeRequest({ id: BigInt(id), cid: CID.parse(cid).bytes, offset, length: maxRangeBytes }))
    }
  }
  await delay(stallMs)
  for (const stream of open) stream.abort(new Error('done'))
}

async function measured(work: () => Promise<void>): Promise<Answer> {
  const before = process.memoryUsage().rss
  let most = before
  const sampler = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss)
  }, 100)
  const cpu = process.cpuUsage()
  const from = performance.now()
  try {
    await profiled(work)
    const ms = performance.now() - from
    const { user, system } = process.cpuUsage(cpu)
    return { ms, cpuMs: (user + system) / 1000, grownBytes: most - before, retries }
  } finally {
    clearInterval(sampler)
  }
}

/** On a link that is full, or a machine that is, a source can seem silent. */
async function again(fetch: () => Promise<number>, times = 3): Promise<number> {
  try {
    return await fetch()
  } catch (error) {
    if (times === 0) throw error
    retries += 1
    return await again(fetch, times - 1)
  }
}

async function profiled(work: () => Promise<void>): Promise<void> {
  const directory = process.env.BLOCKS_PROFILES
  if (directory === undefined) return await work()
  const session = new Session()
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.start')
  await work()
  const { profile } = await session.post('Profiler.stop')
  await writeFile(join(directory, `${process.pid}-${Math.round(performance.now())}`), JSON.stringify(profile))
}

/** Bytes that compress to about a third, as code does, or not at all. */
function content(size: number, plain: boolean): Uint8Array {
  if (!plain) return randomBytes(size)
  const words = Array.from({ length: 4096 }, () => randomBytes(4 + Math.floor(Math.random() * 12)))
  const parts: Uint8Array[] = []
  for (let bytes = 0; bytes < size; ) {
    const word = words[Math.floor(Math.random() ** 3 * words.length)] ?? new Uint8Array(1)
    parts.push(word)
    bytes += word.length
  }
  return Buffer.concat(parts, size)
}

async function obey(order: Order): Promise<Answer> {
  if (order.do === 'start') {
    node = await start(order)
    const bare = node.bare.getMultiaddrs().map(String)
    return { peerId: node.mesh.peerId, addresses: node.mesh.addresses(), bare }
  }
  if (node === undefined) throw new Error('not started')
  const running = node
  switch (order.do) {
    case 'fill': {
      const cids: string[] = []
      for (let at = 0; at < order.count; at++) {
        cids.push((await running.store.put(content(order.size, order.plain === true))).toString())
      }
      return { cids }
    }
    case 'fetch':
      return await measured(() => fetchAll(running, order))
    case 'bare':
      return await measured(() => receiveBare(running, order))
    case 'stall':
      await stall(running, order)
      return {}
    case 'usage': {
      const { user, system } = process.cpuUsage()
      return { rss: process.memoryUsage().rss, cpuMs: (user + system) / 1000 }
    }
    case 'drop':
      for (const text of order.cids) await running.store.remove(CID.parse(text))
      return {}
  }
}

process.on('message', (order: Order) => {
  obey(order).then(
    (answer) => process.send?.(answer),
    (error: unknown) =>
      process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  )
})
process.on('disconnect', () => process.exit(0))
