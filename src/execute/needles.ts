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
