import { create, type MessageInitShape } from '@bufbuild/protobuf'
import type { ControlFrame } from '../wire/generated/control_pb.ts'
import {
  AwardSchema,
  BidSchema,
  BuildingSchema,
  CancelledSchema,
  CancelSchema,
  DeclineSchema,
  DoneSchema,
  GoneSchema,
  GoodbyeSchema,
  OfferSchema,
  ProgressSchema,
  ReserveSchema,
} from '../wire/generated/market_pb.ts'

const schemas = {
  building: BuildingSchema,
  offer: OfferSchema,
  reserve: ReserveSchema,
  decline: DeclineSchema,
  bid: BidSchema,
  award: AwardSchema,
  gone: GoneSchema,
  progress: ProgressSchema,
  done: DoneSchema,
  cancel: CancelSchema,
  cancelled: CancelledSchema,
  goodbye: GoodbyeSchema,
} as const

type MarketCase = keyof typeof schemas

/** A control frame's body that belongs to the market. */
export type MarketBody = Extract<ControlFrame['body'], { case: MarketCase }>

export function isMarketBody(body: ControlFrame['body']): body is MarketBody {
  return body.case !== undefined && Object.hasOwn(schemas, body.case)
}

/** Builds a body; fields that are left out have their protobuf default. */
export function frame<C extends MarketCase>(kind: C, init: MessageInitShape<(typeof schemas)[C]>): MarketBody {
  return { case: kind, value: create<(typeof schemas)[C]>(schemas[kind], init) } as MarketBody
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}

export function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'))
}

/** A number as protobuf's uint32 can carry it. */
export function clampU32(value: number): number {
  return Number.isFinite(value) ? Math.min(Math.max(0, Math.round(value)), 0xffffffff) : 0
}
