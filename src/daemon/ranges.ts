import type { CID } from 'multiformats/cid'
import { cidOf, digestOf } from '../wire/cid.ts'

const text = new TextEncoder()

/** Announced by a node that has few results: it may have any. */
export const anyRange: CID = cidOf(text.encode('shoal holdings'))

/** Announced by a node that has a result whose action key begins with these four bits. */
export const rangeAt = (first: number): CID => cidOf(text.encode(`shoal holdings ${first.toString(16)}`))

/** The first four bits of an action key. */
export const rangeIndex = (digest: Uint8Array): number => (digest[0] ?? 0) >> 4

/** Whoever has a result under this action key announces one of these. */
export const rangesOf = (key: CID): CID[] => [anyRange, rangeAt(rangeIndex(digestOf(key)))]
