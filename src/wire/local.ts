import { ShoalError } from '../base/errors.ts'
import { BodyReader, BodyWriter } from './local-body.ts'
import { clients, type DeliveredFile, deliveryStates, type LocalFrame, sources, tokenStates } from './local-frames.ts'

/** The version of the local protocol that this code speaks; protocols/local.md. */
export const localVersion = 6

/** Bytes of type and payload of one frame, at most. */
export const maxLocalFrame = 16 * 1024 * 1024

/** Arguments, variables or remaps of one COMPILE, at most. */
const maxItems = 65_536

const magic = 'shoal'

/** Code of each frame on the wire. From 0x81 on they come from the daemon, as do RESPONSE and EVENT. */
const codes = {
  hello: 0x01,
  compile: 0x02,
  ran: 0x03,
  token: 0x04,
  delivered: 0x05,
  linked: 0x06,
  script: 0x07,
  request: 0x10,
  response: 0x11,
  event: 0x12,
  welcome: 0x81,
  release: 0x82,
  stdout: 0x83,
  stderr: 0x84,
  run: 0x85,
  exit: 0x86,
  beat: 0x87,
  refuse: 0x88,
  placed: 0x89,
  deliver: 0x8a,
  link: 0x8b,
  watch: 0x8c,
  recalled: 0x8d,
} as const

/**
 * One frame, length prefix included.
 * @throws ShoalError ERR_FRAME if a value does not fit (more than 16 MiB, a list over 65536 items, a number out of range)
 */
export function encodeLocalFrame(frame: LocalFrame): Buffer {
  const body = new BodyWriter()
  writeBody(body, frame)
  return body.framed(codes[frame.type], maxLocalFrame)
}

function writeBody(body: BodyWriter, frame: LocalFrame): BodyWriter {
  switch (frame.type) {
    case 'hello':
      return body.u16(frame.version).text(magic).u8(clients.indexOf(frame.client))
    case 'compile':
      return body
        .bytes(frame.cwd)
        .list(frame.argv, maxItems, (item) => body.bytes(item))
        .list(frame.env, maxItems, (item) => body.bytes(item))
        .u32(frame.pid)
        .u32(frame.ppid)
        .flag(frame.hasJobserver)
        .list(frame.remaps, maxItems, (remap) => body.bytes(remap.from).bytes(remap.to))
    case 'ran':
    case 'linked':
      return body
        .i32(frame.code)
        .u64(frame.wallMicros)
        .u64(frame.cpuMicros)
        .flag(frame.truncated)
        .bytes(frame.stdout)
        .bytes(frame.stderr)
    case 'token':
      return body.u8(tokenStates[frame.state])
    case 'request':
    case 'response':
    case 'event':
      return body.text(frame.json)
    case 'welcome':
      return body.u16(frame.version)
    case 'release':
      return body.flag(frame.repay)
    case 'stdout':
    case 'stderr':
      return body.bytes(frame.data)
    case 'run':
      return body.text(frame.privateDir).text(frame.observer).flag(frame.stripIncremental).flag(frame.linger)
    case 'link':
      return body
        .text(frame.dir)
        .text(frame.observer)
        .text(frame.program)
        .list(frame.args, maxItems, (item) => body.text(item))
        .list(frame.path, maxItems, (item) => body.text(item))
        .u32(frame.seconds)
    case 'script':
      return body
        .bytes(frame.cwd)
        .bytes(frame.program)
        .list(frame.env, maxItems, (item) => body.bytes(item))
        .u32(frame.pid)
        .u32(frame.ppid)
        .u32(frame.umask)
        .bytes(frame.spare)
    case 'watch':
      return body.text(frame.observer).text(frame.dir).text(frame.wrapper)
    case 'recalled':
      return body.bytes(frame.stdout).bytes(frame.stderr)
    case 'exit':
      return body.i32(frame.code)
    case 'beat':
      return body
    case 'refuse':
      return body.text(frame.reason)
    case 'placed':
      return body.text(frame.path)
    case 'deliver':
      return body.list(frame.files, maxItems, (file) => writeFile(body, file)).bytes(frame.stderr)
    case 'delivered':
      return body
        .u8(deliveryStates.indexOf(frame.state))
        .list(frame.identities, maxItems, (identity) => body.text(identity))
        .i32(frame.errno)
    default:
      return frame satisfies never
  }
}

function decodeBody(code: number, body: BodyReader): LocalFrame {
  switch (code) {
    case codes.hello: {
      const version = body.u16()
      if (body.text() !== magic) throw new ShoalError('ERR_FRAME', 'not the local protocol of Shoal')
      const client = clients[body.u8()]
      if (client === undefined) throw new ShoalError('ERR_FRAME', 'unknown kind of client')
      return { type: 'hello', version, client }
    }
    case codes.compile:
      return {
        type: 'compile',
        cwd: body.bytes(),
        argv: body.list(maxItems, () => body.bytes()),
        env: body.list(maxItems, () => body.bytes()),
        pid: body.u32(),
        ppid: body.u32(),
        hasJobserver: body.flag(),
        remaps: body.list(maxItems, () => ({ from: body.bytes(), to: body.bytes() })),
      }
    case codes.ran:
    case codes.linked:
      return {
        type: code === codes.ran ? 'ran' : 'linked',
        code: body.i32(),
        wallMicros: body.u64(),
        cpuMicros: body.u64(),
        truncated: body.flag(),
        stdout: body.bytes(),
        stderr: body.bytes(),
      }
    case codes.token:
      return { type: 'token', state: tokenState(body.u8()) }
    case codes.request:
      return { type: 'request', json: body.text() }
    case codes.response:
      return { type: 'response', json: body.text() }
    case codes.event:
      return { type: 'event', json: body.text() }
    case codes.welcome:
      return { type: 'welcome', version: body.u16() }
    case codes.release:
      return { type: 'release', repay: body.left > 0 && body.flag() }
    case codes.stdout:
      return { type: 'stdout', data: body.bytes() }
    case codes.stderr:
      return { type: 'stderr', data: body.bytes() }
    case codes.run:
      return {
        type: 'run',
        privateDir: body.text(),
        observer: body.text(),
        stripIncremental: body.flag(),
        linger: body.flag(),
      }
    case codes.link:
      return {
        type: 'link',
        dir: body.text(),
        observer: body.text(),
        program: body.text(),
        args: body.list(maxItems, () => body.text()),
        path: body.list(maxItems, () => body.text()),
        seconds: body.u32(),
      }
    case codes.script:
      return {
        type: 'script',
        cwd: body.bytes(),
        program: body.bytes(),
        env: body.list(maxItems, () => body.bytes()),
        pid: body.u32(),
        ppid: body.u32(),
        umask: body.u32(),
        spare: body.bytes(),
      }
    case codes.watch:
      return { type: 'watch', observer: body.text(), dir: body.text(), wrapper: body.text() }
    case codes.recalled:
      return { type: 'recalled', stdout: body.bytes(), stderr: body.bytes() }
    case codes.exit:
      return { type: 'exit', code: body.i32() }
    case codes.beat:
      return { type: 'beat' }
    case codes.refuse:
      return { type: 'refuse', reason: body.text() }
    case codes.placed:
      return { type: 'placed', path: body.text() }
    case codes.deliver:
      return { type: 'deliver', files: body.list(maxItems, () => readFile(body)), stderr: body.bytes() }
    case codes.delivered:
      return {
        type: 'delivered',
        state: oneOf(deliveryStates, body.u8()),
        identities: body.list(maxItems, () => body.text()),
        errno: body.i32(),
      }
    default:
      throw new ShoalError('ERR_FRAME', `unknown frame type 0x${code.toString(16)}`)
  }
}

function writeFile(
  body: BodyWriter,
  { from, source, target, executable, line, isMetadata }: DeliveredFile,
): BodyWriter {
  return body.u8(sources.indexOf(from)).bytes(source).text(target).flag(executable).bytes(line).flag(isMetadata)
}

function readFile(body: BodyReader): DeliveredFile {
  return {
    from: oneOf(sources, body.u8()),
    source: body.bytes(),
    target: body.text(),
    executable: body.flag(),
    line: body.bytes(),
    isMetadata: body.flag(),
  }
}

function oneOf<T>(all: readonly T[], at: number): T {
  const one = all[at]
  if (one === undefined) throw new ShoalError('ERR_FRAME', `unknown value ${at}`)
  return one
}

function tokenState(value: number): keyof typeof tokenStates {
  if (value === tokenStates.released) return 'released'
  if (value === tokenStates.taken) return 'taken'
  if (value === tokenStates.debt) return 'debt'
  throw new ShoalError('ERR_FRAME', `unknown token state ${value}`)
}

/** Finds the frames in a byte stream, however it was cut. After an error it gives nothing but that error. */
export class FrameReader {
  #chunks: Uint8Array[] = []
  #held = 0
  /** Bytes without which no further frame can be read: chunks are joined once per frame, not once per chunk. */
  #needed = 4
  #error: ShoalError | undefined

  /**
   * Takes the next chunk. The frames it completes come from the returned iterator; whatever is not iterated over stays
   * for the next call. Byte fields are views of the received chunks.
   * @throws ShoalError ERR_FRAME, from the iterator, after the frames that were whole
   */
  push(chunk: Uint8Array): Generator<LocalFrame, void, undefined> {
    if (this.#error === undefined) {
      this.#chunks.push(chunk)
      this.#held += chunk.length
    }
    return this.#frames()
  }

  *#frames(): Generator<LocalFrame, void, undefined> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error
      const frame = this.#next()
      if (frame === undefined) return
      yield frame
    }
  }

  #next(): LocalFrame | undefined {
    if (this.#held < this.#needed) return undefined
    const bytes = this.#chunks.length === 1 && this.#chunks[0] ? toBuffer(this.#chunks[0]) : Buffer.concat(this.#chunks)
    this.#chunks = [bytes]
    try {
      const length = bytes.readUInt32BE(0)
      if (length < 1 || length > maxLocalFrame) throw new ShoalError('ERR_FRAME', `frame of ${length} bytes`)
      this.#needed = 4 + length
      if (bytes.length < this.#needed) return undefined
      const body = new BodyReader(bytes.subarray(5, this.#needed))
      const frame = decodeBody(bytes.readUInt8(4), body)
      body.end()
      this.#chunks = [bytes.subarray(this.#needed)]
      this.#held -= this.#needed
      this.#needed = 4
      return frame
    } catch (error) {
      if (!(error instanceof ShoalError)) throw error
      this.#error = error
      this.#chunks = []
      throw error
    }
  }
}

const toBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
