import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Connection, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import type { CID } from 'multiformats/cid'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { type Logger, silentLogger } from '../../src/base/log.ts'
import type { MeshInit } from '../../src/mesh/assemble.ts'
import { doors } from '../../src/mesh/doors.ts'
import type { Encrypter } from '../../src/mesh/encryption.ts'
import { createHost, type Host, startHost } from '../../src/mesh/host.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import type { Membership } from '../../src/mesh/membership.ts'
import { createMesh, type Mesh } from '../../src/mesh/mesh.ts'
import type { MeshNeeds } from '../../src/mesh/parts.ts'
import { cidOf, hexOf } from '../../src/wire/cid.ts'
import { createMembership, hire, membersOf } from './hiring.ts'

/** Blocks in memory. */
export class Blocks {
  readonly #bytes = new Map<string, Uint8Array>()
  reads = 0

  put(bytes: Uint8Array, cid: CID = cidOf(bytes)): CID {
    this.#bytes.set(hexOf(cid), bytes)
    return cid
  }

  async get(cid: CID): Promise<Uint8Array | undefined> {
    this.reads += 1
    return this.#bytes.get(hexOf(cid))
  }
}

export function someBytes(size: number): Uint8Array {
  return new Uint8Array(randomBytes(size))
}

const cleanups = new WeakMap<TestContext, (() => Promise<void>)[]>()

/** Runs `clean` after the test: the last one registered first, so that nodes stop before their directories go. */
export function afterwards(t: TestContext, clean: () => Promise<void>): void {
  const known = cleanups.get(t)
  if (known !== undefined) {
    known.push(clean)
    return
  }
  const stack = [clean]
  cleanups.set(t, stack)
  t.after(async () => {
    for (const next of stack.reverse()) await next()
  })
}

/** A directory that is gone after the test. */
export async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-mesh-'))
  afterwards(t, () => rm(directory, { recursive: true, force: true }))
  return directory
}

export interface TestMesh {
  mesh: Mesh
  blocks: Blocks
  stateDir: string
  membership: Membership
}

/** A mesh node on loopback without mDNS, stopped after the test. */
export async function makeMesh(
  t: TestContext,
  membership: Membership = createMembership({ name: 'test' }),
  init: Partial<MeshInit> = {},
  needs: Partial<MeshNeeds> = {},
): Promise<TestMesh> {
  const blocks = new Blocks()
  const stateDir = init.stateDir ?? (await temporaryDirectory(t))
  await hire(stateDir, membership)
  const mesh = await createMesh(
    {
      clock: systemClock,
      random: Math.random,
      log: silentLogger,
      source: blocks,
      lookup: async () => [],
      ...needs,
    },
    { stateDir, membership, name: 'node', listen: ['127.0.0.1'], mdns: false, ...init },
  )
  afterwards(t, () => mesh.stop())
  return { mesh, blocks, stateDir, membership }
}

/** Starts nodes of one mesh, each knowing the addresses of those before it, and waits until all see all. */
export async function connect(...nodes: TestMesh[]): Promise<void> {
  const all = nodes.flatMap((node, index) => nodes.slice(0, index).map((other) => bothUp(node.mesh, other.mesh)))
  const seeds: string[] = []
  for (const { mesh, membership } of nodes) {
    membership.seeds = [...seeds]
    await mesh.start()
    seeds.push(...mesh.addresses())
  }
  await Promise.all(all)
}

export async function bothUp(a: Mesh, b: Mesh): Promise<void> {
  await Promise.all([peerEvent(a, b.peerId, true), peerEvent(b, a.peerId, true)])
}

/** Waits until a peer comes up or goes down; must be called before that can happen. */
export function peerEvent(mesh: Mesh, peerId: string, up: boolean): Promise<void> {
  return new Promise((resolve) => {
    const stop = mesh.onPeer((who, isUp) => {
      if (who !== peerId || isUp !== up) return
      stop()
      resolve()
    })
  })
}

/** A libp2p node of the mesh that speaks no protocol of ours unless it is taught to: a member that may do anything. */
export async function makeHost(
  t: TestContext,
  membership: Membership,
  stateDir?: string,
  encrypters?: readonly Encrypter[],
): Promise<Host> {
  const directory = stateDir ?? (await temporaryDirectory(t))
  const members = await membersOf(directory, membership)
  const { clock, log } = { clock: systemClock, log: silentLogger }
  const host = await createHost({
    identity: await loadIdentity(directory),
    membership,
    encrypters: encrypters ?? doors({ clock, log, members }, membership),
    mayDial: () => true,
    stateDir: directory,
    listen: ['127.0.0.1'],
    log: silentLogger,
    interfaces: () => ({}),
  })
  afterwards(t, async () => {
    await host.end(2000)
    await members.saved()
  })
  await startHost(host)
  return host
}

/** Lets a host connect to a mesh node, until both know of it. */
export async function dial(host: Host, mesh: Mesh): Promise<Connection> {
  const connection = await host.dial(mesh.addresses().map((address) => multiaddr(address)))
  await host.services.ping.ping(connection.remotePeer)
  return connection
}

/** State directories of two nodes, the one with the lower peerId first: that node opens the control stream. */
export async function orderedDirectories(t: TestContext): Promise<[string, string]> {
  const directories = [await temporaryDirectory(t), await temporaryDirectory(t)] as const
  const [first, second] = await Promise.all(
    directories.map(async (directory) => (await loadIdentity(directory)).peerId),
  )
  return (first ?? '') < (second ?? '') ? [directories[0], directories[1]] : [directories[1], directories[0]]
}

/** Time that passes only when it is told to. */
export class ManualClock implements Clock {
  #now = Date.now()
  #slept = 0
  readonly #timers = new Set<{ at: number; run: () => void }>()

  get pending(): number {
    return this.#timers.size
  }

  now(): number {
    return this.#now
  }

  wall(): number {
    return this.#now + this.#slept
  }

  /** The machine sleeps: the wall clock goes on, timers do not. */
  sleep(ms: number): void {
    this.#slept += ms
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** The process is kept from running: time goes on, and timers come late. */
  stall(ms: number): void {
    this.#now += ms
  }

  /** Second by second, with real input and output in between. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 1000) {
      this.advance(Math.min(left, 1000))
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0]
      if (due === undefined) break
      this.#timers.delete(due)
      this.#now = Math.max(this.#now, due.at)
      due.run()
    }
    this.#now = end
  }
}

/** A log that remembers. */
export class LogBook implements Logger {
  readonly entries: { message: string; fields: Record<string, unknown> }[] = []
  readonly #waiting = new Set<() => void>()

  readonly debug = (message: string, fields: Record<string, unknown> = {}): void => this.#add(message, fields)
  readonly info = this.debug
  readonly warn = this.debug
  readonly error = this.debug

  child(): Logger {
    return this
  }

  /** Waits until an entry has the given code. */
  async code(code: string): Promise<void> {
    while (!this.entries.some((entry) => entry.fields.code === code)) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
  }

  #add(message: string, fields: Record<string, unknown>): void {
    this.entries.push({ message, fields })
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}

/** Resolves when the stream is gone. */
export function streamClosed(stream: Stream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.status !== 'open') resolve()
    else stream.addEventListener('close', () => resolve(), { once: true })
  })
}

/** Settles once a node takes a key for one of a member. */
export function certified({ mesh }: TestMesh, peerId: string): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (mesh.members.objectionTo(peerId) === undefined) resolve()
    }
    mesh.members.onChange(look)
    look()
  })
}
