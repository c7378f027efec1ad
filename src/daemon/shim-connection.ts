import type { Socket } from 'node:net'
import { constants } from 'node:os'
import { basename } from 'node:path'
import { ShoalError } from '../base/errors.ts'
import { entryText, readEnvironment } from '../plan/environment.ts'
import type { Invocation } from '../plan/invocation.ts'
import { expandArgFiles } from '../plan/rustc-args.ts'
import { encodeLocalFrame } from '../wire/local.ts'
import type { CompileFrame, DeliveredFile, DeliveredFrame, LocalFrame } from '../wire/local-frames.ts'
import { isStopped } from './cargo-process.ts'
import { type LinkOrder, type Ran, type RunOrder, ranAs, type ShimLink, textIn } from './shim-link.ts'

/** The shim gives up after 2 s without a first frame, and after 5 s without another. Of those that wait each is woken up by one. */
const [firstBeatMs, beatMs] = [500, 1500]
/** How often a running shim is looked at. */
const lookMs = 1000
/** A shim that has said nothing of a linker for so much longer than that had hangs, and the others do not wait for it. */
const linkMarginSeconds = 30

/** Jobserver tokens that shims left without, per cargo process: the next shim of that cargo repays one. */
export class TokenDebts {
  readonly #debts = new Map<number, number>()

  note(cargoPid: number): void {
    this.#debts.set(cargoPid, (this.#debts.get(cargoPid) ?? 0) + 1)
    if (this.#debts.size > 64) this.#debts.delete(this.#debts.keys().next().value ?? 0)
  }

  /** True when a debt was there and is now repaid. */
  repay(cargoPid: number): boolean {
    const debt = this.#debts.get(cargoPid) ?? 0
    if (debt > 1) this.#debts.set(cargoPid, debt - 1)
    else this.#debts.delete(cargoPid)
    return debt > 0
  }
}

type PlacedHandler = (file: DeliveredFile, identity: string) => void

/** One shim on the local socket. */
export class ShimConnection implements ShimLink {
  readonly invocation: Invocation
  readonly signal: AbortSignal
  readonly #socket: Socket
  readonly #debts: TokenDebts
  readonly #gone = new AbortController()
  readonly #pid: number
  /** Heartbeats while it waits, looks at it while it runs rustc. */
  #beat: NodeJS.Timeout
  #yielded = false
  /** Written together with the first frame. */
  #greeting: Uint8Array | undefined
  /** What the shim is putting in place, beginning with what it has not reported yet. */
  #delivery: { left: DeliveredFile[]; onPlaced: PlacedHandler; ended: PromiseWithResolvers<void> } | undefined
  #ran: { resolve(ran: Ran): void; reject(error: unknown): void } | undefined
  #linked: PromiseWithResolvers<Ran> | undefined

  /**
   * @param pid of the shim
   * @param greeting a frame that comes before all others
   */
  constructor(socket: Socket, invocation: Invocation, pid: number, debts: TokenDebts, greeting: Uint8Array) {
    this.invocation = invocation
    this.#pid = pid
    this.#greeting = greeting
    this.signal = this.#gone.signal
    this.#socket = socket
    this.#debts = debts
    this.#beat = this.#beating()
    socket.once('close', () => this.#close())
    if (socket.destroyed) this.#close()
  }

  /** A frame of this shim; any other kind of frame than those that follow COMPILE is an error. */
  receive(frame: LocalFrame): void {
    if (frame.type === 'token') {
      if (frame.state === 'debt') this.#debts.note(this.invocation.cargoPid)
      return
    }
    if (frame.type === 'delivered') {
      this.#delivered(frame)
      return
    }
    if (frame.type === 'linked') {
      this.#linked?.resolve(ranAs(frame))
      this.#linked = undefined
      return
    }
    if (frame.type !== 'ran') throw new ShoalError('ERR_FRAME', `unexpected frame ${frame.type}`)
    clearInterval(this.#beat)
    this.#ran?.resolve(ranAs(frame))
    this.#ran = undefined
  }

  yieldToken(): void {
    if (this.#yielded) return
    this.#yielded = true
    this.#send({ type: 'release', repay: this.#debts.repay(this.invocation.cargoPid) })
  }

  stderr(data: Uint8Array): void {
    this.#send({ type: 'stderr', data })
  }

  placed(path: string): void {
    this.#send({ type: 'placed', path })
  }

  async deliver(files: readonly DeliveredFile[], stderr: Uint8Array, onPlaced: PlacedHandler): Promise<void> {
    this.signal.throwIfAborted()
    // What crosses the shim's last word would break the connection before that is read.
    clearInterval(this.#beat)
    const ended = Promise.withResolvers<void>()
    this.#delivery = { left: [...files], onPlaced, ended }
    this.#send({ type: 'deliver', files: [...files], stderr })
    await ended.promise
  }

  #delivered({ state, identities, errno }: DeliveredFrame): void {
    const delivery = this.#delivery
    if (delivery === undefined) throw new ShoalError('ERR_FRAME', 'nothing was to be delivered')
    for (const identity of identities) {
      const file = delivery.left.shift()
      if (file === undefined) throw new ShoalError('ERR_FRAME', 'more files than were to be delivered')
      delivery.onPlaced(file, identity)
    }
    if (state === 'metadata') return
    this.#delivery = undefined
    if (state === 'done') {
      this.#socket.end()
      delivery.ended.resolve()
      return
    }
    this.#beat = this.#beating()
    const code = errno === constants.errno.ENOSPC || errno === constants.errno.EDQUOT ? 'ERR_DISK_FULL' : 'ERR_STORE'
    delivery.ended.reject(
      new ShoalError(code, `${delivery.left[0]?.target ?? 'a file'} not put in place: error ${errno}`),
    )
  }

  async run(order: RunOrder, onStall: () => void): Promise<Ran> {
    this.signal.throwIfAborted()
    return await new Promise<Ran>((resolve, reject) => {
      this.#ran = { resolve, reject }
      // From here on the shim listens to rustc, not to us: what it leaves unread, or we write after its last word, would
      // break the connection before that word is read.
      clearInterval(this.#beat)
      this.#beat = this.#looking(onStall)
      this.#send({ type: 'run', ...order })
    })
  }

  async link(order: LinkOrder, onStall: () => void): Promise<Ran> {
    this.signal.throwIfAborted()
    this.#linked = Promise.withResolvers<Ran>()
    const looking = this.#looking(onStall, (order.seconds + linkMarginSeconds) * 1000)
    this.#send({ type: 'link', ...order })
    try {
      return await this.#linked.promise
    } finally {
      clearInterval(looking)
    }
  }

  finish(): void {
    this.#socket.end()
  }

  exit(code: number): void {
    this.#send({ type: 'exit', code })
    this.#socket.end()
  }

  refuse(reason: string): void {
    this.#send({ type: 'refuse', reason })
    this.#socket.end()
  }

  /** @param onStall called once, when the shim was stopped, or after so many ms in which this machine was awake */
  #looking(onStall: () => void, mostMs = Number.POSITIVE_INFINITY): NodeJS.Timeout {
    let waitedMs = 0
    const looking = setInterval(() => {
      waitedMs += lookMs
      if (waitedMs < mostMs && !isStopped(this.#pid)) return
      clearInterval(looking)
      onStall()
    }, lookMs)
    return looking.unref()
  }

  #beating(): NodeJS.Timeout {
    const beat = (): void => this.#send({ type: 'beat' })
    const first = setTimeout(() => {
      beat()
      this.#beat = setInterval(beat, beatMs).unref()
    }, firstBeatMs)
    return first.unref()
  }

  /** Frames of one moment leave together: each write wakes the shim up, which takes the processor from whoever has it. */
  #send(frame: LocalFrame): void {
    if (!this.#socket.writable) return
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork()
      process.nextTick(() => this.#socket.uncork())
    }
    if (this.#greeting !== undefined) this.#socket.write(this.#greeting)
    this.#greeting = undefined
    this.#socket.write(encodeLocalFrame(frame))
  }

  #close(): void {
    clearInterval(this.#beat)
    const error = new ShoalError('ERR_PEER_LOST', 'the shim is gone')
    this.#ran?.reject(error)
    this.#linked?.reject(error)
    this.#delivery?.ended.reject(error)
    this.#gone.abort(error)
  }
}

/**
 * The invocation inside a COMPILE frame.
 * @throws ShoalError ERR_UNSUPPORTED when something in it is not UTF-8
 */
export async function readInvocation(frame: CompileFrame): Promise<Invocation> {
  const text = (bytes: Uint8Array): string => textIn(bytes, 'a path or argument')
  const named = frame.argv.map(text)
  const driver = basename(named[0] ?? '') === 'clippy-driver' ? named.shift() : undefined
  const [rustc = '', ...argv] = named
  return {
    driver,
    rustc,
    argv: await expandArgFiles(argv),
    cwd: text(frame.cwd),
    // rustc's env! refuses a variable that is not UTF-8, and a macro can read it all the same.
    env: readEnvironment(frame.env.map(entryText)),
    remaps: frame.remaps.map(({ from, to }) => ({ from: text(from), to: text(to) })),
    cargoPid: frame.ppid,
  }
}
