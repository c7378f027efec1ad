import { zstdDecompressSync } from 'node:zlib'
import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import { type RangeReply, RangeStatus } from '../wire/generated/block_pb.ts'
import type { Part } from './block-assembly.ts'
import {
  blockFrameLimits,
  decodeBlockFrame,
  encodeRequest,
  maxRangeBytes,
  maxRequests,
  windowBytes,
} from './block-frames.ts'
import { FrameReader } from './frames.ts'
import { LanePace } from './lane-pace.ts'
import { isWhole, spend } from './spent.ts'
import { StreamWriter } from './stream-writer.ts'

/** One part that is being read over this lane. */
interface Reading {
  part: Part
  /** Offset of the next range to ask for. */
  next: number
  settle(error: ShoalError | undefined): void
  settled: boolean
  onFirstByte: (() => void) | undefined
}

interface Request {
  id: bigint
  reading: Reading
  offset: number
  length: number
}

/** Asked for first, before the size is known: enough for most blocks, little enough to have many on their way. */
const firstRangeBytes = 128 * 1024

/** Of a window of this size or more, half is asked for at a time. */
const batchedWindowBytes = 1024 * 1024

/**
 * The requester's end of one bulk stream to one peer. Asks for ranges, at most 2 MiB at a time, and so decides itself
 * how much can arrive; replies come in the order of the requests.
 */
export class BlockLane {
  readonly #peerId: string
  readonly #stream: Stream
  readonly #reader = new FrameReader(blockFrameLimits, (frame) => this.#receive(frame))
  readonly #writer: StreamWriter
  readonly #pace: LanePace
  readonly #events: { onClose(): void; onRoom(): void }
  /** Readings that have ranges left to ask for, the next to be served first. */
  #hungry: Reading[] = []
  #requests: Request[] = []
  #outstandingBytes = 0
  #filling = true
  #id = 0n
  #closed = false

  /** @param events `onRoom` is called when bytes have come and there is room again */
  constructor(clock: Clock, peerId: string, stream: Stream, events: { onClose(): void; onRoom(): void }) {
    this.#peerId = peerId
    this.#stream = stream
    this.#events = events
    this.#writer = new StreamWriter(stream, windowBytes)
    this.#pace = new LanePace(clock, (what) => this.close(new ShoalError('ERR_DEADLINE', `${peerId} ${what}`)))
    stream.addEventListener('message', (event: StreamMessageEvent) => this.#read(event))
    stream.addEventListener('remoteCloseWrite', () => this.close(lost(peerId)))
    stream.addEventListener('close', (event: StreamCloseEvent) => this.close(lost(peerId, event.error)))
  }

  /**
   * Reads the rest of a part, which is complete but not verified afterwards.
   * @throws ShoalError ERR_BLOCK_MISSING, ERR_LIMIT (the peer is busy), ERR_BLOCK_TOO_LARGE, ERR_BLOCK_MISMATCH (of
   *   sizes), ERR_DEADLINE, ERR_DECODE or ERR_PEER_LOST; the signal's reason when it fires.
   */
  async read(part: Part, signal: AbortSignal, onFirstByte?: () => void): Promise<void> {
    signal.throwIfAborted()
    if (this.#closed) throw lost(this.#peerId)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const reading: Reading = {
      part,
      next: part.position,
      settled: false,
      onFirstByte,
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

  /** Whatever is read now is asked for at once. */
  get hasRoom(): boolean {
    return !this.#closed && this.#hungry.length === 0 && this.#isFilling()
  }

  close(reason: ShoalError): void {
    if (this.#closed) return
    this.#closed = true
    this.#pace.rest()
    this.#reader.stop()
    this.#writer.close()
    this.#stream.abort(reason)
    const readings = new Set([...this.#hungry, ...this.#requests.map((request) => request.reading)])
    this.#hungry = []
    this.#requests = []
    this.#events.onClose()
    for (const reading of readings) reading.settle(reason)
  }

  /** Below half of a large window it is filled up: requests that leave together cost both sides a fraction of single ones. */
  #isFilling(): boolean {
    const window = this.#pace.windowBytes
    // What is owed on a slow link stays enough to tell how fast that is.
    const low = window < batchedWindowBytes ? window : window / 2
    if (this.#outstandingBytes <= low) this.#filling = true
    return this.#filling && this.#outstandingBytes < window
  }

  #ask(): void {
    if (!this.#isFilling()) return
    while (!this.#closed && this.#requests.length < maxRequests) {
      const reading = this.#hungry[0]
      if (reading === undefined) break
      const length = reading.settled ? 0 : nextLength(reading)
      if (length === 0) {
        this.#hungry.shift()
        continue
      }
      if (!this.#fits(length)) {
        this.#filling = false
        break
      }
      this.#hungry.shift()
      this.#request(reading, length)
      // To the back of the queue: a large block must not keep small ones waiting. Until the size is known there is
      // nothing more to ask.
      if (reading.part.end !== undefined) this.#hungry.push(reading)
    }
  }

  #fits(length: number): boolean {
    const outstanding = this.#outstandingBytes
    return outstanding === 0 || (outstanding < this.#pace.windowBytes && outstanding + length <= windowBytes)
  }

  #request(reading: Reading, length: number): void {
    this.#id += 1n
    const request: Request = { id: this.#id, reading, offset: reading.next, length }
    const { cid, kind } = reading.part
    const frame = encodeRequest({
      id: request.id,
      cid: cid.bytes,
      offset: BigInt(reading.next),
      length,
      kind,
      zstd: this.#pace.wantsZstd,
    })
    reading.next += length
    if (this.#requests.length === 0) this.#pace.begin()
    this.#requests.push(request)
    this.#outstandingBytes += length
    if (!this.#writer.push(frame)) this.close(lost(this.#peerId))
  }

  // Runs inside libp2p's event dispatch, where anything thrown would end the process.
  #read(event: StreamMessageEvent): void {
    if (this.#closed) return
    this.#pace.moved(event.data.byteLength, this.#outstandingBytes)
    try {
      this.#reader.push(event.data)
      // All of it has been copied to where it belongs.
      for (const piece of event.data instanceof Uint8Array ? [event.data] : event.data) if (isWhole(piece)) spend(piece)
      this.#ask()
      if (this.hasRoom) this.#events.onRoom()
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
    if (this.#requests.length === 0) this.#pace.rest()
    if (reading.part.position === reading.part.end) reading.settle(undefined)
    else if (!reading.settled && !this.#hungry.includes(reading)) this.#hungry.push(reading)
  }

  /** Takes in one reply; what is returned ends the reading, what is thrown ends the lane. */
  #apply(request: Request, reply: RangeReply): ShoalError | undefined {
    const { reading } = request
    const { part } = reading
    if (reply.status === RangeStatus.MISSING) {
      return new ShoalError('ERR_BLOCK_MISSING', `${part.cid} is not at ${this.#peerId}`)
    }
    if (reply.status === RangeStatus.BUSY) return new ShoalError('ERR_LIMIT', `${this.#peerId} is busy`)
    if (reply.status !== RangeStatus.OK) throw new ShoalError('ERR_DECODE', 'a reply without a status')
    // A range that reaches beyond the block ends where the block does.
    request.length = Math.max(0, Math.min(request.length, Number(reply.size) - request.offset))
    if (reply.length !== request.length) throw new ShoalError('ERR_DECODE', 'another length than was asked for')
    if (reply.zstdLength > 0 && reply.zstdLength >= reply.length) {
      throw new ShoalError('ERR_DECODE', 'compressed bytes that are no fewer')
    }
    try {
      if (!reading.settled) part.declare(this.#peerId, reply)
    } catch (error) {
      reading.settle(toShoalError(error))
    }
    if (reply.zstdLength > 0) this.#expectCompressed(request, reply)
    else this.#expectPlain(request, reply.length)
    return undefined
  }

  #expectPlain(request: Request, length: number): void {
    let left = length
    this.#reader.expectRaw(length, (bytes) => {
      this.#append(request.reading, bytes, false)
      left -= bytes.length
      if (left === 0) this.#finish(request)
    })
  }

  #expectCompressed(request: Request, { zstdLength, length }: RangeReply): void {
    const compressed = Buffer.allocUnsafe(zstdLength)
    let got = 0
    this.#reader.expectRaw(zstdLength, (bytes) => {
      compressed.set(bytes, got)
      got += bytes.length
      if (got < zstdLength) return
      this.#append(request.reading, decompress(compressed, length), true)
      this.#finish(request)
    })
  }

  #append(reading: Reading, bytes: Uint8Array, isCompressed: boolean): void {
    this.#pace.delivered(bytes.length, isCompressed)
    // Where nobody waits any more, the rest is on its way all the same: it is counted and dropped.
    if (reading.settled) return
    reading.onFirstByte?.()
    reading.onFirstByte = undefined
    reading.part.append(this.#peerId, bytes)
  }
}

/** Node's own least. */
const leastPiece = 64

/** @throws ShoalError ERR_DECODE unless it is exactly so many bytes; no more memory than for these is used. */
function decompress(bytes: Uint8Array, length: number): Uint8Array {
  let plain: Uint8Array
  try {
    // In one piece, and not quite filled, or node would get ready for more: in the usual ones of 16 KiB all would be copied again.
    plain = zstdDecompressSync(bytes, { maxOutputLength: length, chunkSize: Math.max(leastPiece, length + 1) })
  } catch (error) {
    throw new ShoalError('ERR_DECODE', 'bytes that are not what they were said to be compressed from', { cause: error })
  }
  if (plain.length !== length) throw new ShoalError('ERR_DECODE', 'fewer bytes than were said to be compressed')
  return plain
}

function nextLength({ part, next }: Reading): number {
  if (part.end !== undefined) return Math.min(maxRangeBytes, part.end - next)
  return Math.max(1, Math.min(firstRangeBytes, part.maxEnd - next))
}

function lost(peerId: string, cause?: Error): ShoalError {
  return new ShoalError('ERR_PEER_LOST', `${peerId} closed the block stream`, { cause })
}
