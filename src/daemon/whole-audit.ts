import type { ReadSet } from '../plan/action.ts'
import type { Audit } from './audits.ts'
import type { Rerun, Verdict, Word } from './verdict.ts'

/**
 * Has this machine's own rustc, or what takes its place, and linker make a unit again, outside of the sandbox.
 * @returns undefined when that cannot be done, or what goes into it is not what `reads` says any more
 */
export type MakeAgain = (reads: ReadSet, signal: AbortSignal) => Promise<Rerun | undefined>

/** Somebody's word on a unit that no sandbox can make: on a program or a procedural macro, linked and all, or on what lints found. */
export interface WholeWord extends Word {
  /** As in `Audit`. */
  key: string
  crate: string
  reads: ReadSet
  usesMacros: boolean
}

export interface WholeAuditNeeds {
  makeAgain: MakeAgain
  isWorthTrying(claim: Word['claim']): boolean
  settle(verdict: Verdict): Promise<void>
}

/**
 * A unit that others have made is made again as cargo would have it, which no sandbox can. That says whether the same comes out, and never
 * that somebody has lied: one machine has more to look at than the other.
 */
export function wholeAudit({ key, crate, usesMacros, ...word }: WholeWord, needs: WholeAuditNeeds): Audit {
  return {
    key,
    crate,
    case: async () => (needs.isWorthTrying(word.claim) ? { claims: [word], own: undefined, usesMacros } : undefined),
    rerun: (signal) => needs.makeAgain(word.reads, signal),
    settle: (verdict) => needs.settle(verdict),
  }
}
