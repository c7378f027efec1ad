import type { CID } from 'multiformats/cid'
import type { Clock, Random } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { RangeKind, type RangeReply } from '../wire/generated/block_pb.ts'
import { BlockAssembly, ChunkPart } from './block-assembly.ts'
import type { IncomingBlock } from './block-server.ts'
import type { ChunkBuffers } from './chunk-buffers.ts'
import { ChunkProof, type LargeFile } from './chunk-proof.ts'
import { type ChunkSource, ChunkSources } from './chunk-sources.ts'
import type { Lanes } from './lanes.ts'
import { chunkBytes, chunkCount, chunkLength, maxManifestBytes } from './manifest.ts'

export interface LargeFetchNeeds {
  clock: Clock
  random: Random
  log: Logger
  lanes: Lanes
  buffers: ChunkBuffers
  /** This node: it may be named as one of those that ask. */
  self: string
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
const meetMs = 1000
const askAgainMs = 500
const maxRefusals = 50
const busyMs = 200
const failedMs = 1000
const maxFailures = 3
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
  readonly #end = Promise.withResolvers<void>()
  readonly #todo: Set<number>
  readonly #flights = new Map<number, Flight[]>()
  /** Chunks of which something has arrived, from a source that failed since. */
  readonly #begun = new Map<number, ChunkPart>()
  readonly #proof: ChunkProof
  readonly #errors: ShoalError[] = []
  #file: LargeFile | undefined
  #done = 0
  #chunkMs: number | undefined
  #cancelTick: (() => void) | undefined
  #waitsForBuffer = false
  #idleSince: number | undefined
  #ended = false

  /** @param options `shared`: other sources than those that are added may be used, and several at once */
  constructor(needs: LargeFetchNeeds, cid: CID, size: number, options: { signal: AbortSignal; shared: boolean }) {
    this.#needs = needs
    this.cid = cid
    this.size = size
    this.#signal = options.signal
    this.#isShared = options.shared
    this.#sources = new ChunkSources(needs.random)
    this.#todo = new Set(Array.from({ length: chunkCount(size) }, (_, index) => index))
    this.#proof = new ChunkProof(size)
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

  async read(offset: number, length: number): Promise<Uint8Array | undefined> {
    const index = Math.floor(offset / chunkBytes)
    if (!this.#proof.verified.has(index) || offset + length > (index + 1) * chunkBytes) return undefined
    return await this.#file?.read(offset, length)
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
      await this.#meetOthers()
      this.#fill()
      this.#tick()
      await this.#end.promise
      await this.#judge(file)
    } finally {
      this.#ended = true
      this.#cancelTick?.()
      this.#signal.removeEventListener('abort', onAbort)
      for (const { cancel } of [...this.#flights.values()].flat()) cancel.abort(ended)
      for (const part of this.#begun.values()) this.#needs.buffers.give(part.buffer)
      this.#begun.clear()
    }
  }

  /** Who begins at the same time as others had better not begin with the same chunks. */
  async #meetOthers(): Promise<void> {
    const [source] = this.#sources.all()
    if (source === undefined || !this.#isShared) return
    const onReply = (reply: RangeReply): void => this.#hear(reply)
    const nobody = new BlockAssembly(this.cid, 0, { kind: RangeKind.OTHERS, onReply })
    try {
      const lane = await this.#needs.lanes.to(source.peerId, this.#signal)
      await lane.read(nobody, AbortSignal.any([this.#signal, AbortSignal.timeout(meetMs)]))
    } catch (error) {
      this.#signal.throwIfAborted()
      // It will be asked for chunks all the same, and judged by these.
      const { code } = toShoalError(error, 'ERR_PEER_LOST')
      this.#needs.log.debug('it is not known who else asks', { peer: source.peerId, code })
    }
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
    this.#idleSince = this.#flights.size > 0 || this.#waitsForBuffer ? undefined : (this.#idleSince ?? now)
    if (this.#idleSince !== undefined && now - this.#idleSince > maxIdleMs) {
      this.#fail(new ShoalError('ERR_DEADLINE', `nobody has the rest of ${this.cid}`))
    }
  }

  /** Asks for whatever can be asked for now. */
  #fill(): void {
    if (this.#ended) return
    const all = this.#sources.all()
    const isAlone = all.length <= 1 || this.manifest === undefined
    const inOrder = all.length <= 1
    const now = this.#needs.clock.now()
    if (all.length > 1) for (const source of all) this.#inquire(source)
    for (const source of isAlone ? all.filter(({ state }) => state === 'whole').slice(0, 1) : all) {
      while (source.active < perSource && source.state !== 'gone' && source.restsUntil <= now) {
        const index = inOrder ? this.#todo.values().next().value : this.#sources.pick(source, this.#todo)
        if (!this.#begin(source, index ?? this.#slow(source))) break
      }
    }
    if (this.#sources.isEmpty() && this.#flights.size === 0 && !all.some(({ asking }) => asking)) {
      this.#fail(this.#errors[0] ?? new ShoalError('ERR_BLOCK_MISSING', `nobody to ask for ${this.cid}`))
    }
  }

  /** A chunk that another source takes too long for, when nothing else is left to do. */
  #slow(source: ChunkSource): number | undefined {
    if (this.#chunkMs === undefined || source.active > 0) return undefined
    const before = this.#needs.clock.now() - this.#chunkMs * slowFactor - askAgainMs
    const late = [...this.#flights].filter(
      ([, flights]) =>
        flights.length === 1 && flights.every((flight) => flight.since < before && flight.source !== source),
    )
    return this.#sources.pick(
      source,
      late.map(([index]) => index),
    )
  }

  #begin(source: ChunkSource, index: number | undefined): boolean {
    if (index === undefined) return false
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
      part = new ChunkPart(chunk, buffer, (_peerId, reply) => this.#hear(reply))
    }
    this.#todo.delete(index)
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
        const lane = await this.#needs.lanes.to(source.peerId, cancel.signal)
        await lane.read(part, cancel.signal)
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
    if (others.length === 0) this.#todo.add(index)
    this.#note(source, error)
  }

  /** What a failure says about a source. */
  #note(source: ChunkSource, error: ShoalError): void {
    source.refusals += 1
    if (error.code === 'ERR_BLOCK_MISMATCH') this.#lied(source)
    else if (error.code === 'ERR_LIMIT' && source.refusals < maxRefusals) {
      source.restsUntil = this.#needs.clock.now() + busyMs
      return
    } else if (error.code === 'ERR_BLOCK_MISSING' && source.state === 'partial') source.have = undefined
    else if (this.#isShared && transient.has(error.code) && ++source.failures < maxFailures) {
      source.restsUntil = this.#needs.clock.now() + failedMs * source.failures
    } else source.state = 'gone'
    this.#errors.push(error)
  }

  #lied(source: ChunkSource): void {
    source.state = 'gone'
    this.#proof.liars.add(source.peerId)
    this.#needs.log.warn('wrong bytes', { peer: source.peerId, cid: this.cid.toString(), code: 'ERR_BLOCK_MISMATCH' })
  }

  /** Others that ask for the block were named. */
  #hear({ others }: RangeReply): void {
    if (!this.#isShared) return
    for (const other of others) {
      if (other !== this.#needs.self && !this.#proof.liars.has(other)) this.#sources.add(other, 'unknown')
    }
  }

  /** Asks a source for the manifest, or, once that is known, which chunks it has by now. */
  #inquire(source: ChunkSource): void {
    const needed = this.manifest === undefined || source.state === 'unknown' || source.state === 'partial'
    const now = this.#needs.clock.now()
    if (!needed || source.asking || now - source.askedAt < (this.manifest === undefined ? tickMs : askAgainMs)) return
    source.asking = true
    source.askedAt = now
    this.#ask(source).then(
      () => {
        source.asking = false
        this.#fill()
      },
      (error: unknown) => {
        source.asking = false
        const failure = toShoalError(error, 'ERR_PEER_LOST')
        // One that was named may not have begun yet; one that has the block may be busy making its manifest.
        const isLate = failure.code === 'ERR_BLOCK_MISSING' && source.state === 'unknown'
        if (!this.#ended && !(isLate && source.refusals++ < maxRefusals)) this.#note(source, failure)
        this.#fill()
      },
    )
  }

  async #ask(source: ChunkSource): Promise<void> {
    let have: Uint8Array | undefined
    const onReply = (reply: RangeReply): void => {
      have ??= reply.have
      this.#hear(reply)
    }
    const assembly = new BlockAssembly(this.cid, maxManifestBytes, { kind: RangeKind.MANIFEST, onReply })
    const lane = await this.#needs.lanes.to(source.peerId, this.#signal)
    await lane.read(assembly, this.#signal)
    if (this.#ended || assembly.bytes === undefined) return
    if (!this.#proof.vouch(source.peerId, assembly.bytes)) {
      // Either may be wrong; the whole will tell. Its chunks cannot be judged by this manifest.
      throw new ShoalError('ERR_DECODE', `another manifest of ${this.cid} at ${source.peerId}`)
    }
    source.refusals = 0
    this.#sources.learn(source, have ?? new Uint8Array(), this.#count)
    if (this.#file === undefined || (await this.#proof.checkEarlier(this.#file))) return
    this.#fail(new ShoalError('ERR_BLOCK_MISMATCH', `${this.cid}: wrong bytes`))
  }
}

const transient: ReadonlySet<string> = new Set(['ERR_DEADLINE', 'ERR_PEER_LOST'])
const ended = new ShoalError('ERR_PEER_LOST', 'the chunk is no longer needed')
