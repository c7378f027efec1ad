import type { Clock } from '../base/clock.ts'
import { marketLimits, timing } from '../market/limits.ts'

/** Which members build something just now, by what they have said (BUILDING). */
export class Builders {
  readonly #clock: Pick<Clock, 'now'>
  /** Peer → its builds → until when each counts unless it is said again. */
  readonly #builds = new Map<string, Map<string, number>>()

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  hear(peer: string, { build, active }: { build: Uint8Array; active: boolean }): void {
    const builds = this.#builds.get(peer) ?? new Map<string, number>()
    const key = Buffer.from(build.subarray(0, 16)).toString('hex')
    if (!active) builds.delete(key)
    else if (builds.has(key) || builds.size < marketLimits.builds) builds.set(key, this.#clock.now() + timing.interest)
    if (builds.size > 0) this.#builds.set(peer, builds)
    else this.#builds.delete(peer)
  }

  forget(peer: string): void {
    this.#builds.delete(peer)
  }

  /** Whether anybody builds. */
  get areAny(): boolean {
    const now = this.#clock.now()
    for (const [peer, builds] of this.#builds) {
      for (const [build, until] of builds) if (until <= now) builds.delete(build)
      if (builds.size === 0) this.#builds.delete(peer)
    }
    return this.#builds.size > 0
  }
}
