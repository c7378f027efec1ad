import type { CID } from 'multiformats/cid'
import { sameBytes } from '../mesh/statement.ts'
import type { Read, ReadSet } from '../plan/action.ts'
import { type DepInfoNames, namesFile } from '../recall/read-set.ts'
import { type Said, saidIn, saysSame } from '../recall/said.ts'
import type { SignedClaim } from '../recall/signed-claim.ts'

/** What came out when an action was run once more here. */
export interface Rerun {
  /** `outputsDigest`; empty when rustc found fault with the source. */
  outputs: Uint8Array
  /** What it looked at; undefined when not all of that is known. */
  reads: ReadSet | undefined
  /** What rustc says that it read. Default: nothing is known of that. */
  told?: DepInfoNames
  /** rustc's standard error, roots by name. Default: nothing is known of that. */
  stderr?: Uint8Array
  /** The metadata among the outputs; absent where there is none. */
  metadata?: CID | undefined
}

/** Who says what. */
export interface Word {
  claim: SignedClaim
  /** What it was made from, where that is known. */
  reads: ReadSet | undefined
  /** What cargo was told that it was made from. */
  told?: DepInfoNames | undefined
  /** What cargo was told that rustc said. */
  said?: Said | undefined
}

/** Claims about one action, and what this node can hold against them. */
export interface Case {
  claims: readonly Word[]
  /** What rustc made of it outside of the sandbox here, and what it looked at; undefined when it did not. */
  own: { outputs: Uint8Array; reads: ReadSet } | undefined
  /** Whether procedural macros took part: what they do need not follow from what they look at, such as the date. */
  usesMacros: boolean
}

export type Verdict =
  /** All of it is as everybody said. */
  | { kind: 'agreed' }
  /** It comes out differently each time: nobody is to blame. */
  | { kind: 'unsteady' }
  /** Who has lied, and who has said something else than came out here without a proof that it is a lie. */
  | { kind: 'disagreed'; liars: SignedClaim[]; unexplained: SignedClaim[] }
  /** It could not be run again. */
  | { kind: 'open' }

/**
 * Compiles again and says who is right. Like is compared with like: whoever says that it was computed in a sandbox is blamed
 * after two runs in one here that agree with each other, and saw nothing that it did not name; whoever used its own rustc only after ours,
 * which saw nothing else either, came out as those do.
 * @param rerun runs it in the sandbox; undefined when that cannot be done
 */
export async function tryCase(
  { claims, own, usesMacros }: Case,
  rerun: () => Promise<Rerun | undefined>,
): Promise<Verdict> {
  const first = await rerun()
  if (first === undefined) return { kind: 'open' }
  const wrong = claims.filter(({ claim }) => !sameBytes(claim.body.outputs, first.outputs))
  // With too little named, the right outputs would be used for other sources too.
  const hiding = claims.filter((one) => !wrong.includes(one) && !namesAll(one, first, usesMacros))
  const misquoting = claims.filter(
    (one) => !wrong.includes(one) && !hiding.includes(one) && !quotes(one, first, usesMacros),
  )
  const isAsOwn = own === undefined || sameBytes(own.outputs, first.outputs)
  if (wrong.length === 0 && misquoting.length === 0 && isAsOwn) return withUnexplained(hiding)
  const second = await rerun()
  if (second === undefined) return { kind: 'open' }
  // Something was in the way once.
  if (isFaulty(first) !== isFaulty(second)) return { kind: 'open' }
  // What one place makes of it is not what another makes: as bad as if it were not the same twice.
  if (!sameBytes(first.outputs, second.outputs) || !isAsOwn) return { kind: 'unsteady' }
  const isLie = ({ claim, reads }: Word): boolean => {
    if (usesMacros || reads === undefined) return false
    if (own !== undefined) return isWithin(own.reads, reads)
    const saw = [first.reads, second.reads]
    return claim.body.tier !== 'host' && saw.every((seen) => seen !== undefined && isWithin(seen, reads))
  }
  const liars = wrong.filter(isLie)
  // What is said differently each time says nothing.
  const misquoted = saysAlike(first, second, usesMacros)
    ? misquoting.filter((one) => !quotes(one, second, usesMacros))
    : []
  const unexplained = [...wrong.filter((one) => !isLie(one)), ...hiding, ...misquoted]
  return withUnexplained(unexplained, liars)
}

const isFaulty = ({ outputs }: Rerun): boolean => outputs.length === 0

function withUnexplained(unexplained: readonly Word[], liars: readonly Word[] = []): Verdict {
  if (unexplained.length + liars.length === 0) return { kind: 'agreed' }
  const claimsOf = (words: readonly Word[]): SignedClaim[] => words.map(({ claim }) => claim)
  return { kind: 'disagreed', liars: claimsOf(liars), unexplained: claimsOf(unexplained) }
}

/**
 * Whether somebody has rustc say what it says here. That it does not is never called a lie: much of what rustc says is for people, and can be put
 * otherwise where something else is installed.
 */
function quotes({ claim, said }: Word, { stderr }: Rerun, usesMacros: boolean): boolean {
  // A macro may have something to say of the machine that it is on.
  const beside = !usesMacros || claim.body.tier !== 'host'
  return said === undefined || stderr === undefined || saysSame(said, stderr, { beside })
}

const saysAlike = (first: Rerun, second: Rerun, usesMacros: boolean): boolean =>
  first.stderr === undefined || second.stderr === undefined
    ? false
    : saysSame(saidIn(first.stderr), second.stderr, { beside: !usesMacros })

/**
 * Whether a claim names what a run here read: its sources, and what the macros of a sandbox looked at below the roots. Elsewhere, and
 * outside of a sandbox, one machine has more to look at than another.
 */
function namesAll({ claim, reads, told }: Word, seen: Rerun, usesMacros: boolean): boolean {
  if (told !== undefined && seen.told !== undefined) {
    if (!isTold(seen.told, told)) return false
    // Of what does not matter cargo would make it anew all the time. A macro may have more to name in one place than in another.
    if (!usesMacros && !isTold(told, seen.told)) return false
  }
  if (reads === undefined) return true
  const isNamed = namesFile(reads.reads)
  const { sources, unsaid } = seen.told ?? { sources: [], unsaid: [] }
  if (!sources.every(isNamed)) return false
  // What a macro asks for can follow from where it is. What rustc is asked for by a source cannot.
  const asked = new Set(reads.env.map(([name]) => name))
  if (!usesMacros && !unsaid.every((name) => asked.has(name))) return false
  if (seen.reads === undefined) return true
  const rooted = seen.reads.reads.filter(([, name]) => name.startsWith('\0'))
  if (usesMacros && claim.body.tier !== 'host') return isWithin({ reads: rooted, env: seen.reads.env }, reads)
  return rooted.every(([kind, name]) => kind !== 'file' || isNamed(name))
}

/** Whether cargo will notice when any of this changes: what it was not told of it takes for the same for ever. */
function isTold(seen: DepInfoNames, told: DepInfoNames): boolean {
  const [sources, variables] = [new Set(told.sources), new Set(told.variables)]
  return seen.sources.every((path) => sources.has(path)) && seen.variables.every((name) => variables.has(name))
}

/** Whether everything that was seen is part of what somebody has said it was made from. */
function isWithin(seen: ReadSet, said: ReadSet): boolean {
  const reads = new Map(said.reads.map((read) => [`${read[0]} ${read[1]}`, read]))
  const env = new Map(said.env)
  const trees = said.reads.flatMap(([kind, path]) => (kind === 'tree' ? [`${path}/`] : []))
  return (
    seen.env.every(([name, value]) => env.has(name) && env.get(name) === value) &&
    seen.reads.every((read) => {
      const known = reads.get(`${read[0]} ${read[1]}`)
      return known === undefined ? trees.some((dir) => read[1].startsWith(dir)) : isSame(known, read)
    })
  )
}

const isSame = ([, , a]: Read, [, , b]: Read): boolean => (a === null || b === null ? a === b : a.equals(b))
