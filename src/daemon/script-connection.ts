import type { Socket } from 'node:net'
import { basename, dirname, isAbsolute } from 'node:path'
import { ShoalError } from '../base/errors.ts'
import { readEnvironment } from '../plan/environment.ts'
import type { ScriptCall } from '../plan/script-plan.ts'
import { encodeLocalFrame } from '../wire/local.ts'
import type { LocalFrame, ScriptFrame } from '../wire/local-frames.ts'
import { type Ran, ranAs, textIn } from './shim-link.ts'

const beatMs = 500

/** How a launcher is to observe its script. */
export interface WatchOrder {
  observer: string
  /** Absolute; the launcher makes it, and the notes in it. */
  dir: string
  /** What stands before rustc in the script's environment, if that is the shim; else ''. */
  wrapper: string
}

/** A launcher that waits, seen from the story in `script-run.ts`. All calls are harmless once it is gone. */
export interface ScriptLink {
  call: ScriptCall
  /** Where what the script would leave is to be laid out: beside OUT_DIR. */
  spare: string
  /** Aborted when the launcher is gone. */
  signal: AbortSignal
  /** The script as the launcher's child. Rejects when the launcher is gone before that has ended. */
  watch(order: WatchOrder): Promise<Ran>
  /** Everything was looked at: the launcher ends. */
  finish(): void
  /** The launcher moves the spare directory to OUT_DIR, says this and ends with 0. */
  recalled(said: { stdout: Uint8Array; stderr: Uint8Array }): void
  /** The script runs as if nobody had been asked. */
  refuse(reason: string): void
}

/** One launcher on the local socket. */
export class ScriptConnection implements ScriptLink {
  readonly call: ScriptCall
  readonly spare: string
  readonly signal: AbortSignal
  readonly #socket: Socket
  readonly #gone = new AbortController()
  readonly #beat: NodeJS.Timeout
  #greeting: Uint8Array | undefined
  #ran: PromiseWithResolvers<Ran> | undefined

  /** @param greeting a frame that comes before all others */
  constructor(socket: Socket, { call, spare }: { call: ScriptCall; spare: string }, greeting: Uint8Array) {
    this.call = call
    this.spare = spare
    this.signal = this.#gone.signal
    this.#socket = socket
    this.#greeting = greeting
    this.#beat = setInterval(() => this.#send({ type: 'beat' }), beatMs).unref()
    socket.once('close', () => this.#close())
    if (socket.destroyed) this.#close()
  }

  receive(frame: LocalFrame): void {
    if (frame.type !== 'ran' || this.#ran === undefined) throw new ShoalError('ERR_FRAME', `unexpected ${frame.type}`)
    this.#ran.resolve(ranAs(frame))
    this.#ran = undefined
  }

  async watch(order: WatchOrder): Promise<Ran> {
    this.signal.throwIfAborted()
    this.#ran = Promise.withResolvers()
    clearInterval(this.#beat)
    this.#send({ type: 'watch', ...order })
    return await this.#ran.promise
  }

  finish(): void {
    this.#socket.end()
  }

  recalled({ stdout, stderr }: { stdout: Uint8Array; stderr: Uint8Array }): void {
    this.#last({ type: 'recalled', stdout, stderr })
  }

  refuse(reason: string): void {
    this.#last({ type: 'refuse', reason })
  }

  #last(frame: LocalFrame): void {
    clearInterval(this.#beat)
    this.#send(frame)
    this.#socket.end()
  }

  #send(frame: LocalFrame): void {
    if (!this.#socket.writable) return
    const bytes = encodeLocalFrame(frame)
    this.#socket.write(this.#greeting === undefined ? bytes : Buffer.concat([this.#greeting, bytes]))
    this.#greeting = undefined
  }

  #close(): void {
    clearInterval(this.#beat)
    const error = new ShoalError('ERR_PEER_LOST', 'the launcher is gone')
    this.#ran?.reject(error)
    this.#gone.abort(error)
  }
}

/**
 * What a launcher says of its script.
 * @throws ShoalError ERR_UNSUPPORTED when something in it is not UTF-8, ERR_FRAME when it is not the run of a build script
 */
export function readScriptCall(frame: ScriptFrame): { call: ScriptCall; spare: string } {
  const text = (bytes: Uint8Array): string => textIn(bytes, 'a path or variable')
  // A script can see variables of any bytes, so one that is not UTF-8 is not left out.
  const env = readEnvironment(frame.env.map(text))
  const [program, cwd, spare, outDir] = [text(frame.program), text(frame.cwd), text(frame.spare), env.get('OUT_DIR')]
  const paths = [program, cwd, spare, outDir ?? '']
  const isSpare = dirname(spare) === dirname(outDir ?? '') && basename(spare).startsWith('.shoal-')
  if (outDir === undefined || !paths.every(isAbsolute) || !isSpare)
    throw new ShoalError('ERR_FRAME', 'not a build script as cargo runs it')
  return { call: { program, cwd, env, outDir, umask: frame.umask & 0o777, cargoPid: frame.ppid }, spare }
}
