import type { VirtualTime } from './virtual-time.ts'

interface Flow {
  /** Resources that it uses; one that it uses twice is named twice. */
  uses: readonly number[]
  bytes: number
  rate: number
  since: number
  cancel: () => void
  done: () => void
}

/** Bytes that are under way. */
export interface Sending {
  left(): number
  cancel(): void
}

/** Transfers that share links: each gets an equal part of each resource it uses, and goes as fast as the scarcest. */
export class Flows {
  readonly #time: VirtualTime
  /** Bytes per millisecond. */
  readonly #capacity: number[] = []
  readonly #users: Set<Flow>[] = []
  readonly #shares: number[] = []
  bytes = 0

  constructor(time: VirtualTime) {
    this.#time = time
  }

  /** @param capacity bytes per millisecond */
  resource(capacity: number): number {
    this.#users.push(new Set())
    this.#shares.push(0)
    return this.#capacity.push(capacity) - 1
  }

  /** Bytes per millisecond of one that would begin now. */
  next(uses: readonly number[]): number {
    let rate = Number.POSITIVE_INFINITY
    for (const use of uses) rate = Math.min(rate, (this.#capacity[use] ?? 0) / ((this.#shares[use] ?? 0) + 1))
    return rate
  }

  /** Bytes that are still to pass through all that use the resource. */
  left(use: number): number {
    let bytes = 0
    for (const flow of this.#users[use] ?? []) bytes += flow.bytes - flow.rate * (this.#time.now() - flow.since)
    return Math.max(0, bytes)
  }

  start(uses: readonly number[], bytes: number, done: () => void): Sending {
    this.bytes += bytes
    const flow: Flow = { uses, bytes, rate: 0, since: this.#time.now(), cancel: () => {}, done }
    for (const use of uses) {
      this.#users[use]?.add(flow)
      this.#shares[use] = (this.#shares[use] ?? 0) + 1
    }
    this.#change(uses)
    return {
      left: () => Math.max(0, flow.bytes - flow.rate * (this.#time.now() - flow.since)),
      cancel: () => this.#end(flow),
    }
  }

  #end(flow: Flow): void {
    flow.cancel()
    for (const use of flow.uses) {
      if (!this.#users[use]?.has(flow) && this.#shares[use] === 0) return
      this.#users[use]?.delete(flow)
      this.#shares[use] = Math.max(0, (this.#shares[use] ?? 0) - 1)
    }
    this.#change(flow.uses)
  }

  #change(uses: readonly number[]): void {
    const now = this.#time.now()
    const touched = new Set(uses.flatMap((use) => [...(this.#users[use] ?? [])]))
    for (const flow of touched) {
      let rate = Number.POSITIVE_INFINITY
      for (const use of flow.uses) rate = Math.min(rate, (this.#capacity[use] ?? 0) / (this.#shares[use] ?? 1))
      if (rate === flow.rate) continue
      flow.bytes -= flow.rate * (now - flow.since)
      flow.since = now
      flow.rate = rate
      flow.cancel()
      flow.cancel = this.#time.after(Math.max(0, flow.bytes) / rate, () => {
        this.#end(flow)
        flow.done()
      })
    }
  }
}
