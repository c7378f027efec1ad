import type { ReadSet } from '../plan/action.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { packageOf } from '../recall/judge.ts'
import { mayAskOthers, type Policy, policiesOf, takesAnyWord } from '../recall/policy.ts'
import type { Recalled } from '../recall/recall.ts'
import type { Lent, UnitTrust } from './compile-needs.ts'
import type { Trust } from './trust.ts'
import type { MakeAgain } from './whole-audit.ts'

/**
 * What is done for one unit as its workspace would have it.
 * @param lentOf what lenders may have of it; undefined when nothing of it may leave: then it is not run again either, because
 *   what an audit reads is within the reach of others. Told what the compile looked at: inputs that were looked at later than that must be the same
 */
export function unitTrust(
  trust: Pick<
    Trust,
    'lent' | 'takesEarly' | 'accepted' | 'giver' | 'whole' | 'made' | 'madeHere' | 'brokeEarlyWord' | 'isUnsettled'
  > & {
    determinism: Pick<Trust['determinism'], 'isUnsteady'>
  },
  policies: readonly Policy[],
  lentOf: (planned: PlannedAction, reads: ReadSet | undefined) => Promise<Lent | undefined>,
  makeAgain: (planned: PlannedAction) => MakeAgain,
): UnitTrust {
  return {
    objection(planned) {
      if (trust.determinism.isUnsteady(packageOf(planned))) return 'unsteady'
      if (trust.isUnsettled(planned)) return 'conflict'
      return mayAskOthers(policies, planned.kind) ? undefined : 'policy'
    },
    objectionToLending: (planned) => (takesAnyWord(policiesOf(policies, planned), planned.kind) ? undefined : 'policy'),
    lent: (planned, peer, claim, trace) => trust.lent(planned, peer, claim, trace),
    takesEarly: (peer) => trust.takesEarly(peer),
    // It was away, so what lenders have of it is known.
    brokeEarlyWord: (planned, broken) => trust.brokeEarlyWord(() => lentOf(planned, undefined), broken),
    accepted: (planned, claims, made) =>
      trust.accepted(planned, () => lentOf(planned, made.looked), claims, made, makeAgain(planned)),
    giver: (claim) => trust.giver(claim),
    whole: (planned, claims, made) => trust.whole(planned, () => lentOf(planned, made.reads), claims, made),
    madeHere: (planned, made) => trust.madeHere(planned, made),
    made: (planned, made, disputed) => trust.made(planned, () => lentOf(planned, made.reads), { ...made, disputed }),
  }
}

/**
 * On whose word cargo is told of metadata before the rest is there, which may not come.
 * @returns `by` undefined: on that of this node; undefined: on nobody's
 */
export function tellsEarly(
  { holders, claims }: Pick<Recalled, 'holders' | 'claims'>,
  trust: Pick<UnitTrust, 'giver' | 'takesEarly'>,
): { by: string | undefined } | undefined {
  const givers = holders.length === 0 ? [undefined] : claims.map((claim) => trust.giver(claim))
  const at = givers.findIndex((giver) => giver === undefined || trust.takesEarly(giver))
  return at < 0 ? undefined : { by: givers[at] }
}
