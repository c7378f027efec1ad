import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { readCid } from '../wire/cid.ts'
import { RangeStatus } from '../wire/generated/block_pb.ts'
import { blockFrameLimits, decodeBlockFrame, encodeReply, maxRangeBytes, maxRequests } from './block-frames.ts'
import { FrameReader } from './frames.ts'
import { type BlockSource, ServedBlocks } from './served-blocks.ts'
import { StreamWriter } from './stream-writer.ts'

interface RangeWanted {
  id: bigint
  cid: CID
  offset: number
  length: number
}

/** What is handed to a stream at a time, so that control frames get in between. */
const sliceBytes = 256 * 1024
const stuckCheckMs = 5000
const stuckChecks = 4

/** Answers range requests of members from a block source. */
export class BlockServer {
  readonly #clock: Clock
  readonly #log: Logger
  readonly #blocks: ServedBlocks
  readonly #streams = new Set<Stream>()

  constructor(needs: { clock: Clock; log: Logger; source: BlockSource }) {
    this.#clock = needs.clock
    this.#log = needs.log
    this.#blocks = new ServedBlocks(needs.clock, needs.source)
  }

  /** Serves one stream until either side closes it. */
  accept(stream: Stream, peerId: string): void {
    this.#streams.add(stream)
    const queue: RangeWanted[] = []
    const writer = new StreamWriter(stream, 4 * sliceBytes)
    let serving = false
    const fail = (error: unknown): void => {
      const reason = toShoalError(error)
      this.#log.warn('block stream closed', { peer: peerId, code: reason.code, error: reason.message })
      stream.abort(reason)
    }
    const reader = new FrameReader(blockFrameLimits, (frame) => {
      if (queue.length >= maxRequests) throw new ShoalError('ERR_DECODE', `more than ${maxRequests} requests at a time`)
      queue.push(readRequest(frame))
      if (serving) return
      serving = true
      this.#serve(queue, stream, writer)
        .catch(fail)
        .finally(() => {
          serving = false
        })
    })
    stream.addEventListener('close', () => {
      this.#streams.delete(stream)
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
  async #serve(queue: RangeWanted[], stream: Stream, writer: StreamWriter): Promise<void> {
    const cancelCheck = this.#watchProgress(stream, writer)
    try {
      for (let wanted = queue[0]; wanted !== undefined; wanted = queue[0]) {
        const following = queue[1]
        const loading = this.#load(wanted.cid)
        if (following !== undefined) this.#blocks.expect(following.cid)
        const sent = await this.#reply(wanted, await loading, writer)
        if (!sent) return
        queue.shift()
      }
    } finally {
      cancelCheck()
    }
  }

  async #load(cid: CID): Promise<Uint8Array | 'busy' | undefined> {
    try {
      return await this.#blocks.get(cid)
    } catch (error) {
      this.#log.warn('block cannot be read', { cid: cid.toString(), error: toShoalError(error).message })
      return undefined
    }
  }

  /** False when the stream closed meanwhile. */
  async #reply(wanted: RangeWanted, block: Uint8Array | 'busy' | undefined, writer: StreamWriter): Promise<boolean> {
    const { id, offset } = wanted
    if (block === undefined || block === 'busy') {
      return writer.push(encodeReply({ id, status: block === 'busy' ? RangeStatus.BUSY : RangeStatus.MISSING }))
    }
    const end = Math.max(offset, Math.min(offset + wanted.length, block.length))
    writer.push(encodeReply({ id, status: RangeStatus.OK, size: BigInt(block.length), length: end - offset }))
    for (let at = offset; at < end; at += sliceBytes) {
      writer.push(block.subarray(at, Math.min(at + sliceBytes, end)))
      // Small replies are queued up to the size of a slice, and leave together.
      if (writer.queuedBytes >= sliceBytes && !(await writer.drained())) return false
    }
    return true
  }

  // A requester that reads nothing would keep a block in memory for ever.
  #watchProgress(stream: Stream, writer: StreamWriter): () => void {
    let seen = writer.sentBytes
    let stuck = 0
    let cancel = (): void => undefined
    const check = (): void => {
      stuck = writer.sentBytes === seen ? stuck + 1 : 0
      seen = writer.sentBytes
      if (stuck >= stuckChecks) stream.abort(new ShoalError('ERR_DEADLINE', 'the requester reads nothing'))
      else cancel = this.#clock.after(stuckCheckMs, check)
    }
    cancel = this.#clock.after(stuckCheckMs, check)
    return () => cancel()
  }
}

function readRequest(frame: Uint8Array): RangeWanted {
  const body = decodeBlockFrame(frame)
  if (body.case !== 'request') throw new ShoalError('ERR_DECODE', 'not a range request')
  const { id, length } = body.value
  if (length === 0 || length > maxRangeBytes) throw new ShoalError('ERR_DECODE', `a range of ${length} bytes`)
  if (body.value.offset > BigInt(Number.MAX_SAFE_INTEGER) - BigInt(maxRangeBytes)) {
    throw new ShoalError('ERR_DECODE', 'an offset beyond any block')
  }
  return { id, cid: readCid(body.value.cid), offset: Number(body.value.offset), length }
}
