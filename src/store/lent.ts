import type { CID } from 'multiformats/cid'
import { digestOf, hexOf } from '../wire/cid.ts'
import { openFlagsFollowing, readChecked } from './files.ts'

const maxBytes = 256 << 20

/** Files outside the store that were said to hold a block. Bounded: the oldest is forgotten first. */
export class Lent {
  readonly #paths = new Map<string, string>()
  /** Few, and never forgotten for newer ones. */
  readonly #lasting = new Map<string, string>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  get count(): number {
    return this.#paths.size + this.#lasting.size
  }

  has(hex: string): boolean {
    return this.#paths.has(hex) || this.#lasting.has(hex)
  }

  /** The newest file wins. */
  set(hex: string, path: string, isLasting = false): void {
    this.#paths.delete(hex)
    if (isLasting) {
      this.#lasting.set(hex, path)
      return
    }
    this.#paths.set(hex, path)
    if (this.#paths.size <= this.#max) return
    for (const oldest of this.#paths.keys()) {
      this.#paths.delete(oldest)
      return
    }
  }

  get(hex: string): string | undefined {
    return this.#paths.get(hex) ?? this.#lasting.get(hex)
  }

  forget(hex: string): void {
    this.#paths.delete(hex)
    this.#lasting.delete(hex)
  }

  /** The bytes, compared with the block's name just now. A file that does not match is forgotten. Never rejects. */
  async read(cid: CID): Promise<Uint8Array | undefined> {
    const hex = hexOf(cid)
    const path = this.get(hex)
    if (path === undefined) return undefined
    const checked = await readChecked(path, digestOf(cid), {
      flags: openFlagsFollowing,
      // Nearly all of them are sources: what a compile here has just looked at, and small.
      expectedBytes: 0,
      maxBytes,
      keep: true,
    })
    if (checked.kind === 'right') return checked.bytes
    // Another file may have taken its place meanwhile.
    for (const paths of [this.#paths, this.#lasting]) if (paths.get(hex) === path) paths.delete(hex)
    return undefined
  }
}
