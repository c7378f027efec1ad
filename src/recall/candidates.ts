import type { CID } from 'multiformats/cid'
import type { ReadSet, Trace } from '../plan/action.ts'
import { firstDifference, type Ground, isForOthers, readTrace } from './evidence.ts'
import type { Claimed, Judge } from './judge.ts'
import { isWithinReach } from './reach.ts'
import { evidenceOf, type SignedClaim } from './signed-claim.ts'

/** What a peer says it holds of an action key. */
export interface Holding {
  peer: string
  traces: readonly Uint8Array[]
  /** Claims about them; nothing in them has been checked. */
  claims: readonly Uint8Array[]
}

/** A trace that holds here, and the peers that have what it says. */
export interface Candidate {
  trace: Trace
  peers: string[]
}

/** Which traces are held against this machine at all. */
export interface Admission {
  isForUs?(set: ReadSet): boolean
  /** As for `isWithinReach`. */
  known: ReadonlySet<string>
}

/** Traces of peers that hold here, and who has each. */
export async function candidatesAmong(
  holdings: readonly Pick<Holding, 'peer' | 'traces'>[],
  key: CID,
  place: Ground,
  { isForUs = isForOthers, known }: Admission,
): Promise<Candidate[]> {
  const found = new Map<string, Candidate>()
  for (const { peer, traces } of holdings) {
    for (const bytes of traces) {
      const trace = readTrace(bytes)
      if (trace === undefined || !trace.action.equals(key) || !isForUs(trace)) continue
      const name = nameOf(bytes)
      const other = found.get(name)
      if (other !== undefined) other.peers.push(peer)
      else if (!isWithinReach(trace, place, known)) continue
      else if ((await firstDifference(trace, place)) === undefined) found.set(name, { trace, peers: [peer] })
    }
  }
  return [...found.values()]
}

/** What traces name. @param traces as they are kept */
export const namedBy = (traces: readonly Uint8Array[]): ReadonlySet<string> =>
  new Set(traces.flatMap((bytes) => readTrace(bytes)?.reads.map(([, name]) => name) ?? []))

/** What those say whose word counts of what was made from just what some candidate names; what is kept here of it, too. */
export async function saidOf(
  judge: Judge,
  planned: Claimed,
  holdings: readonly Pick<Holding, 'claims'>[],
  candidates: readonly Candidate[],
): Promise<SignedClaim[]> {
  const kept = await judge.keptOf(planned)
  const told = new Map(
    [...holdings.flatMap(({ claims }) => judge.admit(planned, claims)), ...kept].map((claim) => [
      nameOf(claim.sig),
      claim,
    ]),
  )
  const evidence = new Set(candidates.map(({ trace }) => nameOf(evidenceOf(trace))))
  return [...told.values()].filter(({ body }) => evidence.has(nameOf(body.evidence)))
}

/** Whether all of them say that the same comes out. */
export const areAtOne = (claims: readonly SignedClaim[]): boolean =>
  new Set(claims.map(({ body }) => nameOf(body.outputs))).size <= 1

/** Bytes as what they can be looked up by. */
export const nameOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
