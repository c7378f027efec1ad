import { type Datastore, Key } from 'interface-datastore'
import type { CID } from 'multiformats/cid'
import { z } from 'zod'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { limits } from '../plan/action.ts'
import type { Holding } from '../recall/candidates.ts'
import { isForOthers, readTrace } from '../recall/evidence.ts'
import { maxClaims as maxWords } from '../recall/judge.ts'
import { maxClaimBytes } from '../recall/signed-claim.ts'
import { cidSchema, decodeCbor, encodeCbor } from '../wire/cbor.ts'
import { digestOf, hexOf, readCid } from '../wire/cid.ts'
import type { Keep } from '../wire/generated/placement_pb.ts'
import { blocksOf, type Held, readResult, sizeOf } from './inventory.ts'

export interface PlacedNeeds {
  datastore: Datastore
  blocks: {
    get(cid: CID): Promise<Uint8Array | undefined>
    has(cid: CID): Promise<boolean>
    hold(cid: CID): () => void
  }
  /** Makes a block available here from one of `from`. */
  fetch(cid: CID, size: number, from: readonly string[], signal: AbortSignal): Promise<number>
  log: Logger
  /** What was kept for `peer` has gone: the room it took is free. */
  onLost(key: string, peer: string): void
}

interface Claim {
  /** Trace and blocks together. */
  bytes: number
  traceBytes: number
  blocks: { hex: string; size: number }[]
}

const prefix = '/placed/'
const maxBlocks = 17
const maxClaims = 100_000
/** Members that may have something kept under one action key. */
const maxMakers = 4
/** Results of one member that are fetched at once (it asks for fewer), and how long one may take: beyond what the slowest link needs. */
const maxFetches = 8
const leastFetchMs = 30_000
/** Of all the room, what one member may use: it cannot fill it. What several of its results share counts for each. */
const shareOfOne = 0.5
const leastBytesPerMs = 250

const recordSchema = z.strictObject({
  v: z.literal(1),
  trace: z.instanceof(Uint8Array),
  blocks: z.array(z.tuple([cidSchema, z.int().min(0)])).max(maxBlocks),
  /** Whose word it is; none in what was kept before there were claims. */
  claims: z.array(z.instanceof(Uint8Array)).max(maxWords).optional(),
})

/**
 * Results that other members keep here. Each stays the claim of the member that placed it: nothing of it counts as made
 * or checked here, and whoever recalls it here judges it as if that member had just answered.
 */
export class Placed {
  readonly #needs: PlacedNeeds
  readonly #maxBytes: number
  /** Action key → who placed something under it. */
  readonly #claims = new Map<string, Map<string, Claim>>()
  /** Block → claims (`key/peer`) that need it. */
  readonly #users = new Map<string, Set<string>>()
  readonly #fetches = new Map<string, number>()
  /** Bytes by who placed them, or is about to. */
  readonly #used = new Map<string, number>()
  readonly #stop = new AbortController()
  #bytes = 0
  /** Promised to what is being fetched. */
  #promised = 0
  #count = 0
  #onChange: (key: string) => void = () => undefined

  private constructor(needs: PlacedNeeds, maxBytes: number) {
    this.#needs = needs
    this.#maxBytes = maxBytes
  }

  /** @param maxBytes more than that is never kept for others */
  static async open(needs: PlacedNeeds, { maxBytes }: { maxBytes: number }): Promise<Placed> {
    const placed = new Placed(needs, maxBytes)
    for await (const { key, value } of needs.datastore.query({ prefix })) {
      const [hex = '', peer = ''] = key.toString().slice(prefix.length).split('/')
      const record = readRecord(value)
      if (record === undefined || placed.roomFor(peer) < costOf(record)) await needs.datastore.delete(key)
      else placed.#add(hex, peer, record)
    }
    return placed
  }

  /** Bytes that others may still place here. */
  get room(): number {
    return Math.max(0, this.#maxBytes - this.#bytes - this.#promised)
  }

  /** Bytes that one member may still place here. */
  roomFor(peer: string): number {
    const share = Math.floor(this.#maxBytes * shareOfOne) - (this.#used.get(peer) ?? 0)
    return Math.max(0, Math.min(this.room, share))
  }

  get stats(): { results: number; bytes: number; maxBytes: number } {
    return { results: this.#count, bytes: this.#bytes, maxBytes: this.#maxBytes }
  }

  /** Action keys under which something is kept. */
  keys(): IterableIterator<string> {
    return this.#claims.keys()
  }

  has(key: string): boolean {
    return this.#claims.has(key)
  }

  /** @param onChange something of this action key (hex) is kept now, or no longer */
  listen(onChange: (key: string) => void): void {
    this.#onChange = onChange
  }

  stop(): void {
    this.#stop.abort(new ShoalError('ERR_PEER_LOST', 'stopped'))
  }

  /** A member asks this node to keep a result. Resolves with whether it does; never rejects. */
  async keep(peer: string, message: Keep): Promise<boolean> {
    const held = readKeep(message)
    if (held === undefined) {
      this.#needs.log.info('not a result that can be kept for others', { code: 'ERR_DECODE', peer })
      return false
    }
    const makers = this.#claims.get(held.key)
    if (makers?.has(peer)) return true
    const size = held.bytes + held.trace.length
    const busy = this.#fetches.get(peer) ?? 0
    const isFull = size > this.roomFor(peer) || this.#count >= maxClaims || (makers?.size ?? 0) >= maxMakers
    if (isFull || busy >= maxFetches || this.#stop.signal.aborted) return false
    this.#promised += size
    this.#use(peer, size)
    this.#fetches.set(peer, busy + 1)
    const releases = held.blocks.map(({ cid }) => this.#needs.blocks.hold(cid))
    try {
      await this.#fetchAll(peer, held)
      await this.#needs.datastore.put(nameOf(held.key, peer), encodeCbor(recordOf(held)).bytes)
      if (!this.#claims.get(held.key)?.has(peer)) this.#add(held.key, peer, recordOf(held))
      this.#onChange(held.key)
      return true
    } catch (error) {
      const { code, message: text } = toShoalError(error)
      this.#needs.log.info('result not kept for a member', { code, peer, message: text })
      return false
    } finally {
      for (const release of releases) release()
      this.#promised -= size
      this.#use(peer, -size)
      this.#fetches.set(peer, (this.#fetches.get(peer) ?? 1) - 1)
    }
  }

  /** A member needs this no longer. */
  async release(peer: string, key: string): Promise<void> {
    if (this.#claims.get(key)?.has(peer)) await this.#remove(key, peer)
  }

  /** Blocks (hex) have left the store. */
  async evicted(blocks: readonly string[]): Promise<void> {
    const names = new Set(blocks.flatMap((block) => [...(this.#users.get(block) ?? [])]))
    for (const name of names) {
      const [key = '', peer = ''] = name.split('/')
      await this.#remove(key, peer)
      this.#needs.onLost(key, peer)
    }
  }

  /** What is kept of an action key, complete, and by whom it was placed. */
  async claims(key: string): Promise<Holding[]> {
    const found: Holding[] = []
    for (const peer of this.#claims.get(key)?.keys() ?? []) {
      const held = await this.held(key, peer)
      if (held !== undefined) found.push({ peer, traces: [held.trace], claims: held.claims })
    }
    return found
  }

  /** What `peer` placed under an action key; undefined when not all of it is here. */
  async held(key: string, peer: string): Promise<Offered | undefined> {
    if (!this.#claims.get(key)?.has(peer)) return undefined
    let record: PlacedRecord | undefined
    try {
      record = readRecord(await this.#needs.datastore.get(nameOf(key, peer)))
    } catch (error) {
      this.#needs.log.info('what was placed here cannot be read', { code: codeOf(error), peer })
    }
    if (record === undefined) return undefined
    const blocks = record.blocks.map(([cid, size]) => ({ cid, size }))
    for (const { cid } of blocks) if (!(await this.#needs.blocks.has(cid))) return undefined
    return { key, trace: record.trace, blocks, bytes: sizeOf(blocks), claims: record.claims ?? [] }
  }

  /** Everybody who has something kept here, with the action keys. */
  makers(): Map<string, string[]> {
    const makers = new Map<string, string[]>()
    for (const [key, claims] of this.#claims) {
      for (const peer of claims.keys()) makers.set(peer, [...(makers.get(peer) ?? []), key])
    }
    return makers
  }

  async #fetchAll(peer: string, { key, trace: bytes, blocks, bytes: size }: Offered): Promise<void> {
    const timeout = AbortSignal.timeout(leastFetchMs + Math.ceil(size / leastBytesPerMs))
    const signal = AbortSignal.any([this.#stop.signal, timeout])
    const [first, ...rest] = blocks
    const trace = readTrace(bytes)
    if (first === undefined || trace === undefined) throw new ShoalError('ERR_DECODE', 'no result')
    await this.#needs.fetch(first.cid, first.size, [peer], signal)
    const encoded = await this.#needs.blocks.get(first.cid)
    const result = encoded && readResult(encoded)
    const named = result && blocksOf(first.cid, first.size, result)
    const isSame =
      named?.length === blocks.length &&
      named.every(({ cid, size }, at) => blocks[at]?.cid.equals(cid) && blocks[at]?.size === size)
    if (!isSame || hexOf(result?.action ?? first.cid) !== key) throw new ShoalError('ERR_OUTPUT', 'another result')
    for (const { cid, size } of rest) await this.#needs.fetch(cid, size, [peer], signal)
  }

  #use(peer: string, bytes: number): void {
    const used = (this.#used.get(peer) ?? 0) + bytes
    if (used > 0) this.#used.set(peer, used)
    else this.#used.delete(peer)
  }

  #add(key: string, peer: string, record: PlacedRecord): void {
    const blocks = record.blocks.map(([cid, size]) => ({ hex: hexOf(cid), size }))
    const claim: Claim = { bytes: costOf(record), traceBytes: record.trace.length, blocks }
    const claims = this.#claims.get(key) ?? new Map<string, Claim>()
    this.#claims.set(key, claims.set(peer, claim))
    this.#count += 1
    this.#use(peer, claim.bytes)
    this.#bytes += claim.traceBytes
    for (const { hex, size } of blocks) {
      const users = this.#users.get(hex) ?? new Set()
      // What two members placed takes room once.
      if (users.size === 0) this.#bytes += size
      this.#users.set(hex, users.add(`${key}/${peer}`))
    }
  }

  async #remove(key: string, peer: string): Promise<void> {
    const claims = this.#claims.get(key)
    const claim = claims?.get(peer)
    if (claims === undefined || claim === undefined) return
    claims.delete(peer)
    this.#count -= 1
    this.#use(peer, -claim.bytes)
    this.#bytes -= claim.traceBytes
    for (const { hex, size } of claim.blocks) {
      const users = this.#users.get(hex)
      users?.delete(`${key}/${peer}`)
      if (users?.size !== 0) continue
      this.#users.delete(hex)
      this.#bytes -= size
    }
    if (claims.size === 0) {
      this.#claims.delete(key)
      this.#onChange(key)
    }
    try {
      await this.#needs.datastore.delete(nameOf(key, peer))
    } catch (error) {
      this.#needs.log.warn('what was placed here cannot be forgotten', { code: 'ERR_STORE', reason: codeOf(error) })
    }
  }
}

interface PlacedRecord {
  v: 1
  trace: Uint8Array
  blocks: [CID, number][]
  claims?: Uint8Array[] | undefined
}

/** A result that a member gives to this node to keep. */
type Offered = Omit<Held, 'costMs'> & { claims: Uint8Array[] }

const nameOf = (key: string, peer: string): Key => new Key(`${prefix}${key}/${peer}`, false)

const costOf = ({ trace, blocks }: PlacedRecord): number => blocks.reduce((sum, [, size]) => sum + size, trace.length)

const recordOf = ({ trace, blocks, claims }: Pick<Offered, 'trace' | 'blocks' | 'claims'>): PlacedRecord => ({
  v: 1,
  trace,
  blocks: blocks.map(({ cid, size }) => [cid, size]),
  ...(claims.length === 0 ? {} : { claims }),
})

function readRecord(bytes: Uint8Array): PlacedRecord | undefined {
  try {
    return decodeCbor(bytes, recordSchema, limits.trace + (1 << 17))
  } catch (error) {
    if (codeOf(error) === 'ERR_DECODE') return undefined
    throw error
  }
}

/** What a member wants to have kept; undefined when it cannot be a result that holds for others. */
function readKeep({ key, trace: bytes, blocks: named, claims }: Keep): Offered | undefined {
  if (claims.length > maxWords || claims.some(({ length }) => length > maxClaimBytes)) return undefined
  if (key.length !== 32 || named.length === 0 || named.length > maxBlocks || bytes.length > limits.trace)
    return undefined
  const trace = readTrace(bytes)
  if (trace === undefined || !isForOthers(trace) || Buffer.compare(digestOf(trace.action), key) !== 0) return undefined
  let blocks: { cid: CID; size: number }[]
  try {
    blocks = named.map(({ cid, size }) => ({ cid: readCid(cid), size: Number(size) }))
  } catch (error) {
    if (codeOf(error) === 'ERR_DECODE') return undefined
    throw error
  }
  const [first] = blocks
  if (first === undefined || !first.cid.equals(trace.result) || first.size > limits.result) return undefined
  if (!blocks.every(({ size }) => Number.isSafeInteger(size))) return undefined
  return { key: hexOf(trace.action), trace: bytes, blocks, bytes: sizeOf(blocks), claims }
}
