import type { CID } from 'multiformats/cid'
import { peerIdOf } from '../mesh/members.ts'
import type { ReadSet } from '../plan/action.ts'
import type { PlannedScript } from '../plan/script-plan.ts'
import { packageOf } from '../recall/judge.ts'
import { type SignedClaim, subjectOf } from '../recall/signed-claim.ts'
import { hexOf } from '../wire/cid.ts'
import type { Audit } from './audits.ts'
import type { Trust } from './trust.ts'
import type { Verdict } from './verdict.ts'
import type { MakeAgain } from './whole-audit.ts'

/** What a build script is said to have done elsewhere, and was taken to do here. */
export interface TakenWord {
  planned: Pick<PlannedScript, 'key' | 'action'>
  /** Of all who say so, none of this node. */
  claims: readonly SignedClaim[]
  /** What they say that it looked at. */
  reads: ReadSet
  result: CID
}

export interface RunAuditNeeds {
  trust: Pick<Trust, 'determinism' | 'standings' | 'unexplained'> & {
    judge: Pick<Trust['judge'], 'isWorthTrying'>
  }
  makeAgain: MakeAgain
  /** Takes it away, and has cargo run the script. @param key hex */
  drop(key: string, result: CID): Promise<unknown>
}

/**
 * A build script that others have seen is run again here. That says whether it does the same, and never that somebody has lied: what it makes
 * can follow from more than a trace has, such as the kind of file system.
 */
export function runAudit({ planned, claims, reads, result }: TakenWord, needs: RunAuditNeeds): Audit {
  const { trust, makeAgain, drop } = needs
  const key = hexOf(planned.key)
  const name = packageOf(planned)
  const { toolchain } = planned.action
  const settle = async (verdict: Verdict): Promise<void> => {
    if (verdict.kind === 'open') return
    if (verdict.kind !== 'disagreed') await trust.determinism.note(name, toolchain, verdict.kind === 'agreed')
    if (verdict.kind === 'agreed') {
      for (const peer of new Set(claims.map(({ body }) => peerIdOf(body.signer)))) await trust.standings.agreed(peer)
      return
    }
    if (verdict.kind === 'disagreed') {
      for (const claim of [...verdict.unexplained, ...verdict.liars]) {
        const peer = peerIdOf(claim.body.signer)
        await trust.standings.doubt(subjectOf(claim))
        if (await trust.unexplained.note(peer, name)) await trust.standings.unexplained(peer)
      }
    }
    await drop(key, result)
  }
  return {
    key: `run ${key} ${result}`,
    crate: name,
    case: async () => {
      const worth = claims.filter((claim) => trust.judge.isWorthTrying(claim))
      // As with a macro: it need not follow from what it looks at.
      return worth.length === 0
        ? undefined
        : { claims: worth.map((claim) => ({ claim, reads })), own: undefined, usesMacros: true }
    },
    rerun: (signal) => makeAgain(reads, signal),
    settle,
  }
}
