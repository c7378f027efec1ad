import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { ShoalError } from '../base/errors.ts'
import {
  type BlockFrame,
  BlockFrameSchema,
  type RangeReplySchema,
  type RangeRequestSchema,
} from '../wire/generated/block_pb.ts'
import { encodeFrame, type FrameLimits } from './frames.ts'

export const blockProtocol = '/shoal/block/1.0.0'

const KiB = 1024
/** The largest range that one request may ask for. */
export const maxRangeBytes = 1024 * KiB
/** What a requester may have asked for and not received, per stream. */
export const windowBytes = 2048 * KiB
/** The most requests that may wait for their replies, per stream. */
export const maxRequests = 256
/** Members that a reply may name. */
export const maxOthers = 8

/** Requests are a few dozen bytes; a reply may name members and list chunks. */
export const blockFrameLimits: FrameLimits = { smallBytes: 4096, of: () => 0 }

export function encodeRequest(value: MessageInitShape<typeof RangeRequestSchema>): Uint8Array {
  return encodeFrame(toBinary(BlockFrameSchema, create(BlockFrameSchema, { body: { case: 'request', value } })))
}

/** A reply; the bytes that it announces must follow it. */
export function encodeReply(value: MessageInitShape<typeof RangeReplySchema>): Uint8Array {
  return encodeFrame(toBinary(BlockFrameSchema, create(BlockFrameSchema, { body: { case: 'reply', value } })))
}

/** @throws ShoalError ERR_DECODE when the bytes are no block frame. */
export function decodeBlockFrame(frame: Uint8Array): BlockFrame['body'] {
  try {
    return fromBinary(BlockFrameSchema, frame).body
  } catch (error) {
    throw new ShoalError('ERR_DECODE', 'not a block frame', { cause: error })
  }
}
