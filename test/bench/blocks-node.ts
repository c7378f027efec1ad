import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { Session } from 'node:inspector/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p, type Libp2p } from 'libp2p'
import { CID } from 'multiformats/cid'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { Supply } from '../../src/daemon/supply.ts'
import { blockProtocol, encodeRequest, maxRangeBytes } from '../../src/mesh/block-frames.ts'
import type { LargeFile } from '../../src/mesh/chunk-proof.ts'
import { doors } from '../../src/mesh/doors.ts'
import { createHost, type Host, startHost } from '../../src/mesh/host.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import type { Membership } from '../../src/mesh/membership.ts'
import { createMesh, type Mesh } from '../../src/mesh/mesh.ts'
import { StreamWriter } from '../../src/mesh/stream-writer.ts'
import { type BlockStore, createBlockStore } from '../../src/store/blocks.ts'
import { hire, membersOf } from '../mesh/hiring.ts'

/** One node of `blocks.ts`: a mesh and a store, and beside them noise and yamux as the libraries give them for the comparison. */
export type Order =
  | { do: 'start'; dir: string; membership: Membership; listen: string }
  | { do: 'fill'; count: number; size: number; plain?: boolean }
  | { do: 'fetch'; blocks: { cid: string; size: number }[]; from: string[]; keep: boolean }
  /** `chunkMs`: how long the disk takes for a chunk, besides what it takes anyway. */
  | { do: 'fetch-slowly'; cid: string; size: number; from: string[]; chunkMs: number }
  | { do: 'bare'; address: string; bytes: number; piece: number }
  | { do: 'stall'; address: string; cid: string; streams: number }
  | { do: 'usage' }
  /** Lets go of what is not in use, and begins to watch the memory. */
  | { do: 'settle' }
  | { do: 'drop'; cids: string[] }

export interface Answer {
  peerId?: string
  addresses?: string[]
  bare?: string[]
  cids?: string[]
  ms?: number
  cpuMs?: number
  /** Most memory in use above what it was when last settled. */
  grownBytes?: number
  /** Bytes that have left the machine's network interface. */
  sentBytes?: number
  error?: string
}

const bareProtocol = '/bench/bare/1.0.0'
const atOnce = 64
const stallMs = 3000
const MiB = 1024 * 1024

interface Node {
  mesh: Mesh
  store: BlockStore
  supply: Supply
  bare: Libp2p
  /** A member that speaks no protocol of ours by itself. */
  stranger: Host
}

let node: Node | undefined
const memory = { settled: 0, most: 0 }
const watch = (): void => {
  memory.most = Math.max(memory.most, process.memoryUsage.rss())
}
setInterval(watch, 100).unref()

async function start({ dir, membership, listen }: Order & { do: 'start' }): Promise<Node> {
  const store = createBlockStore({ dir: join(dir, 'blocks'), log: silentLogger, maxBytes: 8e9, minFreeBytes: 0 })
  await store.start()
  await hire(dir, membership)
  const mesh = await createMesh(
    { clock: systemClock, random: Math.random, log: silentLogger, source: store, lookup: async () => [] },
    { stateDir: dir, membership, name: dir, listen: [listen], mdns: false },
  )
  await mesh.start()
  const bare = await createLibp2p({
    addresses: { listen: [`/ip4/${listen}/tcp/0`] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    // As large as ours: the usual ones are too small for a fast network.
    streamMuxers: [yamux({ streamOptions: { initialStreamWindowSize: 2 * MiB, maxStreamWindowSize: 2 * MiB } })],
    connectionMonitor: { enabled: false },
  })
  await bare.handle(bareProtocol, (stream) => serveBare(stream))
  const members = await membersOf(join(dir, 'stranger'), membership)
  const stranger = await createHost({
    identity: await loadIdentity(join(dir, 'stranger')),
    membership,
    encrypters: doors({ clock: systemClock, log: silentLogger, members }, membership),
    mayDial: () => true,
    stateDir: join(dir, 'stranger'),
    listen: [listen],
    log: silentLogger,
    interfaces: () => ({}),
  })
  await startHost(stranger)
  return { mesh, store, supply: new Supply({ blocks: store, mesh }), bare, stranger }
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
        if (keep) await supply.ensure(cid, size, from, signal)
        else await mesh.fetchBlock(cid, { from, maxBytes: size, signal })
      }
    }),
  )
}

/** Fetches one large block onto a disk that takes its time. */
async function fetchSlowly({ mesh, store }: Node, order: Order & { do: 'fetch-slowly' }): Promise<void> {
  const { size, from, chunkMs } = order
  const cid = CID.parse(order.cid)
  const signal = AbortSignal.timeout(300_000)
  const keep = (fill: (file: LargeFile) => Promise<void>): Promise<void> =>
    store.putLarge(cid, size, (file) =>
      fill({
        async write(offset, bytes) {
          await delay(chunkMs)
          await file.write(offset, bytes)
        },
        read: (offset, length, into) => file.read(offset, length, into),
        matches: (wanted) => file.matches(wanted),
      }),
    )
  await mesh.fetchFile(cid, { from, size, signal, keep })
}

/** Asks for a block over and over, and reads nothing of it for a while. */
async function stall({ stranger }: Node, { address, cid, streams }: Order & { do: 'stall' }): Promise<void> {
  const connection = await stranger.dial(multiaddr(address))
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
  const cpu = process.cpuUsage()
  const from = performance.now()
  await profiled(work)
  const ms = performance.now() - from
  const { user, system } = process.cpuUsage(cpu)
  return { ms, cpuMs: (user + system) / 1000 }
}

/** What is garbage now would be counted as growth, or hide it, later. */
async function settle(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    globalThis.gc?.()
    await delay(50)
  }
  memory.settled = process.memoryUsage.rss()
  memory.most = memory.settled
}

async function usage(): Promise<Answer> {
  watch()
  const { user, system } = process.cpuUsage()
  const lines = await readFile('/proc/self/net/dev', 'utf8').catch(() => '')
  // Of the columns behind the name, the ninth counts the bytes sent.
  const sentBytes = Number(/eth0:(?:\s*\d+){8}\s+(\d+)/.exec(lines)?.[1] ?? 0)
  return { cpuMs: (user + system) / 1000, grownBytes: memory.most - memory.settled, sentBytes }
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
    case 'fetch-slowly':
      return await measured(() => fetchSlowly(running, order))
    case 'bare':
      return await measured(() => receiveBare(running, order))
    case 'stall':
      await stall(running, order)
      return {}
    case 'usage':
      return await usage()
    case 'settle':
      await settle()
      return {}
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
