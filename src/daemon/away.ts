import type { CID } from 'multiformats/cid'
import { ShoalError } from '../base/errors.ts'
import { decodeTrace, type ReadSet } from '../plan/action.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { type Difference, firstDifference, isBound, isForOthers, type Place } from '../recall/evidence.ts'
import { computesWithOutDir } from '../recall/out-dir.ts'
import { isWithinReach } from '../recall/reach.ts'
import { tellsOfSources } from '../recall/read-set.ts'
import type { CompileNeeds } from './compile-needs.ts'

/** What a lender says of a compile. */
export interface Told {
  /** What was delivered: the result, or the metadata ahead of it. */
  cid: CID
  /** As it came; empty when nothing watched the compile. */
  trace: Uint8Array
  /** Text of the dep-info, roots by name. */
  depInfo: string
}

/**
 * Holds what a compile away looked at against what is here.
 * @throws ShoalError ERR_DECODE, ERR_OUTPUT when it is not told properly; ERR_PATH_BOUND, ERR_INPUT_MISSING when the result
 *   is not what would have come out here
 */
export async function readsAway(
  told: Told,
  { planned, place }: { planned: PlannedAction; place: Place },
  needs: Pick<CompileNeeds, 'declaredReads' | 'staysHere'>,
): Promise<ReadSet> {
  const reads = told.trace.length > 0 ? traced(told, planned) : await declared(told, planned, place, needs)
  if (isBound(reads) || (await computesWithOutDir(told.depInfo, place))) {
    needs.staysHere.add(planned.key, 'path-bound')
    throw new ShoalError('ERR_PATH_BOUND', 'it read a directory as text')
  }
  if (told.trace.length > 0 && !(isForOthers(reads) && isWithinReach(reads, place, new Set()))) {
    needs.staysHere.add(planned.key, 'source-outside-package')
    throw new ShoalError('ERR_INPUT_MISSING', 'it looked at something that cannot be compared')
  }
  const difference = await firstDifference(reads, place)
  if (difference === undefined) {
    if (tellsOfSources(told.depInfo, reads, planned, place)) return reads
    throw new ShoalError('ERR_OUTPUT', 'it does not say of every source that it was read')
  }
  if (isLasting(difference)) needs.staysHere.add(planned.key, 'source-outside-package')
  throw new ShoalError('ERR_INPUT_MISSING', `it looked at something that is different here: ${describe(difference)}`)
}

/** A source that was saved meanwhile is another one next time; what no lender is given stays out of its reach. */
const isLasting = ({ kind }: Difference): boolean => kind !== 'file' && kind !== 'tree'

const describe = ({ kind, name }: Difference): string => `${kind} ${name.replaceAll('\0', '%')}`.slice(0, 300)

function traced({ trace, cid }: Told, { key }: PlannedAction): ReadSet {
  const { action, reads, env, result } = decodeTrace(trace)
  if (!action.equals(key)) throw new ShoalError('ERR_OUTPUT', 'trace of another action')
  if (!result.equals(cid)) throw new ShoalError('ERR_OUTPUT', 'trace of another result')
  return { reads, env }
}

/** What rustc says that it read. It knows nothing of what a macro read. */
async function declared(
  { depInfo }: Told,
  planned: PlannedAction,
  place: Place,
  needs: Pick<CompileNeeds, 'declaredReads'>,
): Promise<ReadSet> {
  if (planned.usesMacros) throw new ShoalError('ERR_INPUT_MISSING', 'nobody saw what its macros looked at')
  const reads = await needs.declaredReads(planned, depInfo, place)
  if (typeof reads === 'string') throw new ShoalError('ERR_INPUT_MISSING', `it cannot be shared: ${reads}`)
  return reads
}
