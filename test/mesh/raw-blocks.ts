import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { blockFrameLimits, decodeBlockFrame, encodeReply } from '../../src/mesh/block-frames.ts'
import { FrameReader } from '../../src/mesh/frames.ts'
import { type RangeRequest, RangeStatus } from '../../src/wire/generated/block_pb.ts'

export type { RangeRequest }

/** Calls `onRequest` for each range that is asked for on a block stream. */
export function readRequests(stream: Stream, onRequest: (request: RangeRequest) => void): void {
  const reader = new FrameReader(blockFrameLimits, (frame) => {
    const body = decodeBlockFrame(frame)
    if (body.case === 'request') onRequest(body.value)
  })
  stream.addEventListener('message', (event: StreamMessageEvent) => reader.push(event.data))
}

/** Answers a request with a range of `block`, as an honest member would. */
export function answer(stream: Pick<Stream, 'send' | 'writeStatus'>, request: RangeRequest, block: Uint8Array): void {
  const offset = Number(request.offset)
  const end = Math.max(offset, Math.min(offset + request.length, block.length))
  if (stream.writeStatus !== 'writable') return
  const { id } = request
  stream.send(encodeReply({ id, status: RangeStatus.OK, size: BigInt(block.length), length: end - offset }))
  if (end > offset) stream.send(block.subarray(offset, end))
}
