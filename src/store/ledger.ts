import type { BigIntStats } from 'node:fs'

/** What a file looked like when its content was last found to be right. */
export interface Stamp {
  ino: bigint
  size: bigint
  mtimeNs: bigint
  ctimeNs: bigint
}

export function stampOf(stat: BigIntStats): Stamp {
  return { ino: stat.ino, size: stat.size, mtimeNs: stat.mtimeNs, ctimeNs: stat.ctimeNs }
}

export function sameStamp(stamp: Stamp, stat: BigIntStats): boolean {
  return (
    stamp.mtimeNs === stat.mtimeNs &&
    stamp.ctimeNs === stat.ctimeNs &&
    stamp.size === stat.size &&
    stamp.ino === stat.ino
  )
}

interface Entry {
  size: number
  /** Absent until the content was verified in this process. */
  stamp: Stamp | undefined
}

/** Which blocks lie on disk, how large, how lately used, and which must stay. In memory; the disk is the truth. */
export class Ledger {
  /** Least recently used first. */
  #entries = new Map<string, Entry>()
  readonly #holds = new Map<string, number>()
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  get count(): number {
    return this.#entries.size
  }

  keys(): IterableIterator<string> {
    return this.#entries.keys()
  }

  has(hex: string): boolean {
    return this.#entries.has(hex)
  }

  get(hex: string): Readonly<Entry> | undefined {
    return this.#entries.get(hex)
  }

  /** Adds or replaces an entry and makes it the most recently used. */
  set(hex: string, size: number, stamp: Stamp | undefined): void {
    this.delete(hex)
    this.#entries.set(hex, { size, stamp })
    this.#bytes += size
  }

  touch(hex: string): void {
    const entry = this.#entries.get(hex)
    if (entry === undefined) return
    this.#entries.delete(hex)
    this.#entries.set(hex, entry)
  }

  delete(hex: string): boolean {
    const entry = this.#entries.get(hex)
    if (entry === undefined) return false
    this.#entries.delete(hex)
    this.#bytes -= entry.size
    return true
  }

  /** Adds blocks that lay on disk before: all of them count as less recently used than those already known. */
  seed(found: readonly { hex: string; size: number; mtimeMs: number }[]): void {
    const known = this.#entries
    this.#entries = new Map()
    for (const { hex, size } of found.toSorted((a, b) => a.mtimeMs - b.mtimeMs)) {
      if (!known.has(hex)) this.set(hex, size, undefined)
    }
    for (const [hex, entry] of known) this.#entries.set(hex, entry)
  }

  /** Keeps a block from being chosen as a victim until released. Counted; need not exist yet. */
  hold(hex: string): () => void {
    this.#holds.set(hex, (this.#holds.get(hex) ?? 0) + 1)
    let held = true
    return () => {
      if (!held) return
      held = false
      const left = (this.#holds.get(hex) ?? 1) - 1
      if (left === 0) this.#holds.delete(hex)
      else this.#holds.set(hex, left)
    }
  }

  isHeld(hex: string): boolean {
    return this.#holds.has(hex)
  }

  /** Bytes of blocks that nobody holds. */
  get freeableBytes(): number {
    let bytes = this.#bytes
    for (const hex of this.#holds.keys()) bytes -= this.#entries.get(hex)?.size ?? 0
    return bytes
  }

  /** How many blocks are held that are there. */
  get heldCount(): number {
    let count = 0
    for (const hex of this.#holds.keys()) if (this.#entries.has(hex)) count++
    return count
  }

  /** The least recently used blocks that nobody holds, together at least `bytes` if there are as many. */
  victims(bytes: number): string[] {
    const chosen: string[] = []
    let freed = 0
    for (const [hex, { size }] of this.#entries) {
      if (freed >= bytes) break
      if (this.#holds.has(hex)) continue
      chosen.push(hex)
      freed += size
    }
    return chosen
  }
}
