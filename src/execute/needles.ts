/** Bytes that betray the machine that a file was made on. */
export type Needle = Buffer

/**
 * The first of the needles that occurs, in their order; empty ones never do. What follows does not matter: strings lie
 * side by side in outputs, without an end of their own.
 */
export function findNeedle(haystack: Buffer, needles: readonly Needle[]): Needle | undefined {
  const firstBytes = new Map<number, Needle[]>()
  for (const needle of needles) {
    const first = needle[0]
    if (first !== undefined) firstBytes.set(first, [...(firstBytes.get(first) ?? []), needle])
  }
  const found = new Set<Needle>()
  for (const [first, alike] of firstBytes) {
    if (alike.length === 1) for (const needle of alike) if (haystack.includes(needle)) found.add(needle)
    if (alike.length > 1) for (const needle of findAlike(haystack, first, alike)) found.add(needle)
  }
  return needles.find((needle) => found.has(needle))
}

/**
 * Those of the needles that occur; all begin with `first`. Looking for one byte is what a processor does best: the paths of a
 * machine are found in about a quarter of the time that they take one after the other.
 */
function findAlike(haystack: Buffer, first: number, needles: readonly Needle[]): Needle[] {
  const seconds = new Set(needles.map((needle) => needle[1]))
  const found: Needle[] = []
  const left = new Set(needles)
  for (let at = haystack.indexOf(first); at >= 0 && left.size > 0; at = haystack.indexOf(first, at + 1)) {
    if (!seconds.has(haystack[at + 1]) && !seconds.has(undefined)) continue
    for (const needle of left) {
      if (at + needle.length > haystack.length) continue
      if (haystack.compare(needle, 0, needle.length, at, at + needle.length) !== 0) continue
      found.push(needle)
      left.delete(needle)
    }
  }
  return found
}

/** How much of one piece must be looked at again with the next one. */
function overlap(needles: readonly Needle[]): number {
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
    // A short piece can be the middle of what is looked for.
    const recent = bytes.length < this.#overlap ? Buffer.concat([this.#tail, bytes]) : bytes
    this.#tail = Buffer.from(recent.subarray(Math.max(0, recent.length - this.#overlap)))
  }
}
