import type { ReadSet } from '../plan/action.ts'
import type { DepInfoNames } from '../recall/read-set.ts'
import type { SignedClaim } from '../recall/signed-claim.ts'
import type { Audit } from './audits.ts'
import type { Rerun, Verdict } from './verdict.ts'

/**
 * Has this machine's own rustc and linker make a unit again, outside of the sandbox.
 * @returns undefined when that cannot be done, or what goes into it is not what `reads` says any more
 */
export type MakeAgain = (reads: ReadSet, signal: AbortSignal) => Promise<Rerun | undefined>

/** Somebody's word on a program or a procedural macro, linked and all. */
export interface LinkedWord {
  /** Hex of the action key. */
  key: string
  crate: string
  claim: SignedClaim
  reads: ReadSet
  /** What cargo was told that it was made from. */
  told: DepInfoNames
}

export interface LinkedAuditNeeds {
  makeAgain: MakeAgain
  isWorthTrying(claim: SignedClaim): boolean
  settle(verdict: Verdict): Promise<void>
}

/**
 * A unit that others have linked is made again as cargo would have it, which no sandbox can. That says whether the same comes out, and never
 * that somebody has lied: one machine's linker has more to look at than the other's.
 */
export function linkedAudit({ key, crate, claim, reads, told }: LinkedWord, needs: LinkedAuditNeeds): Audit {
  return {
    key,
    crate,
    case: async () =>
      needs.isWorthTrying(claim) ? { claims: [{ claim, reads, told }], own: undefined, usesMacros: true } : undefined,
    rerun: (signal) => needs.makeAgain(reads, signal),
    settle: (verdict) => needs.settle(verdict),
  }
}
