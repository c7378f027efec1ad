import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import { type RangeReply, RangeStatus } from '../wire/generated/block_pb.ts'
import type { BlockAssembly } from './block-assembly.ts'
import {
  blockFrameLimits,
  decodeBlockFrame,
  encodeRequest,
  maxRangeBytes,
  maxRequests,
  windowBytes,
} from './block-frames.ts'
import { FrameReader } from './frames.ts'
import { StreamWriter } from './stream-writer.ts'

/** One block that is being read over this lane. */
interface Reading {
  assembly: BlockAssembly
  /** Offset of the next range to ask for. */
  next: number
  settle(error: ShoalError | undefined): void
  settled: boolean
}

interface Request {
  id: bigint
  reading: Reading
  offset: number
  length: number
  /** Bytes of this range that have arrived. */
  got: number
}

/** Asked for first, before the size is known: enough for most blocks, little enough to have many on their way. */
const firstRangeBytes = 128 * 1024
const checkMs = 500
/** Checks without a byte after which the peer is given up: two seconds. */
const silentChecks = 4
/** A peer that sends less than this over `rateChecks` while asked for more is given up. */
const minBytesPerSecond = 64 * 1024
const rateChecks = 8

/**
 * The requester's end of one bulk stream to one peer. Asks for ranges, at most 2 MiB at a time, and so decides itself
 * how much can arrive; replies come in the order of the requests.
 */
export class BlockLane {
  readonly #clock: Clock
  readonly #peerId: string
  readonly #stream: Stream
  readonly #reader = new FrameReader(blockFrameLimits, (frame) => this.#receive(frame))
  readonly #writer: StreamWriter
  readonly #onClose: () => void
  /** Readings that have ranges left to ask for, the next to be served first. */
  #hungry: Reading[] = []
  #requests: Request[] = []
  #outstandingBytes = 0
  #id = 0n
  #closed = false
  #cancelCheck: (() => void) | undefined
  #check = { silent: 0, count: 0, bytes: 0, moved: false }

  constructor(clock: Clock, peerId: string, stream: Stream, onClose: () => void) {
    this.#clock = clock
    this.#peerId = peerId
    this.#stream = stream
    this.#onClose = onClose
    this.#writer = new StreamWriter(stream, windowBytes)
    stream.addEventListener('message', (event: StreamMessageEvent) => this.#read(event))
    stream.addEventListener('remoteCloseWrite', () => this.close(lost(peerId)))
    stream.addEventListener('close', (event: StreamCloseEvent) => this.close(lost(peerId, event.error)))
  }

  /**
   * Reads the rest of a block into `assembly`, which is complete but not verified afterwards.
   * @throws ShoalError ERR_BLOCK_MISSING, ERR_LIMIT (the peer is busy), ERR_BLOCK_TOO_LARGE, ERR_BLOCK_MISMATCH (of
   *   sizes), ERR_DEADLINE, ERR_DECODE or ERR_PEER_LOST; the signal's reason when it fires.
   */
  async read(assembly: BlockAssembly, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#closed) throw lost(this.#peerId)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const reading: Reading = {
      assembly,
      next: assembly.received,
      settled: false,
      settle(error) {
        if (reading.settled) return
        reading.settled = true
        if (error === undefined) resolve()
        else reject(error)
      },
    }
    const onAbort = (): void => {
      reading.settled = true
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    this.#hungry.push(reading)
    this.#ask()
    try {
      await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  close(reason: ShoalError): void {
    if (this.#closed) return
    this.#closed = true
    this.#cancelCheck?.()
    this.#reader.stop()
    this.#writer.close()
    this.#stream.abort(reason)
    const readings = new Set([...this.#hungry, ...this.#requests.map((request) => request.reading)])
    this.#hungry = []
    this.#requests = []
    this.#onClose()
    for (const reading of readings) reading.settle(reason)
  }

  #ask(): void {
    while (!this.#closed && this.#requests.length < maxRequests) {
      const reading = this.#hungry[0]
      if (reading === undefined) break
      const length = reading.settled ? 0 : nextLength(reading)
      if (length === 0) {
        this.#hungry.shift()
        continue
      }
      if (this.#outstandingBytes > 0 && this.#outstandingBytes + length > windowBytes) break
      this.#hungry.shift()
      this.#request(reading, length)
      // To the back of the queue: a large block must not keep small ones waiting. Until the size is known there is
      // nothing more to ask.
      if (reading.assembly.size !== undefined) this.#hungry.push(reading)
    }
    if (this.#requests.length > 0 && this.#cancelCheck === undefined && !this.#closed) this.#scheduleCheck()
  }

  #request(reading: Reading, length: number): void {
    this.#id += 1n
    const request: Request = { id: this.#id, reading, offset: reading.next, length, got: 0 }
    const { cid } = reading.assembly
    const frame = encodeRequest({ id: request.id, cid: cid.bytes, offset: reading.next, length })
    reading.next += length
    if (this.#requests.length === 0) this.#check.silent = 0
    this.#requests.push(request)
    this.#outstandingBytes += length
    if (!this.#writer.push(frame)) this.close(lost(this.#peerId))
  }

  // Runs inside libp2p's event dispatch, where anything thrown would end the process.
  #read(event: StreamMessageEvent): void {
    if (this.#closed) return
    this.#check.moved = true
    this.#check.bytes += event.data.byteLength
    try {
      this.#reader.push(event.data)
      this.#ask()
    } catch (error) {
      this.close(toShoalError(error))
    }
  }

  #receive(frame: Uint8Array): void {
    const body = decodeBlockFrame(frame)
    const request = this.#requests[0]
    if (body.case !== 'reply' || body.value.id !== request?.id) {
      throw new ShoalError('ERR_DECODE', 'a block frame that answers nothing')
    }
    const asked = request.length
    const error = this.#apply(request, body.value)
    this.#outstandingBytes -= asked - request.length
    if (error !== undefined) request.reading.settle(error)
    if (error !== undefined || request.length === 0) this.#finish(request)
  }

  #finish({ length, reading }: Request): void {
    this.#requests.shift()
    this.#outstandingBytes -= length
    if (reading.assembly.complete) reading.settle(undefined)
    else if (!reading.settled && !this.#hungry.includes(reading)) this.#hungry.push(reading)
  }

  /** Takes in one reply; what is returned ends the reading, what is thrown ends the lane. */
  #apply(request: Request, reply: RangeReply): ShoalError | undefined {
    const { reading } = request
    const { assembly } = reading
    if (reply.status === RangeStatus.MISSING) {
      return new ShoalError('ERR_BLOCK_MISSING', `${assembly.cid} is not at ${this.#peerId}`)
    }
    if (reply.status === RangeStatus.BUSY) return new ShoalError('ERR_LIMIT', `${this.#peerId} is busy`)
    if (reply.status !== RangeStatus.OK) throw new ShoalError('ERR_DECODE', 'a reply without a status')
    const size = Number(reply.size)
    // A range that reaches beyond the block ends where the block does.
    request.length = Math.max(0, Math.min(request.length, size - request.offset))
    if (reply.length !== request.length) throw new ShoalError('ERR_DECODE', 'another length than was asked for')
    try {
      if (!reading.settled) assembly.declare(size)
    } catch (error) {
      reading.settle(toShoalError(error))
    }
    this.#reader.expectRaw(reply.length, (bytes) => {
      // Where nobody waits any more, the rest is on its way all the same: it is counted and dropped.
      if (!reading.settled) assembly.append(this.#peerId, bytes)
      request.got += bytes.length
      if (request.got === request.length) this.#finish(request)
    })
    return undefined
  }

  #scheduleCheck(): void {
    this.#cancelCheck = this.#clock.after(checkMs, () => this.#checkProgress())
  }

  // Counts checks instead of time: when this machine was too busy to read, that is not the peer's doing.
  #checkProgress(): void {
    this.#cancelCheck = undefined
    const check = this.#check
    if (this.#requests.length === 0) {
      this.#check = { silent: 0, count: 0, bytes: 0, moved: false }
      return
    }
    check.silent = check.moved ? 0 : check.silent + 1
    check.moved = false
    check.count += 1
    const tooSlow = check.count >= rateChecks && check.bytes < (minBytesPerSecond * rateChecks * checkMs) / 1000
    if (check.silent >= silentChecks || tooSlow) {
      const what = tooSlow ? 'sends too slowly' : 'sends nothing'
      this.close(new ShoalError('ERR_DEADLINE', `${this.#peerId} ${what}`))
      return
    }
    if (check.count >= rateChecks) this.#check = { ...check, count: 0, bytes: 0 }
    this.#scheduleCheck()
  }
}

function nextLength({ assembly, next }: Reading): number {
  const { size, maxBytes } = assembly
  if (size !== undefined) return Math.min(maxRangeBytes, size - next)
  return Math.max(1, Math.min(firstRangeBytes, maxBytes - next))
}

function lost(peerId: string, cause?: Error): ShoalError {
  return new ShoalError('ERR_PEER_LOST', `${peerId} closed the block stream`, { cause })
}
