import { fromHex, toHex } from './frames.ts'
import { marketLimits, timing } from './limits.ts'

/** The builds that run on this machine, which toolchains they use, and who refused one of their units. */
export class Builds {
  readonly #active = new Map<string, { id: Uint8Array; refusedBy: Set<string> }>()
  /** Hex, the latest first. Kept from one build to the next: most use what the one before used. */
  #toolchains: string[] = []
  #refusals = 0
  #announceAt = Number.POSITIVE_INFINITY

  /** When the active builds are to be announced again; Infinity when there is none. */
  get announceAt(): number {
    return this.#announceAt
  }

  /** False when nothing changed. */
  set(id: Uint8Array, active: boolean, now: number): boolean {
    const key = toHex(id)
    if (this.#active.has(key) === active) return false
    if (active) this.#active.set(key, { id, refusedBy: new Set() })
    else this.#active.delete(key)
    if (this.#active.size === 0) this.#announceAt = Number.POSITIVE_INFINITY
    else this.#announceAt = Math.min(this.#announceAt, now + timing.buildingRefresh)
    return true
  }

  announced(now: number): void {
    this.#announceAt = now + timing.buildingRefresh
  }

  ids(): Uint8Array[] {
    return [...this.#active.values()].map(({ id }) => id)
  }

  /** A unit that may be compiled elsewhere is compiled with this toolchain (hex). */
  uses(toolchain: string): void {
    if (this.#toolchains[0] === toolchain) return
    this.#toolchains = [toolchain, ...this.#toolchains.filter((other) => other !== toolchain)].slice(
      0,
      marketLimits.wanted,
    )
  }

  toolchains(): Uint8Array[] {
    return this.#toolchains.map(fromHex)
  }

  /** Not to be asked again for this build. */
  refuse(build: Uint8Array, peer: string): void {
    this.#active.get(toHex(build))?.refusedBy.add(peer)
    this.#refusals += 1
  }

  refused(build: Uint8Array, peer: string): boolean {
    // Asked for every unit and lender; refusals are rare.
    return this.#refusals > 0 && (this.#active.get(toHex(build))?.refusedBy.has(peer) ?? false)
  }
}
