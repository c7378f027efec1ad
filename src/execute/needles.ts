/** Bytes that betray the machine that a file was made on. */
export type Needle = Buffer

/**
 * The first of the needles that occurs, in their order; empty ones never do. What follows does not matter: strings lie
 * side by side in outputs, without an end of their own.
 */
export function findNeedle(haystack: Buffer, needles: readonly Needle[]): Needle | undefined {
  return needles.find((bytes) => bytes.length > 0 && haystack.includes(bytes))
}

/** How much of one piece must be looked at again with the next one. */
export function overlap(needles: readonly Needle[]): number {
  return Math.max(0, ...needles.map((bytes) => bytes.length))
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
