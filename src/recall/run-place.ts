import { createHash } from 'node:crypto'
import type { CID } from 'multiformats/cid'
import { sameBytes } from '../mesh/statement.ts'
import type { Read, ReadSet } from '../plan/action.ts'
import { calledRoots, type Root } from '../plan/roots.ts'
import { cidFromDigest, digestOf } from '../wire/cid.ts'

/**
 * Where the roots of a run lay. A script can make something of a path that no search finds in what it left: its length, a hash, a part of it. So what it
 * did holds in a third place only after it has done the same in two whose paths differ, and differ in length. `protocols/scripts.md` specifies it.
 */
export type RunPlace = ReadonlyMap<string, Placed>

interface Placed {
  /** Bytes of the path. */
  length: number
  /** Of the path, `digestBytes` long. */
  digest: Uint8Array
}

/** As it is told to others: root, length, digest. Sorted by root. */
export type ToldPlace = [root: string, length: number, digest: Uint8Array][]

/** How much of a digest says where a root lies. */
export const placeDigestBytes = 8

/** A place as part of what a run looked at: the root and its length, the digest of its path. */
export function placeReads(roots: readonly Root[]): Read[] {
  return calledRoots(roots).map(({ name, path }) => ['place', nameOf(name, path), pathDigest(path)])
}

/** The same for what lies at a root here; undefined when there is no such root. */
export function placeReadHere(name: string, roots: readonly Root[]): CID | undefined {
  const root = calledRoots(roots).find((each) => nameOf(each.name, each.path) === name)
  return root === undefined ? undefined : pathDigest(root.path)
}

/** What is told apart in a trace: all that holds wherever it is the same, and where the roots lay. */
export function splitPlace<T extends Pick<ReadSet, 'reads'>>(set: T): { set: T; place: RunPlace } {
  const place = new Map<string, Placed>()
  for (const [kind, name, cid] of set.reads) {
    if (kind !== 'place' || cid === null) continue
    const [root = '', length] = name.split(' ')
    place.set(root, { length: Number(length), digest: new Uint8Array(digestOf(cid).subarray(0, placeDigestBytes)) })
  }
  return { set: { ...set, reads: set.reads.filter(([kind]) => kind !== 'place') }, place }
}

/** Where the roots lie here. */
export const placeHere = (roots: readonly Root[]): RunPlace => splitPlace({ reads: placeReads(roots) }).place

/** As it is put into a claim. */
export const tellPlace = (place: RunPlace): ToldPlace =>
  [...place].sort(([a], [b]) => (a < b ? -1 : 1)).map(([root, { length, digest }]) => [root, length, digest])

/** As it was found in a claim. */
export const readPlace = (told: ToldPlace): RunPlace =>
  new Map(told.map(([root, length, digest]) => [root, { length, digest }]))

/** Whether every root lies in one place where it lies in the other. */
export const isSamePlace = (one: RunPlace, other: RunPlace): boolean =>
  one.size === other.size && [...one].every(([root, placed]) => isSame(placed, other.get(root)))

/**
 * Whether what a script did alike in two places is what it would do here: each root lies where it did the first time, or it lay in two places of which the
 * lengths differ, and the script made nothing of it.
 */
export const coversPlace = (two: readonly [RunPlace, RunPlace], here: RunPlace): boolean =>
  two.every((place) => place.size === here.size) && uncovered(two, here).length === 0

/** The roots that keep two places from covering this one. */
export function uncovered([one, other]: readonly [RunPlace, RunPlace], here: RunPlace): string[] {
  const isCovered = (root: string, placed: Placed): boolean => {
    const [first, second] = [one.get(root), other.get(root)]
    return first !== undefined && second !== undefined && (isSame(placed, first) || first.length !== second.length)
  }
  return [...here].filter(([root, placed]) => !isCovered(root, placed)).map(([root]) => root)
}

/** The first of those that did the same here or, with another of them, in places that cover this one. */
export function firstCovering<T extends { place: RunPlace }>(alike: readonly T[], here: RunPlace): T | undefined {
  return alike.find((one) => alike.some((other) => coversPlace([one.place, other.place], here)))
}

const isSame = (one: Placed, other: Placed | undefined): boolean =>
  one.length === other?.length && sameBytes(one.digest, other.digest)

const nameOf = (name: string, path: string): string => `${name} ${Buffer.byteLength(path)}`

const pathDigest = (path: string): CID => cidFromDigest(createHash('sha256').update(`shoal/1/place\0${path}`).digest())
