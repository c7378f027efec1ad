import type { Stream } from '@libp2p/interface'

/** Buffers smaller than this that wait together leave together, up to this size: 256 KiB of blocks and what announces them. */
const togetherBytes = 257 * 1024
/** From here on memory is kept for putting them together. */
const keptBytes = 32 * 1024

/**
 * Bounded outgoing queue of one stream. Hands the stream a buffer only when the previous one has left it, so that what
 * waits is here, counted, and not in libp2p's own buffer, which has no useful bound.
 */
export class StreamWriter {
  readonly #stream: Stream
  readonly #maxQueuedBytes: number
  readonly #queue: Uint8Array[] = []
  readonly #waiting: (() => void)[] = []
  readonly #onMovement: () => void
  #together: Buffer | undefined
  #queuedBytes = 0
  #handedBytes = 0
  #scheduled = false
  #closed = false

  constructor(stream: Stream, maxQueuedBytes: number) {
    this.#stream = stream
    this.#maxQueuedBytes = maxQueuedBytes
    // The stream flushes its own buffer in a microtask after either event, and loses what is sent from within one: so
    // look again after that. The events are the only reliable signal; `onDrain()` works once in a stream's life.
    this.#onMovement = () => queueMicrotask(() => this.#pump())
    stream.addEventListener('drain', this.#onMovement)
    stream.addEventListener('idle', this.#onMovement)
  }

  /** Bytes that have not been handed to the stream. */
  get queuedBytes(): number {
    return this.#queuedBytes
  }

  /** Bytes that have left: a writer that is stuck has bytes pending and the same figure as before. */
  get sentBytes(): number {
    return this.#handedBytes - this.#stream.writeBufferLength
  }

  get pendingBytes(): number {
    return this.#queuedBytes + this.#stream.writeBufferLength
  }

  /** Queues bytes; false when they would exceed the bound (they are not queued) or the stream is closed. */
  push(bytes: Uint8Array): boolean {
    if (this.#closed || this.#queuedBytes + bytes.length > this.#maxQueuedBytes) return false
    if (bytes.length === 0) return true
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
    // Whatever else is pushed in this turn leaves with it.
    if (!this.#scheduled) {
      this.#scheduled = true
      queueMicrotask(() => {
        this.#scheduled = false
        this.#pump()
      })
    }
    return true
  }

  /** Waits until everything queued has been handed over and the stream takes more; false when it closes instead. */
  async drained(): Promise<boolean> {
    while (!this.#closed && (this.#queue.length > 0 || !this.#writable)) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    return !this.#closed
  }

  /** Lets go of memory that makes sending much at a time cheaper. To be called when all has left. */
  rest(): void {
    this.#together = undefined
  }

  /** To be called when the stream has closed. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stream.removeEventListener('drain', this.#onMovement)
    this.#stream.removeEventListener('idle', this.#onMovement)
    this.#queue.length = 0
    this.#queuedBytes = 0
    this.#wake()
  }

  get #writable(): boolean {
    return !this.#stream.writableNeedsDrain && this.#stream.writeBufferLength === 0
  }

  #pump(): void {
    while (!this.#closed && this.#writable) {
      const next = this.#take()
      if (next === undefined) break
      this.#queuedBytes -= next.length
      this.#handedBytes += next.length
      try {
        this.#stream.send(next)
      } catch (error) {
        // Whatever it threw, the stream is of no use any more; its close event tells the owner.
        this.#stream.abort(error instanceof Error ? error : new Error(String(error)))
        this.close()
        return
      }
    }
    if (this.#queue.length === 0 && this.#writable) this.#wake()
  }

  #take(): Uint8Array | undefined {
    const [first, second] = this.#queue
    if (first === undefined) return undefined
    let count = 1
    let bytes = first.length
    if (second !== undefined && first.length + second.length <= togetherBytes) {
      for (const buffer of this.#queue.slice(1)) {
        if (bytes + buffer.length > togetherBytes) break
        bytes += buffer.length
        count += 1
      }
    }
    const taken = this.#queue.splice(0, count)
    if (count === 1) return first
    if (bytes < keptBytes) return Buffer.concat(taken, bytes)
    // What was sent from it before has been encrypted, or the stream would not take more.
    this.#together ??= Buffer.allocUnsafeSlow(togetherBytes)
    let at = 0
    for (const buffer of taken) {
      this.#together.set(buffer, at)
      at += buffer.length
    }
    return this.#together.subarray(0, bytes)
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
