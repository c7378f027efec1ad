/** Bytes that betray the machine that a file was made on. */
export interface Needle {
  bytes: Buffer
  /** Counts only where no character follows that would make it the path of something else: `/home/a` in `/home/ab`. */
  whole: boolean
}

const inNames = /[\w.+@~-]/

/** The first of the needles that occurs, in their order. A needle at the very end counts. */
export function findNeedle(haystack: Buffer, needles: readonly Needle[]): Needle | undefined {
  return needles.find(({ bytes, whole }) => {
    if (bytes.length === 0) return false
    for (let at = haystack.indexOf(bytes); at >= 0; at = haystack.indexOf(bytes, at + 1)) {
      const next = haystack[at + bytes.length]
      if (!whole || next === undefined || !inNames.test(String.fromCharCode(next))) return true
    }
    return false
  })
}

/** How much of one piece must be looked at again with the next one. */
export function overlap(needles: readonly Needle[]): number {
  return Math.max(0, ...needles.map(({ bytes }) => bytes.length))
}

/** Looks for needles in what comes piece by piece. */
export class NeedleSearch {
  readonly #needles: readonly Needle[]
  readonly #overlap: number
  #tail: Buffer = Buffer.alloc(0)
  #found: Needle | undefined

  constructor(needles: readonly Needle[]) {
    this.#needles = needles
    this.#overlap = overlap(needles)
  }

  get found(): Needle | undefined {
    return this.#found
  }

  push(piece: Uint8Array): void {
    if (this.#found !== undefined) return
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
    const seam = Buffer.concat([this.#tail, bytes.subarray(0, this.#overlap)])
    this.#found = findNeedle(seam, this.#needles) ?? findNeedle(bytes, this.#needles)
    this.#tail = Buffer.from(bytes.subarray(Math.max(0, bytes.length - this.#overlap)))
  }
}
