import type { Stream } from '@libp2p/interface'
import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import { type ErrorCode, ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { BlockAssembly } from './block-assembly.ts'
import { BlockLane } from './block-lane.ts'

export interface ExchangeNeeds {
  clock: Clock
  log: Logger
  /** Opens a block stream to a member, connecting to it when necessary. */
  open(peerId: string, signal: AbortSignal): Promise<Stream>
}

export interface FetchOptions {
  /** Peers that may have the block, the likeliest first. */
  from: readonly string[]
  /** The size that was declared for it; a larger block is refused before it is read. */
  maxBytes: number
  signal?: AbortSignal
}

/** One block on its way, for everybody who asked for it. */
interface Flight {
  sources: string[]
  seen: Set<string>
  waiting: number
  cancel: AbortController
  bytes: Promise<Uint8Array>
}

const openTimeoutMs = 3000
const maxFlights = 64
const busyRetries = 5
const busyDelayMs = 50
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

/** Fetches blocks from members: one source after another, each continuing where the one before it stopped. */
export class BlockExchange {
  readonly #needs: ExchangeNeeds
  readonly #lanes = new Map<string, Promise<BlockLane>>()
  readonly #flights = new Map<string, Flight>()
  readonly #queue: (() => void)[] = []
  #active = 0

  constructor(needs: ExchangeNeeds) {
    this.#needs = needs
  }

  /**
   * The bytes that `cid` names, verified. Two calls for one block share one transfer, and the sources of both.
   * @throws ShoalError ERR_BLOCK_MISSING, ERR_BLOCK_MISMATCH, ERR_BLOCK_TOO_LARGE, ERR_DEADLINE, ERR_PEER_LOST,
   *   ERR_DECODE or ERR_LIMIT when no source delivered; the signal's reason when it fires.
   */
  async fetchBlock(cid: CID, options: FetchOptions): Promise<Uint8Array> {
    const { signal } = options
    signal?.throwIfAborted()
    const key = `${cid}/${options.maxBytes}`
    let flight = this.#flights.get(key)
    if (flight === undefined) {
      flight = this.#begin(key, cid, options.maxBytes)
      this.#flights.set(key, flight)
    }
    addSources(flight, options.from)
    flight.waiting += 1
    try {
      return await abortable(flight.bytes, signal)
    } finally {
      flight.waiting -= 1
      // Nobody waits for it any more. One that has landed is no longer listed.
      if (flight.waiting === 0 && this.#flights.get(key) === flight) {
        this.#flights.delete(key)
        flight.cancel.abort(new ShoalError('ERR_PEER_LOST', 'nobody waits for the block'))
      }
    }
  }

  stop(): void {
    const reason = new ShoalError('ERR_PEER_LOST', 'this node is stopping')
    for (const flight of this.#flights.values()) flight.cancel.abort(reason)
    this.#flights.clear()
    for (const lane of this.#lanes.values()) {
      lane.then(
        (open) => open.close(reason),
        // A lane that never opened has told whoever wanted it.
        () => undefined,
      )
    }
    this.#lanes.clear()
  }

  #begin(key: string, cid: CID, maxBytes: number): Flight {
    const cancel = new AbortController()
    const flight: Flight = {
      sources: [],
      seen: new Set(),
      waiting: 0,
      cancel,
      // One turn later, so that the sources of the call that begins it are known.
      bytes: Promise.resolve().then(() => this.#run(flight, cid, maxBytes, cancel.signal)),
    }
    const done = (): void => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key)
    }
    flight.bytes.then(done, done)
    return flight
  }

  async #run(flight: Flight, cid: CID, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    if (this.#active >= maxFlights) await new Promise<void>((resolve) => this.#queue.push(resolve))
    this.#active += 1
    try {
      return await this.#transfer(flight, cid, maxBytes, signal)
    } finally {
      this.#active -= 1
      this.#queue.shift()?.()
    }
  }

  async #transfer(flight: Flight, cid: CID, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    const errors: ShoalError[] = []
    let assembly = new BlockAssembly(cid, maxBytes)
    // Once bytes of several peers made a wrong block, each must bring the whole of it, so that the liar is known.
    let alone = false
    for (let source = flight.sources.shift(); source !== undefined; source = flight.sources.shift()) {
      if (alone) assembly = new BlockAssembly(cid, maxBytes)
      const error = await this.#readFrom(source, assembly, signal)
      if (error === undefined) {
        const bytes = assembly.verified()
        if (bytes !== undefined) return bytes
      }
      if (error !== undefined && error.code !== 'ERR_BLOCK_MISMATCH') {
        errors.push(error)
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

  /** Reads from one peer, again while it is busy. What it throws ends the transfer; what it returns, the source. */
  async #readFrom(peerId: string, assembly: BlockAssembly, signal: AbortSignal): Promise<ShoalError | undefined> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const lane = await this.#lane(peerId, signal)
        await lane.read(assembly, signal)
        return undefined
      } catch (error) {
        if (signal.aborted) throw signal.reason
        const failure = toShoalError(error, 'ERR_PEER_LOST')
        if (failure.code !== 'ERR_LIMIT' || attempt >= busyRetries) return failure
        await this.#pause(busyDelayMs * 2 ** attempt, signal)
      }
    }
  }

  async #lane(peerId: string, signal: AbortSignal): Promise<BlockLane> {
    const known = this.#lanes.get(peerId)
    if (known !== undefined) return abortable(known, signal)
    const forget = (): void => {
      if (this.#lanes.get(peerId) === opening) this.#lanes.delete(peerId)
    }
    // The lane outlives the call that opens it, so the call's signal does not end the opening.
    const opening = this.#needs
      .open(peerId, AbortSignal.timeout(openTimeoutMs))
      .then((stream) => new BlockLane(this.#needs.clock, peerId, stream, forget))
    this.#lanes.set(peerId, opening)
    opening.catch(forget)
    return abortable(opening, signal)
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    await abortable(new Promise<void>((resolve) => this.#needs.clock.after(ms, resolve)), signal)
  }
}

function addSources(flight: Flight, from: readonly string[]): void {
  for (const peerId of from) {
    if (flight.seen.has(peerId)) continue
    flight.seen.add(peerId)
    flight.sources.push(peerId)
  }
}

async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

function report(cid: CID, errors: readonly ShoalError[]): ShoalError {
  const code = worst.find((candidate) => errors.some((error) => error.code === candidate))
  const found = errors.find((error) => error.code === code) ?? errors[0]
  if (found === undefined) return new ShoalError('ERR_BLOCK_MISSING', `nobody to ask for ${cid}`)
  return found
}
