import type { MessageStream, StreamMessageEvent } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import { ShoalError } from '../base/errors.ts'

/** More than anybody has to say before it is answered, but for who sends a roster. */
const defaultWaitingBytes = 256 * 1024
const headBytes = 4

export interface TalkInit {
  clock: Clock
  /** Everything has to be over within this. */
  deadlineMs: number
  /** Ends it earlier. */
  signal?: AbortSignal | undefined
  /** So much may have come that was not received yet. Default 256 KiB. */
  maxWaitingBytes?: number
}

/**
 * Messages on a connection that carries nothing else yet: four bytes of length, then so many bytes. Whatever the other side
 * does, this holds so much of it and no more, and is over in time.
 */
export class Talk {
  readonly #stream: MessageStream
  readonly #clock: Clock
  readonly #signal: AbortSignal | undefined
  readonly #cancel: () => void
  readonly #maxWaitingBytes: number
  /** In the pieces in which it came: a stranger may send a byte at a time, and each must not have all before it copied. */
  #pieces: Buffer[] = []
  #held = 0
  #failure: ShoalError | undefined
  #isOver = false
  #wake: () => void = () => undefined

  constructor(stream: MessageStream, init: TalkInit) {
    this.#stream = stream
    this.#clock = init.clock
    this.#maxWaitingBytes = init.maxWaitingBytes ?? defaultWaitingBytes
    this.#signal = init.signal
    this.#cancel = init.clock.after(init.deadlineMs, this.#onLate)
    this.#signal?.addEventListener('abort', this.#onLate)
    stream.addEventListener('message', this.#onMessage)
    stream.addEventListener('close', this.#onClose)
    stream.addEventListener('remoteCloseWrite', this.#onClose)
    if (this.#signal?.aborted === true) this.#onLate()
    if (stream.status !== 'open') this.#onClose()
  }

  /** Nothing has ended it yet. */
  get isOpen(): boolean {
    return this.#failure === undefined
  }

  /** Hands a message to the connection. @throws ShoalError ERR_PEER_LOST, ERR_DEADLINE */
  send(message: Uint8Array): void {
    if (this.#failure !== undefined) throw this.#failure
    const head = Buffer.alloc(headBytes)
    head.writeUInt32BE(message.length)
    try {
      this.#stream.send(Buffer.concat([head, message]))
    } catch (error) {
      throw new ShoalError('ERR_PEER_LOST', 'the connection is gone', { cause: error })
    }
  }

  /**
   * The next message, of at most `maxBytes`.
   * @throws ShoalError ERR_DECODE for a longer one, ERR_PEER_LOST, ERR_DEADLINE
   */
  async receive(maxBytes: number): Promise<Uint8Array> {
    for (;;) {
      const message = this.#take(maxBytes)
      if (message !== undefined) return message
      if (this.#failure !== undefined) throw this.#failure
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Says why nothing more comes, unless it is over already, and waits as `gone` does. @throws ShoalError as `send` */
  async leave(word: Uint8Array, ms: number): Promise<void> {
    if (!this.isOpen) return
    this.send(word)
    await this.gone(ms)
  }

  /** Waits until the other side has gone, or `ms` are over: what was sent last has arrived by then. */
  async gone(ms: number): Promise<void> {
    const cancel = this.#clock.after(ms, this.#onLate)
    while (this.#failure === undefined) {
      this.#gather(this.#held)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    cancel()
  }

  /** Ends the talk. What has arrived behind it is for whoever has the connection now. */
  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#cancel()
    this.#signal?.removeEventListener('abort', this.#onLate)
    this.#stream.removeEventListener('message', this.#onMessage)
    this.#stream.removeEventListener('close', this.#onClose)
    this.#stream.removeEventListener('remoteCloseWrite', this.#onClose)
    const left = this.#gather(this.#held)
    if (left.length > 0 && this.#stream.status === 'open') this.#stream.unshift(new Uint8Array(left))
  }

  #take(maxBytes: number): Uint8Array | undefined {
    if (this.#held < headBytes) return undefined
    const head = this.#gather(headBytes)
    this.#pieces.unshift(head)
    this.#held += headBytes
    const length = head.readUInt32BE()
    if (length > maxBytes) throw new ShoalError('ERR_DECODE', `a message of ${length} bytes, at most ${maxBytes}`)
    const end = headBytes + length
    return this.#held < end ? undefined : new Uint8Array(this.#gather(end).subarray(headBytes))
  }

  /** Takes out the first so many bytes, which have to be here. */
  #gather(length: number): Buffer {
    let [count, found] = [0, 0]
    while (found < length) {
      found += this.#pieces[count]?.length ?? 0
      count += 1
    }
    const pieces = this.#pieces.splice(0, count)
    const all = count === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces)
    if (found > length) this.#pieces.unshift(all.subarray(length))
    this.#held -= length
    return all.subarray(0, length)
  }

  readonly #onMessage = (event: StreamMessageEvent): void => {
    const bytes = event.data instanceof Uint8Array ? event.data : event.data.subarray()
    if (this.#held + bytes.length > this.#maxWaitingBytes) {
      this.#fail(new ShoalError('ERR_DECODE', 'too much is said before it is answered'))
      return
    }
    // A copy: the connection gives its memory back.
    if (bytes.length > 0) this.#pieces.push(Buffer.from(bytes))
    this.#held += bytes.length
    this.#wake()
  }

  readonly #onClose = (): void => this.#fail(new ShoalError('ERR_PEER_LOST', 'the connection has closed'))

  readonly #onLate = (): void => this.#fail(new ShoalError('ERR_DEADLINE', 'the handshake took too long'))

  #fail(failure: ShoalError): void {
    this.#failure ??= failure
    this.#wake()
  }
}
