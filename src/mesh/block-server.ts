import { promisify } from 'node:util'
import { constants, zstdCompress } from 'node:zlib'
import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import type { CID } from 'multiformats/cid'
import type { Clock, Random } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { hexOf, readCid } from '../wire/cid.ts'
import { RangeKind, RangeStatus } from '../wire/generated/block_pb.ts'
import { Askers } from './askers.ts'
import { blockFrameLimits, decodeBlockFrame, encodeReply, maxRangeBytes, maxRequests } from './block-frames.ts'
import { FrameReader } from './frames.ts'
import { largeBytes } from './manifest.ts'
import { type BlockSource, ServedBlocks } from './served-blocks.ts'
import { StreamWriter } from './stream-writer.ts'

interface RangeWanted {
  id: bigint
  cid: CID
  kind: RangeKind
  offset: number
  length: number
  zstd: boolean
}

/** A reply and the bytes that follow it. */
interface Prepared {
  header: Uint8Array
  bytes: Uint8Array
  /** The memory of `bytes`, to be used again once they have left. */
  buffer?: Uint8Array | undefined
}

/** A large block that is still being fetched here. */
export interface IncomingBlock {
  readonly size: number
  /** Undefined until it is known. */
  readonly manifest: Uint8Array | undefined
  /** Bit for each chunk that `read` can serve. */
  have(): Uint8Array
  /** Undefined for what has not arrived. @param into may be used for the bytes, and is long enough */
  read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array | undefined>
}

export interface BlockServerNeeds {
  clock: Clock
  random: Random
  log: Logger
  source: BlockSource
  incoming(cid: CID): IncomingBlock | undefined
  /** Bytes of a range go to a member. */
  onServed?(bytes: number): void
}

/** What is handed to a stream at a time, so that control frames get in between. */
const sliceBytes = 256 * 1024
const stuckCheckMs = 5000
const stuckChecks = 4
/** Fewer bytes are not worth compressing, nor are those that stay nearly as many. */
const minZstdBytes = 1024
const worthwhile = 0.9
/** After a range that compressing did not make smaller, so many are sent as they are. */
const skippedZstd = 15
const compress = promisify(zstdCompress)
const nothing: Uint8Array = new Uint8Array()
/** Fewer bytes are copied out of the buffer that they were read into. */
const minKeptBytes = 32 * 1024
/** Buffers of a range each that are kept for the next ones while streams are open: new memory costs more than to fill it. */
const maxSpare = 8

/** Answers range requests of members from a block source, and from blocks that are still arriving. */
export class BlockServer {
  readonly #needs: BlockServerNeeds
  readonly #blocks: ServedBlocks
  readonly #askers: Askers
  readonly #streams = new Set<Stream>()
  readonly #spare: Uint8Array[] = []
  #uselessZstd = 0

  constructor(needs: BlockServerNeeds) {
    this.#needs = needs
    this.#blocks = new ServedBlocks(needs.clock, needs.source)
    this.#askers = new Askers(needs.clock, needs.random)
  }

  /** Serves one stream until either side closes it. */
  accept(stream: Stream, peerId: string): void {
    this.#streams.add(stream)
    const queue: RangeWanted[] = []
    const writer = new StreamWriter(stream, 4 * sliceBytes)
    let serving = false
    const fail = (error: unknown): void => {
      const reason = toShoalError(error)
      this.#needs.log.warn('block stream closed', { peer: peerId, code: reason.code, error: reason.message })
      stream.abort(reason)
    }
    const reader = new FrameReader(blockFrameLimits, (frame) => {
      if (queue.length >= maxRequests) throw new ShoalError('ERR_DECODE', `more than ${maxRequests} requests at a time`)
      queue.push(readRequest(frame))
      if (serving) return
      serving = true
      this.#serve(queue, peerId, stream, writer)
        .catch(fail)
        .finally(() => {
          serving = false
        })
    })
    stream.addEventListener('close', () => {
      this.#streams.delete(stream)
      if (this.#streams.size === 0) this.#spare.length = 0
      queue.length = 0
      reader.stop()
      writer.close()
    })
    stream.addEventListener('remoteCloseWrite', () => stream.abort(new Error('the requester is done')))
    // Runs inside libp2p's event dispatch, where anything thrown would end the process.
    stream.addEventListener('message', (event: StreamMessageEvent) => {
      try {
        reader.push(event.data)
      } catch (error) {
        fail(error)
      }
    })
  }

  /** Closes all streams and lets go of the memory. */
  stop(): void {
    for (const stream of [...this.#streams]) stream.abort(new Error('stopped'))
    this.#blocks.clear()
  }

  // Strictly in the order of the requests; what comes next is already being read from the source meanwhile.
  async #serve(queue: RangeWanted[], peerId: string, stream: Stream, writer: StreamWriter): Promise<void> {
    const cancelCheck = this.#watchProgress(stream, writer)
    let ahead: { wanted: RangeWanted; prepared: Prepared | Promise<Prepared> } | undefined
    const leaving: Uint8Array[] = []
    const left = async (): Promise<boolean> => {
      if (!(await writer.drained())) return false
      for (const buffer of leaving.splice(0)) if (this.#spare.length < maxSpare) this.#spare.push(buffer)
      return true
    }
    try {
      for (let wanted = queue[0]; wanted !== undefined; wanted = queue[0]) {
        const preparing = ahead?.wanted === wanted ? ahead.prepared : this.#prepare(wanted, peerId)
        const following = queue[1]
        ahead = following === undefined ? undefined : { wanted: following, prepared: this.#prepare(following, peerId) }
        const { header, bytes, buffer } = preparing instanceof Promise ? await preparing : preparing
        writer.push(header)
        this.#needs.onServed?.(bytes.length)
        for (let at = 0; at < bytes.length; at += sliceBytes) {
          writer.push(bytes.subarray(at, at + sliceBytes))
          // Small replies are queued up to the size of a slice, and leave together.
          if (writer.queuedBytes >= sliceBytes && !(await left())) return
        }
        // Not before the last of it is queued: what has left by then is less than all.
        if (buffer !== undefined) leaving.push(buffer)
        if (writer.queuedBytes >= sliceBytes && !(await left())) return
        queue.shift()
        // Only when all has left: what is asked for in the meantime is still answered here.
        if (queue.length === 0 && !(await left())) return
      }
      writer.rest()
    } finally {
      cancelCheck()
    }
  }

  #prepare(wanted: RangeWanted, peerId: string): Prepared | Promise<Prepared> {
    return this.#prepareNow(wanted) ?? this.#prepareSoon(wanted, peerId)
  }

  /** A small block that can be read at once, as a whole. */
  #prepareNow(wanted: RangeWanted): Prepared | undefined {
    const { source } = this.#needs
    if (source.getUntouched === undefined || wanted.kind !== RangeKind.BLOCK || wanted.zstd) return undefined
    const buffer = this.#buffer()
    const bytes = source.getUntouched(wanted.cid, buffer)
    if (bytes === undefined) {
      this.#spare.push(buffer)
      return undefined
    }
    const range = cut(wanted, bytes)
    const [size, length] = [BigInt(bytes.length), range.length]
    const header = encodeReply({ id: wanted.id, status: RangeStatus.OK, size, length })
    if (length >= minKeptBytes) return { header, bytes: range, buffer }
    // Many of them wait together: they must not each keep a whole buffer.
    this.#spare.push(buffer)
    return { header, bytes: Uint8Array.from(range) }
  }

  /** Never rejects: what cannot be read is not here. */
  async #prepareSoon(wanted: RangeWanted, peerId: string): Promise<Prepared> {
    try {
      const incoming = this.#needs.incoming(wanted.cid)
      const stored = await this.#blocks.open(wanted.cid)
      if (stored === 'busy') return refusal(wanted, RangeStatus.BUSY)
      if (stored === undefined) {
        return incoming === undefined
          ? refusal(wanted, RangeStatus.MISSING)
          : await this.#fromIncoming(wanted, peerId, incoming)
      }
      try {
        const { file } = stored
        if (wanted.kind === RangeKind.OTHERS) return this.#onlyOthers(wanted, peerId, file.size)
        if (wanted.kind === RangeKind.BLOCK) {
          const length = lengthIn(wanted, file.size)
          const buffer = file.size > maxRangeBytes ? this.#buffer() : undefined
          const bytes = await file.read(wanted.offset, length, buffer)
          return await this.#reply(wanted, peerId, file.size, bytes, { buffer })
        }
        const manifest = this.#blocks.manifest(wanted.cid, file.size)
        if (manifest === 'busy') return refusal(wanted, RangeStatus.BUSY)
        if (manifest === undefined) return refusal(wanted, RangeStatus.MISSING)
        return await this.#reply(wanted, peerId, file.size, cut(wanted, manifest), { manifest })
      } finally {
        stored.release()
      }
    } catch (error) {
      const { message } = toShoalError(error)
      this.#needs.log.warn('block cannot be read', { cid: wanted.cid.toString(), error: message })
      return refusal(wanted, RangeStatus.MISSING)
    }
  }

  async #fromIncoming(wanted: RangeWanted, peerId: string, incoming: IncomingBlock): Promise<Prepared> {
    const { manifest, size } = incoming
    if (wanted.kind === RangeKind.OTHERS) return this.#onlyOthers(wanted, peerId, size, incoming.have())
    if (wanted.kind === RangeKind.MANIFEST) {
      if (manifest === undefined) return refusal(wanted, RangeStatus.BUSY)
      return await this.#reply(wanted, peerId, size, cut(wanted, manifest), { manifest, have: incoming.have() })
    }
    const buffer = this.#buffer()
    const bytes = await incoming.read(wanted.offset, lengthIn(wanted, size), buffer)
    if (bytes === undefined) return refusal(wanted, RangeStatus.MISSING)
    return await this.#reply(wanted, peerId, size, bytes, { buffer, have: incoming.have() })
  }

  #buffer(): Uint8Array {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(maxRangeBytes)
  }

  #onlyOthers(wanted: RangeWanted, peerId: string, blockSize: number, have = nothing): Prepared {
    const others = this.#others(wanted, peerId, blockSize)
    return { header: encodeReply({ id: wanted.id, status: RangeStatus.OK, others, have }), bytes: nothing }
  }

  async #reply(
    wanted: RangeWanted,
    peerId: string,
    blockSize: number,
    bytes: Uint8Array,
    { manifest, have, buffer }: { manifest?: Uint8Array; have?: Uint8Array; buffer?: Uint8Array | undefined } = {},
  ): Promise<Prepared> {
    const size = manifest?.length ?? blockSize
    const compressed = wanted.zstd ? await this.#smaller(bytes) : undefined
    const header = encodeReply({
      id: wanted.id,
      status: RangeStatus.OK,
      size: BigInt(size),
      length: bytes.length,
      zstdLength: compressed?.length ?? 0,
      others: this.#others(wanted, peerId, blockSize),
      ...(have === undefined ? {} : { have }),
    })
    return { header, bytes: compressed ?? bytes, buffer }
  }

  #others({ cid }: RangeWanted, peerId: string, blockSize: number): string[] {
    if (blockSize <= largeBytes) return []
    const block = hexOf(cid)
    this.#askers.note(block, peerId)
    return this.#askers.others(block, peerId)
  }

  /** On the thread pool; undefined when it does not pay. What follows such bytes is not tried for a while. */
  async #smaller(bytes: Uint8Array): Promise<Uint8Array | undefined> {
    if (bytes.length < minZstdBytes || this.#uselessZstd-- > 0) return undefined
    const compressed = await compress(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1 } })
    if (compressed.length < bytes.length * worthwhile) return compressed
    this.#uselessZstd = skippedZstd
    return undefined
  }

  // A requester that reads nothing would keep a block in memory for ever.
  #watchProgress(stream: Stream, writer: StreamWriter): () => void {
    const { clock } = this.#needs
    let seen = writer.sentBytes
    let stuck = 0
    let cancel = (): void => undefined
    const check = (): void => {
      stuck = writer.sentBytes === seen ? stuck + 1 : 0
      seen = writer.sentBytes
      if (stuck >= stuckChecks) stream.abort(new ShoalError('ERR_DEADLINE', 'the requester reads nothing'))
      else cancel = clock.after(stuckCheckMs, check)
    }
    cancel = clock.after(stuckCheckMs, check)
    return () => cancel()
  }
}

const refusal = ({ id }: RangeWanted, status: RangeStatus): Prepared => ({
  header: encodeReply({ id, status }),
  bytes: nothing,
})

const lengthIn = ({ offset, length }: RangeWanted, size: number): number => Math.max(0, Math.min(length, size - offset))

const cut = ({ offset, length }: RangeWanted, bytes: Uint8Array): Uint8Array =>
  bytes.subarray(Math.min(offset, bytes.length), offset + length)

function readRequest(frame: Uint8Array): RangeWanted {
  const body = decodeBlockFrame(frame)
  if (body.case !== 'request') throw new ShoalError('ERR_DECODE', 'not a range request')
  const { id, kind, length, zstd } = body.value
  if (length === 0 || length > maxRangeBytes) throw new ShoalError('ERR_DECODE', `a range of ${length} bytes`)
  if (kind < RangeKind.BLOCK || kind > RangeKind.OTHERS) throw new ShoalError('ERR_DECODE', `a range of ${kind}`)
  if (body.value.offset > BigInt(Number.MAX_SAFE_INTEGER) - BigInt(maxRangeBytes)) {
    throw new ShoalError('ERR_DECODE', 'an offset beyond any block')
  }
  return { id, kind, zstd, cid: readCid(body.value.cid), offset: Number(body.value.offset), length }
}
