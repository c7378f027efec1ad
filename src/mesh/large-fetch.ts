import type { CID } from 'multiformats/cid'
import type { Clock, Random } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { ChunkPart } from './block-assembly.ts'
import type { IncomingBlock } from './block-server.ts'
import type { ChunkBuffers } from './chunk-buffers.ts'
import { ChunkProof, type LargeFile } from './chunk-proof.ts'
import { type ChunkSource, ChunkSources } from './chunk-sources.ts'
import { Inquiries, maxRefusals } from './inquiries.ts'
import type { Lanes } from './lanes.ts'
import { chunkBytes, chunkCount, chunkLength } from './manifest.ts'

export interface LargeFetchNeeds {
  clock: Clock
  random: Random
  log: Logger
  lanes: Lanes
  buffers: ChunkBuffers
  /** This node: it may be named as one of those that ask. */
  self: string
  /** A connection to the member is open. */
  isConnected(peerId: string): boolean
}

/** A chunk that is on its way. */
interface Flight {
  source: ChunkSource
  since: number
  cancel: AbortController
}

/** From one source: the next chunk is asked for before the last byte of this one is here. */
const perSource = 3
const tickMs = 100
/** Beyond that a chunk is not slow, whatever others take. */
const slowMs = 500
const busyMs = 200
const maxBusyMs = 2000
/** After the first failure; twice as long after each that follows. */
const failedMs = 500
const maxFailures = 5
const maxIdleMs = 10_000
/** A chunk that takes so many times as long as others do is asked of a second source as well. */
const slowFactor = 1.5

/**
 * One transfer of a large block. From a single source the chunks come in order, and the whole tells whether they are right. As
 * soon as others are known who have or fetch the block, the chunk manifest is asked for: then each chunk is compared by
 * itself, may come from anybody, and is passed on to others from here.
 */
export class LargeFetch implements IncomingBlock {
  readonly size: number
  readonly cid: CID
  readonly #needs: LargeFetchNeeds
  readonly #sources: ChunkSources
  readonly #signal: AbortSignal
  readonly #isShared: boolean
  readonly #once: boolean
  readonly #end = Promise.withResolvers<void>()
  readonly #unasked: Set<number>
  readonly #flights = new Map<number, Flight[]>()
  /** Chunks of which something has arrived, from a source that failed since. */
  readonly #begun = new Map<number, ChunkPart>()
  readonly #proof: ChunkProof
  readonly #inquiries: Inquiries
  readonly #errors: ShoalError[] = []
  #file: LargeFile | undefined
  #done = 0
  #chunkMs: number | undefined
  #cancelTick: (() => void) | undefined
  #waitsForBuffer = false
  /** A lane is full. */
  #waitsForRoom = false
  /** Sources are told apart by it in the lines before full lanes. */
  readonly #onRoom = (): void => this.#fill()
  #idleSince: number | undefined
  #ended = false

  /**
   * @param options `shared`: other sources than those that are added may be used, and several at once; `once`: what fell silent is
   *   not asked again
   */
  constructor(
    needs: LargeFetchNeeds,
    cid: CID,
    size: number,
    options: { signal: AbortSignal; shared: boolean; once?: boolean },
  ) {
    this.#needs = needs
    this.cid = cid
    this.size = size
    this.#signal = options.signal
    this.#isShared = options.shared
    this.#once = options.once === true
    this.#sources = new ChunkSources(needs.random, needs.self)
    this.#unasked = new Set(Array.from({ length: chunkCount(size) }, (_, index) => index))
    this.#proof = new ChunkProof(size)
    this.#inquiries = new Inquiries(needs, {
      cid,
      size,
      signal: options.signal,
      sources: this.#sources,
      proof: this.#proof,
      isShared: options.shared,
      onManifest: () => this.#checkEarlier(),
      onAnswer: () => this.#fill(),
      onFailure: (source, error) => this.#note(source, error),
    })
  }

  get #count(): number {
    return chunkCount(this.size)
  }

  get manifest(): Uint8Array | undefined {
    return this.#proof.manifest
  }

  have(): Uint8Array {
    return this.#proof.verified.bits
  }

  async read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array | undefined> {
    const index = Math.floor(offset / chunkBytes)
    if (!this.#proof.verified.has(index) || offset + length > (index + 1) * chunkBytes) return undefined
    return await this.#file?.read(offset, length, into)
  }

  /** Members that are believed to have the block. */
  addSources(peerIds: readonly string[]): void {
    for (const peerId of peerIds) if (!this.#proof.liars.has(peerId)) this.#sources.add(peerId, 'whole')
    if (this.#file !== undefined) this.#fill()
  }

  /**
   * @throws ShoalError ERR_BLOCK_MISMATCH when what arrived is something else, or why no source delivered; the signal's
   *   reason
   */
  async run(file: LargeFile): Promise<void> {
    this.#file = file
    const onAbort = (): void => this.#fail(toShoalError(this.#signal.reason))
    this.#signal.addEventListener('abort', onAbort, { once: true })
    try {
      this.#signal.throwIfAborted()
      const [first] = this.#sources.all()
      const failure = first !== undefined && this.#isShared ? await this.#inquiries.meet(first) : undefined
      if (first !== undefined && failure !== undefined && this.#once && transient.has(failure.code))
        this.#note(first, failure)
      this.#fill()
      this.#tick()
      await this.#end.promise
      await this.#judge(file)
    } finally {
      this.#ended = true
      this.#cancelTick?.()
      this.#needs.lanes.leave(this.#onRoom)
      this.#signal.removeEventListener('abort', onAbort)
      for (const { cancel } of [...this.#flights.values()].flat()) cancel.abort(ended)
      for (const part of this.#begun.values()) this.#needs.buffers.give(part.buffer)
      this.#begun.clear()
    }
  }

  async #checkEarlier(): Promise<void> {
    if (this.#ended || this.#file === undefined || (await this.#proof.checkEarlier(this.#file))) return
    this.#fail(new ShoalError('ERR_BLOCK_MISMATCH', `${this.cid}: wrong bytes`))
  }

  async #judge(file: LargeFile): Promise<void> {
    if (file.matches(this.cid)) return
    await this.#proof.blame(file)
    const liars = [...this.#proof.liars].join(', ')
    throw new ShoalError('ERR_BLOCK_MISMATCH', `${this.cid}: wrong bytes from ${liars || 'somebody'}`)
  }

  #fail(error: unknown): void {
    this.#ended = true
    this.#end.reject(error)
  }

  #tick(): void {
    this.#cancelTick = this.#needs.clock.after(tickMs, () => {
      if (this.#ended) return
      this.#fill()
      this.#checkIdle()
      if (!this.#ended) this.#tick()
    })
  }

  /** Members that wait for each other would wait for ever. */
  #checkIdle(): void {
    const now = this.#needs.clock.now()
    const isBusy = this.#flights.size > 0 || this.#waitsForBuffer || this.#waitsForRoom
    this.#idleSince = isBusy ? undefined : (this.#idleSince ?? now)
    if (this.#idleSince !== undefined && now - this.#idleSince > maxIdleMs) {
      this.#fail(new ShoalError('ERR_DEADLINE', `nobody has the rest of ${this.cid}`, { cause: this.#errors.at(-1) }))
    }
  }

  /** Asks for whatever can be asked for now. */
  #fill(): void {
    if (this.#ended) return
    const all = this.#sources.all()
    const isAlone = all.length <= 1 && all[0]?.state !== 'partial'
    if (!isAlone) for (const source of all) this.#inquiries.ask(source)
    // What others are getting is had from them rather than from those with all of it.
    const inTurn = all.toSorted((a, b) => Number(a.state === 'whole') - Number(b.state === 'whole'))
    const hasManifest = this.manifest !== undefined
    this.#waitsForRoom = false
    for (const source of hasManifest ? inTurn : all.filter(({ state }) => state === 'whole').slice(0, 1)) {
      this.#askFor(source, isAlone)
    }
    if (this.#sources.isEmpty() && this.#flights.size === 0 && !all.some(({ asking }) => asking)) {
      this.#fail(this.#errors[0] ?? new ShoalError('ERR_BLOCK_MISSING', `nobody to ask for ${this.cid}`))
    }
  }

  #askFor(source: ChunkSource, inOrder: boolean): void {
    const { clock, lanes } = this.#needs
    while (source.active < perSource && source.state !== 'gone' && source.restsUntil <= clock.now()) {
      if (!lanes.mayAsk(source.peerId, this.#onRoom)) {
        this.#waitsForRoom = true
        return
      }
      const next = inOrder ? this.#unasked.values().next().value : this.#sources.pick(source, this.#unasked)
      const index = next ?? this.#slow(source)
      if (index === undefined || !this.#begin(source, index)) return
    }
  }

  /** A chunk that another source takes too long for, when nothing else is left to do. */
  #slow(source: ChunkSource): number | undefined {
    if (this.#chunkMs === undefined || source.active > 0 || this.#unasked.size > 0) return undefined
    const before = this.#needs.clock.now() - this.#chunkMs * slowFactor - slowMs
    const late = [...this.#flights].filter(
      ([, flights]) =>
        flights.length === 1 && flights.every((flight) => flight.since < before && flight.source !== source),
    )
    return this.#sources.pick(
      source,
      late.map(([index]) => index),
    )
  }

  #begin(source: ChunkSource, index: number): boolean {
    let part = this.#begun.get(index)
    this.#begun.delete(index)
    if (part === undefined) {
      const buffer = this.#needs.buffers.take()
      if (buffer === undefined) {
        this.#waitForBuffer()
        return false
      }
      const [offset, length] = [index * chunkBytes, chunkLength(this.size, index)]
      const chunk = { cid: this.cid, index, offset, length, blockSize: this.size }
      part = new ChunkPart(chunk, buffer, (peerId, reply) => this.#inquiries.hear(peerId, reply))
    }
    this.#unasked.delete(index)
    const flight: Flight = { source, since: this.#needs.clock.now(), cancel: new AbortController() }
    this.#flights.set(index, [...(this.#flights.get(index) ?? []), flight])
    source.active += 1
    void this.#fetch(part, flight)
    return true
  }

  #waitForBuffer(): void {
    if (this.#waitsForBuffer) return
    this.#waitsForBuffer = true
    this.#needs.buffers.whenFree(() => {
      this.#waitsForBuffer = false
      this.#fill()
    })
  }

  async #fetch(part: ChunkPart, flight: Flight): Promise<void> {
    const { source, cancel, since } = flight
    const { index } = part
    try {
      try {
        const { lanes } = this.#needs
        const lane = lanes.opened(source.peerId) ?? (await lanes.to(source.peerId, cancel.signal))
        await lane.read(part, cancel.signal)
        source.failures = 0
        source.refusals = 0
      } finally {
        source.active -= 1
      }
      this.#fill()
      const ms = this.#needs.clock.now() - since
      this.#chunkMs = this.#chunkMs === undefined ? ms : this.#chunkMs * 0.8 + ms * 0.2
      await this.#accept(part, flight)
      this.#needs.buffers.give(part.buffer)
    } catch (error) {
      if (this.#flights.get(index)?.includes(flight) !== true || this.#ended) this.#needs.buffers.give(part.buffer)
      else this.#failed(part, flight, toShoalError(error, 'ERR_PEER_LOST'))
    }
    if (!this.#ended) this.#fill()
  }

  async #accept(part: ChunkPart, { source }: Flight): Promise<void> {
    const { index } = part
    const isRight = this.#proof.check(index, part.bytes)
    if (isRight === false) {
      if (part.contributors.size === 1) this.#lied(source)
      part.restart()
      throw new ShoalError('ERR_BLOCK_MISMATCH', `${this.cid}: wrong bytes from ${source.peerId}`)
    }
    // From here on nobody else's copy of it counts.
    for (const other of this.#flights.get(index) ?? []) if (other.source !== source) other.cancel.abort(ended)
    this.#flights.delete(index)
    if (this.#ended) return
    try {
      await this.#file?.write(part.offset, part.bytes)
    } catch (error) {
      this.#fail(error)
      return
    }
    this.#proof.written(index, isRight === true, part.contributors)
    this.#done += 1
    if (this.#done === this.#count) this.#end.resolve()
  }

  #failed(part: ChunkPart, flight: Flight, error: ShoalError): void {
    const { source } = flight
    const { index } = part
    const others = (this.#flights.get(index) ?? []).filter((other) => other !== flight)
    if (others.length > 0) this.#flights.set(index, others)
    else this.#flights.delete(index)
    if (others.length > 0 || part.position === part.offset) this.#needs.buffers.give(part.buffer)
    else this.#begun.set(index, part)
    if (others.length === 0) this.#unasked.add(index)
    this.#note(source, error)
  }

  /** What a failure says about a source. */
  #note(source: ChunkSource, error: ShoalError): void {
    if (this.#ended) return
    const now = this.#needs.clock.now()
    source.refusals += 1
    if (error.code === 'ERR_BLOCK_MISMATCH') this.#lied(source)
    else if (error.code === 'ERR_LIMIT' && source.refusals < maxRefusals) {
      source.restsUntil = now + Math.min(maxBusyMs, busyMs * source.refusals)
      return
    } else if (error.code === 'ERR_BLOCK_MISSING' && source.state === 'partial') source.have = undefined
    else if (!this.#once && transient.has(error.code) && this.#needs.isConnected(source.peerId)) {
      // All chunks that were on their way over one stream fail together.
      if (source.restsUntil > now) return
      source.restsUntil = now + failedMs * 2 ** source.failures
      source.failures += 1
      if (source.failures >= maxFailures) source.state = 'gone'
    } else source.state = 'gone'
    this.#errors.push(error)
  }

  #lied(source: ChunkSource): void {
    source.state = 'gone'
    this.#proof.liars.add(source.peerId)
    this.#needs.log.warn('wrong bytes', { peer: source.peerId, cid: this.cid.toString(), code: 'ERR_BLOCK_MISMATCH' })
  }
}

/** What says nothing against a source: it may be asked again. */
export const transient: ReadonlySet<string> = new Set(['ERR_DEADLINE', 'ERR_PEER_LOST'])
const ended = new ShoalError('ERR_PEER_LOST', 'the chunk is no longer needed')
