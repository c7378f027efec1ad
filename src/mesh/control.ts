import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import { foreignText, ShoalError, toShoalError } from '../base/errors.ts'
import { type ControlFrame, ControlFrameSchema } from '../wire/generated/control_pb.ts'
import { encodeFrame, type FrameLimits, FrameReader } from './frames.ts'
import { StreamWriter } from './stream-writer.ts'

export const controlProtocol = '/shoal/control/1.0.0'

/** What a frame says, as it arrives. */
export type ControlBody = Exclude<ControlFrame['body'], { case: undefined }>
/** What a frame says, as it is written: fields left out have protobuf's defaults. */
export type ControlMessage = Extract<MessageInitShape<typeof ControlFrameSchema>['body'], { case: string }>

/** Control protocol versions that this node speaks. */
const versions = { min: 1, max: 1 }

const KiB = 1024
const MiB = 1024 * KiB
const smallFrameBytes = 64 * KiB
const largeFrameBytes: Readonly<Partial<Record<ControlBody['case'], number>>> = {
  holdingsAnswer: MiB + smallFrameBytes,
  award: MiB + smallFrameBytes,
  done: 4 * MiB + smallFrameBytes,
  // The dep-info beside early metadata.
  progress: 2 * MiB + smallFrameBytes,
  // A trace.
  keep: MiB / 2 + smallFrameBytes,
  // 32 bytes for each statement that a roster can hold.
  rosterIds: 2 * smallFrameBytes + smallFrameBytes,
}
const maxQueuedBytes = 16 * MiB
/** Ticks (seconds) without any movement after which a peer is not waited for. */
const helloTicks = 5
const stuckTicks = 10

const limits: FrameLimits = {
  smallBytes: smallFrameBytes,
  of: (field) => limitOf(ControlFrameSchema.fields.find((known) => known.number === field)?.localName),
}

/** What this node says of itself when it greets. */
export interface Greeting {
  name: string
  /** The digest of its roster. */
  rosterDigest: Uint8Array
}

export interface ControlHandlers {
  /** The peer has greeted us: frames of rosters can be sent from now on. */
  onGreeted(): void
  /** The peer has greeted us, but knows of other members: until `agreed()` is called, only frames of rosters pass. */
  onDiffer(): void
  /** The peer greeted us, and knows the same members: frames can be sent from now on. */
  onHello(hello: { name: string; version: number }): void
  onFrame(body: ControlBody): void
  /** Once, when the stream is gone; the reason when it was not a plain close. */
  onClose(reason: ShoalError | undefined): void
}

/** One control stream to one peer: frames both ways, pings, deadlines. Never throws because of what a peer sends. */
export class ControlStream {
  readonly #clock: Clock
  readonly #stream: Stream
  readonly #greeting: Greeting
  readonly #handlers: ControlHandlers
  readonly #reader: FrameReader
  readonly #writer: StreamWriter
  readonly #pings = new Map<bigint, number>()
  /** What the peer said in its greeting. */
  #hello: { name: string; version: number } | undefined
  #agreed = false
  #closed = false
  #nonce = 0n
  #stuck = { ticks: 0, sentBytes: 0 }
  #unfinishedTicks = 0
  /** Ticks since the stream was opened. */
  ageTicks = 0
  /** Ticks since the last byte arrived. */
  silentTicks = 0
  /** How often something arrived. */
  heard = 0
  /** Frames of kinds that this version does not know. */
  unknownFrames = 0
  rttMs: number | undefined

  constructor(clock: Clock, stream: Stream, greeting: Greeting, handlers: ControlHandlers) {
    this.#clock = clock
    this.#stream = stream
    this.#handlers = handlers
    this.#reader = new FrameReader(limits, (frame) => this.#receive(frame))
    this.#writer = new StreamWriter(stream, maxQueuedBytes)
    this.#greeting = greeting
  }

  /** Says hello and begins to listen; the handlers may be called before this returns. */
  start(): void {
    const stream = this.#stream
    stream.addEventListener('close', (event: StreamCloseEvent) => this.#end(event.error))
    stream.addEventListener('remoteCloseWrite', () => this.close())
    stream.addEventListener('message', (event: StreamMessageEvent) => this.#read(event))
    const value = { versionMin: versions.min, versionMax: versions.max, ...this.#greeting }
    if (stream.status !== 'open') this.#end(undefined)
    else this.#write({ case: 'hello', value })
  }

  /** The peer has greeted us, knows the same members, and the stream is open. */
  get ready(): boolean {
    return this.#agreed && !this.#closed
  }

  /** The peer has greeted us; frames of rosters can be sent from now on. */
  get greeted(): boolean {
    return this.#hello !== undefined && !this.#closed
  }

  /** The peer has told everything that this node did not know of the members. */
  agreed(): void {
    if (this.#agreed || this.#closed || this.#hello === undefined) return
    this.#agreed = true
    this.#handlers.onHello(this.#hello)
    this.ping()
  }

  /**
   * Queues a frame; false when the stream is not ready or 16 MiB wait already.
   * @throws ShoalError ERR_LIMIT when the frame is larger than its kind allows.
   */
  send(body: ControlMessage): boolean {
    const mayPass = this.ready || (this.greeted && isOfRosters(body.case))
    return mayPass && this.#write(body)
  }

  ping(): void {
    if (!this.ready) return
    this.#nonce += 1n
    // A peer that answers no pings must not make this grow.
    if (this.#pings.size > stuckTicks) this.#pings.clear()
    this.#pings.set(this.#nonce, this.#clock.now())
    this.#write({ case: 'ping', value: { nonce: this.#nonce } })
  }

  /**
   * To be called once a second. Silence is counted in calls, not by the clock: when this machine was too busy to
   * listen, that is not the peer's silence.
   */
  tick(): void {
    this.silentTicks += 1
    this.ageTicks += 1
    if (!this.ready && this.ageTicks >= helloTicks) this.#fail(new ShoalError('ERR_DEADLINE', 'no hello'))
    const moved = this.#writer.pendingBytes === 0 || this.#writer.sentBytes !== this.#stuck.sentBytes
    this.#stuck = { ticks: moved ? 0 : this.#stuck.ticks + 1, sentBytes: this.#writer.sentBytes }
    if (this.#stuck.ticks >= stuckTicks) this.#fail(new ShoalError('ERR_DEADLINE', 'the peer reads nothing'))
    this.#unfinishedTicks = this.#reader.unfinished && this.silentTicks > 1 ? this.#unfinishedTicks + 1 : 0
    if (this.#unfinishedTicks >= stuckTicks) this.#fail(new ShoalError('ERR_DEADLINE', 'half a frame'))
  }

  close(): void {
    if (this.#closed) return
    this.#stream.abort(new Error('control stream closed'))
    this.#end(undefined)
  }

  #write(body: ControlMessage): boolean {
    const bytes = toBinary(ControlFrameSchema, create(ControlFrameSchema, { body }))
    const limit = limitOf(body.case)
    if (bytes.length > limit)
      throw new ShoalError('ERR_LIMIT', `${body.case} of ${bytes.length} bytes, at most ${limit}`)
    return this.#writer.push(encodeFrame(bytes))
  }

  // Runs inside libp2p's event dispatch, where anything thrown would end the process.
  #read(event: StreamMessageEvent): void {
    if (this.#closed) return
    this.silentTicks = 0
    this.heard += 1
    try {
      this.#reader.push(event.data)
    } catch (error) {
      this.#fail(toShoalError(error))
    }
  }

  #receive(frame: Uint8Array): void {
    const { body } = decode(frame)
    if (body.case === undefined) {
      this.unknownFrames += 1
    } else if (body.case === 'hello') {
      this.#greet(body.value)
    } else if (this.#hello === undefined || !(this.#agreed || isOfRosters(body.case))) {
      throw new ShoalError('ERR_DECODE', `${body.case} before hello`)
    } else if (body.case === 'ping') {
      this.#write({ case: 'pong', value: { nonce: body.value.nonce } })
    } else if (body.case === 'pong') {
      this.#timePong(body.value.nonce)
    } else {
      this.#handlers.onFrame(body)
    }
  }

  #greet(hello: { versionMin: number; versionMax: number; name: string; rosterDigest: Uint8Array }): void {
    if (this.#hello !== undefined) throw new ShoalError('ERR_DECODE', 'a second hello')
    const version = Math.min(hello.versionMax, versions.max)
    if (version < Math.max(hello.versionMin, versions.min)) {
      const theirs = `${hello.versionMin} to ${hello.versionMax}`
      throw new ShoalError('ERR_UNSUPPORTED', `the peer speaks control versions ${theirs}`)
    }
    this.#hello = { name: foreignText(hello.name).slice(0, 64), version }
    this.#handlers.onGreeted()
    const { rosterDigest } = hello
    const isSame = Buffer.compare(rosterDigest, this.#greeting.rosterDigest) === 0
    if (rosterDigest.length === 0 || isSame) this.agreed()
    else this.#handlers.onDiffer()
  }

  #timePong(nonce: bigint): void {
    const sentAt = this.#pings.get(nonce)
    if (sentAt === undefined) return
    this.#pings.delete(nonce)
    const measured = this.#clock.now() - sentAt
    const before = this.rttMs ?? measured
    // Quick to believe a shorter one: a longer one is mostly somebody being busy.
    this.rttMs = before + (measured - before) / (measured < before ? 2 : 8)
  }

  #fail(reason: ShoalError): void {
    if (this.#closed) return
    this.#stream.abort(reason)
    this.#end(reason)
  }

  #end(error: Error | undefined): void {
    if (this.#closed) return
    this.#closed = true
    this.#reader.stop()
    this.#writer.close()
    this.#handlers.onClose(error === undefined ? undefined : toShoalError(error, 'ERR_PEER_LOST'))
  }
}

function isOfRosters(kind: ControlBody['case']): boolean {
  return kind === 'rosterIds' || kind === 'rosterStatements'
}

function decode(frame: Uint8Array): ControlFrame {
  let message: ControlFrame
  try {
    message = fromBinary(ControlFrameSchema, frame)
  } catch (error) {
    throw new ShoalError('ERR_DECODE', 'not a control frame', { cause: error })
  }
  const limit = limitOf(message.body.case)
  if (frame.length > limit) throw new ShoalError('ERR_DECODE', `frame of ${frame.length} bytes, at most ${limit}`)
  return message
}

function limitOf(kind: string | undefined): number {
  const large: Readonly<Record<string, number>> = largeFrameBytes
  return (kind === undefined ? undefined : large[kind]) ?? smallFrameBytes
}
