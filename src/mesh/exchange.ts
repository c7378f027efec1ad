import type { Stream } from '@libp2p/interface'
import type { CID } from 'multiformats/cid'
import type { Clock, Random } from '../base/clock.ts'
import { type ErrorCode, ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { Gate } from '../store/gate.ts'
import { hexOf } from '../wire/cid.ts'
import { abortable } from './abortable.ts'
import { BlockAssembly } from './block-assembly.ts'
import type { IncomingBlock } from './block-server.ts'
import { ChunkBuffers } from './chunk-buffers.ts'
import type { LargeFile } from './chunk-proof.ts'
import { Lanes } from './lanes.ts'
import { LargeFetch, transient } from './large-fetch.ts'
import { spend } from './spent.ts'

export interface ExchangeNeeds {
  clock: Clock
  random: Random
  log: Logger
  /** This node's peer id. */
  self: string
  /** Opens a block stream to a member, connecting to it when necessary. */
  open(peerId: string, signal: AbortSignal): Promise<Stream>
  /** A connection to the member is open. */
  isConnected(peerId: string): boolean
  /** A second source is asked for what a slow one owes. */
  onHedge?(): void
}

export interface FetchOptions {
  /** Peers that may have the block, the likeliest first. */
  from: readonly string[]
  /** The size that was declared for it; a larger block is refused before it is read. */
  maxBytes: number
  signal?: AbortSignal
  /** There is another way to what the block holds: a source that fell silent is not asked again. Default: false. */
  once?: boolean
}

export interface FetchFileOptions {
  from: readonly string[]
  /** The very size. */
  size: number
  signal: AbortSignal
  /** As in `FetchOptions`, unless somebody waits for the block already. */
  once?: boolean
  /** Makes a file for the block and keeps it once `fill` has resolved. Called again when wrong bytes came. */
  keep(fill: (file: LargeFile) => Promise<void>): Promise<void>
}

/** One block on its way, for everybody who asked for it. */
interface Flight {
  sources: string[]
  seen: Set<string>
  waiting: number
  /** Nobody needs it so much that a source is asked again. */
  once: boolean
  /** Somebody has the bytes who may keep them. */
  isKept: boolean
  cancel: AbortController
  bytes: Promise<Uint8Array>
}

const maxFlights = 64
const maxLarge = 4
/** Memory for chunks: 16 MiB. */
const maxChunkBuffers = 16
/** How often a source that fell silent or broke off is asked again while a connection to it lives, and after how long first. */
const maxAgain = 3
const againMs = 250
const busyRetries = 5
const busyDelayMs = 50
/** A second source is asked for at most one block in so many. */
const hedgeShare = 10
/** What to report when every source failed: the first of these that any of them gave. */
const worst: readonly ErrorCode[] = [
  'ERR_BLOCK_MISMATCH',
  'ERR_BLOCK_TOO_LARGE',
  'ERR_DEADLINE',
  'ERR_DECODE',
  'ERR_PEER_LOST',
  'ERR_LIMIT',
  'ERR_BLOCK_MISSING',
]

/** Fetches blocks from members: small ones into memory, large ones chunk by chunk into a file. */
export class BlockExchange {
  readonly #needs: ExchangeNeeds
  readonly #lanes: Lanes
  readonly #flights = new Map<string, Flight>()
  readonly #small = new Gate(maxFlights)
  readonly #large = new Gate(maxLarge)
  readonly #buffers = new ChunkBuffers(maxChunkBuffers)
  /** By hex: large blocks on their way, which others can have the finished chunks of. */
  readonly #incoming = new Map<string, LargeFetch>()
  /** By hex: everybody who waits for a large block waits for one transfer. */
  readonly #files = new Map<string, Promise<void>>()
  #hedgeCredit = 1

  constructor(needs: ExchangeNeeds) {
    this.#needs = needs
    this.#lanes = new Lanes(needs)
  }

  /**
   * The bytes that `cid` names, verified. Two calls for one block share one transfer, and the sources of both.
   * @throws ShoalError ERR_BLOCK_MISSING, ERR_BLOCK_MISMATCH, ERR_BLOCK_TOO_LARGE, ERR_DEADLINE, ERR_PEER_LOST,
   *   ERR_DECODE or ERR_LIMIT when no source delivered; the signal's reason when it fires.
   */
  async fetchBlock(cid: CID, options: FetchOptions): Promise<Uint8Array> {
    return await this.#share(cid, options, async (bytes, flight) => {
      flight.isKept = true
      return bytes
    })
  }

  /**
   * As `fetchBlock`, for bytes that are of no use any more once `use` has ended: their memory is given back then, by the last one
   * who uses them.
   * @throws ShoalError as `fetchBlock`, and what `use` throws
   */
  async useBlock<T>(cid: CID, options: FetchOptions, use: (bytes: Uint8Array) => Promise<T>): Promise<T> {
    return await this.#share(cid, options, use)
  }

  async #share<T>(
    cid: CID,
    { from, maxBytes, signal, once = false }: FetchOptions,
    use: (bytes: Uint8Array, flight: Flight) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted()
    const key = `${cid}/${maxBytes}`
    let flight = this.#flights.get(key)
    if (flight === undefined) {
      flight = this.#begin(key, cid, maxBytes)
      this.#flights.set(key, flight)
    }
    addSources(flight, from)
    flight.once &&= once
    flight.waiting += 1
    let bytes: Uint8Array | undefined
    try {
      bytes = await abortable(flight.bytes, signal)
      return await use(bytes, flight)
    } finally {
      flight.waiting -= 1
      if (flight.waiting === 0) {
        // One that has landed is not listed: nobody joins it any more.
        if (this.#flights.get(key) === flight) {
          this.#flights.delete(key)
          flight.cancel.abort(new ShoalError('ERR_PEER_LOST', 'nobody waits for the block'))
        } else if (bytes !== undefined && !flight.isKept) spend(bytes)
      }
    }
  }

  /**
   * Fetches a block that is too large for memory into a file, from several members at once where there are several. Other
   * members are served what has arrived. A second call waits for the first and lends it its sources.
   * @throws ShoalError as `fetchBlock`, and what `keep` throws
   */
  async fetchFile(cid: CID, options: FetchFileOptions): Promise<void> {
    const { signal } = options
    signal.throwIfAborted()
    const key = hexOf(cid)
    const running = this.#files.get(key)
    if (running !== undefined) {
      this.#incoming.get(key)?.addSources(options.from)
      try {
        await abortable(running, signal)
        return
      } catch (error) {
        signal.throwIfAborted()
        // Its caller may have given up; this one has not.
        if (this.#files.has(key)) throw error
        await this.fetchFile(cid, options)
        return
      }
    }
    const fetching = this.#large.run(() => this.#fetchFile(cid, options)).finally(() => this.#files.delete(key))
    this.#files.set(key, fetching)
    await fetching
  }

  /** A large block that is still arriving. */
  incoming(cid: CID): IncomingBlock | undefined {
    return this.#incoming.get(hexOf(cid))
  }

  stop(): void {
    const reason = new ShoalError('ERR_PEER_LOST', 'this node is stopping')
    for (const flight of this.#flights.values()) flight.cancel.abort(reason)
    this.#flights.clear()
    this.#lanes.close(reason)
  }

  /** From all sources together; when what came is wrong, from each alone, so that the right one is found. */
  async #fetchFile(cid: CID, options: FetchFileOptions): Promise<void> {
    const errors: ShoalError[] = []
    const attempts =
      options.from.length === 1 ? [options.from] : [options.from, ...options.from.map((peerId) => [peerId])]
    for (const from of attempts) {
      try {
        await this.#fetchFrom(cid, from, options, from === options.from)
        return
      } catch (error) {
        options.signal.throwIfAborted()
        const failure = toShoalError(error, 'ERR_PEER_LOST')
        errors.push(failure)
        if (errors.length === 1 && failure.code !== 'ERR_BLOCK_MISMATCH') throw failure
      }
    }
    throw report(cid, errors)
  }

  async #fetchFrom(cid: CID, from: readonly string[], options: FetchFileOptions, shared: boolean): Promise<void> {
    const needs = { ...this.#needs, lanes: this.#lanes, buffers: this.#buffers }
    const fetch = new LargeFetch(needs, cid, options.size, { ...options, shared })
    fetch.addSources(from)
    const key = hexOf(cid)
    try {
      await options.keep(async (file) => {
        this.#incoming.set(key, fetch)
        await fetch.run(file)
        this.#incoming.delete(key)
      })
    } finally {
      this.#incoming.delete(key)
      if (this.#incoming.size === 0) this.#buffers.release()
    }
  }

  #begin(key: string, cid: CID, maxBytes: number): Flight {
    const cancel = new AbortController()
    const flight: Flight = {
      sources: [],
      seen: new Set(),
      waiting: 0,
      once: true,
      isKept: false,
      cancel,
      // One turn later, so that the sources of the call that begins it are known.
      bytes: Promise.resolve().then(() => this.#small.run(() => this.#transfer(flight, cid, maxBytes))),
    }
    const done = (): void => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key)
    }
    flight.bytes.then(done, done)
    return flight
  }

  async #transfer(flight: Flight, cid: CID, maxBytes: number): Promise<Uint8Array> {
    const { signal } = flight.cancel
    const errors: ShoalError[] = []
    let assembly = new BlockAssembly(cid, maxBytes)
    // Once bytes of several peers made a wrong block, each must bring the whole of it, so that the liar is known.
    let alone = false
    const failures = new Map<string, number>()
    for (let source = flight.sources.shift(); source !== undefined; source = flight.sources.shift()) {
      if (alone) assembly = new BlockAssembly(cid, maxBytes)
      const failed = failures.get(source) ?? 0
      if (failed > 0) await this.#pause(againMs * 2 ** (failed - 1), signal)
      if (failed > 0 && !this.#needs.isConnected(source)) continue
      const hedged = await this.#readHedged(source, assembly, flight, signal)
      if ('bytes' in hedged) return hedged.bytes
      const { error } = hedged
      if (error !== undefined && error.code !== 'ERR_BLOCK_MISMATCH') {
        errors.push(error)
        failures.set(source, failed + 1)
        // After the others. What it has sent stays.
        const mayRecover = transient.has(error.code) && failed < maxAgain && this.#needs.isConnected(source)
        if (mayRecover && !flight.once) flight.sources.push(source)
        continue
      }
      const others = [...assembly.contributors].filter((peerId) => peerId !== source)
      if (others.length === 0) {
        this.#needs.log.warn('wrong bytes', { peer: source, cid: cid.toString(), code: 'ERR_BLOCK_MISMATCH' })
        errors.push(new ShoalError('ERR_BLOCK_MISMATCH', `${cid}: wrong bytes from ${source}`))
      } else {
        alone = true
        flight.sources.unshift(...others, source)
      }
      assembly = new BlockAssembly(cid, maxBytes)
    }
    throw report(cid, errors)
  }

  /**
   * Reads from one source, and from the next as well when the first has sent nothing for as long as most do not take. What is
   * right first wins; otherwise the first source's failure is returned, and the second remains to be tried.
   */
  async #readHedged(
    source: string,
    assembly: BlockAssembly,
    flight: Flight,
    signal: AbortSignal,
  ): Promise<{ bytes: Uint8Array } | { error: ShoalError | undefined }> {
    if (flight.sources.length === 0) return outcome(assembly, await this.#readFrom(source, assembly, signal))
    const loser = new AbortController()
    const either = AbortSignal.any([signal, loser.signal])
    const won = Promise.withResolvers<{ bytes: Uint8Array }>()
    const begun = assembly.position
    this.#hedgeCredit = Math.min(hedgeShare, this.#hedgeCredit + 1 / hedgeShare)
    const cancelHedge = this.#needs.clock.after(this.#lanes.hedgeMs, () => {
      const [second] = flight.sources
      if (second === undefined || assembly.position > begun || this.#hedgeCredit < 1) return
      this.#hedgeCredit -= 1
      this.#needs.onHedge?.()
      const copy = new BlockAssembly(assembly.cid, assembly.maxEnd)
      this.#readFrom(second, copy, either).then(
        (error) => {
          const result = outcome(copy, error)
          if ('bytes' in result) won.resolve(result)
        },
        // It lost.
        () => undefined,
      )
    })
    const first = this.#readFrom(source, assembly, either).then((error) => outcome(assembly, error))
    first.catch(() => undefined)
    try {
      return await Promise.race([first, won.promise])
    } finally {
      cancelHedge()
      loser.abort(outrun)
    }
  }

  /** Reads from one peer, again while it is busy. What it throws ends the transfer; what it returns, the source. */
  async #readFrom(peerId: string, assembly: BlockAssembly, signal: AbortSignal): Promise<ShoalError | undefined> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const lane = await this.#lanes.to(peerId, signal)
        const since = this.#needs.clock.now()
        await lane.read(assembly, signal, () => this.#lanes.firstByteAfter(this.#needs.clock.now() - since))
        return undefined
      } catch (error) {
        if (signal.aborted) throw signal.reason
        const failure = toShoalError(error, 'ERR_PEER_LOST')
        if (failure.code !== 'ERR_LIMIT' || attempt >= busyRetries) return failure
        await this.#pause(busyDelayMs * 2 ** attempt, signal)
      }
    }
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    await abortable(new Promise<void>((resolve) => this.#needs.clock.after(ms, resolve)), signal)
  }
}

const outrun = new ShoalError('ERR_PEER_LOST', 'another source was faster')

function outcome(
  assembly: BlockAssembly,
  error: ShoalError | undefined,
): { bytes: Uint8Array } | { error: ShoalError | undefined } {
  const bytes = error === undefined ? assembly.verified() : undefined
  return bytes === undefined ? { error } : { bytes }
}

function addSources(flight: Flight, from: readonly string[]): void {
  for (const peerId of from) {
    if (flight.seen.has(peerId)) continue
    flight.seen.add(peerId)
    flight.sources.push(peerId)
  }
}

function report(cid: CID, errors: readonly ShoalError[]): ShoalError {
  const code = worst.find((candidate) => errors.some((error) => error.code === candidate))
  const found = errors.find((error) => error.code === code) ?? errors[0]
  if (found === undefined) return new ShoalError('ERR_BLOCK_MISSING', `nobody to ask for ${cid}`)
  return found
}
