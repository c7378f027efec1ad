import type { Random } from '../base/clock.ts'

/** A draw from the standard normal distribution. */
export function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

/** @param count at most `from.length`; different elements, in random order */
export function sample<T>(from: readonly T[], count: number, random: Random): T[] {
  const rest = [...from]
  const taken: T[] = []
  while (taken.length < count && rest.length > 0) {
    const at = Math.floor(random() * rest.length)
    const last = rest.pop()
    const one = at < rest.length ? rest[at] : last
    if (at < rest.length && last !== undefined) rest[at] = last
    if (one !== undefined) taken.push(one)
  }
  return taken
}

export function exponential(mean: number, random: Random): number {
  return -mean * Math.log(1 - random())
}
