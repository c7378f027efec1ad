import { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { decodeTree, type Tree } from '../plan/action.ts'
import type { LentInputs } from '../plan/lent-inputs.ts'
import type { PlannedAction } from '../plan/plan.ts'
import type { Trees } from '../plan/trees.ts'
import type { Cause } from '../recall/cause.ts'
import type { Difference } from '../recall/evidence.ts'
import {
  explainAction,
  explainDifference,
  firstTime,
  maxCauses,
  nearest,
  notKept,
  subjectOf,
} from '../recall/explain.ts'
import type { Missed } from '../recall/recall.ts'
import { decodeSketch, encodeSketch, sketchOf } from '../recall/sketch.ts'
import type { SeenAction, SubjectStore } from '../store/subjects.ts'

export interface CausesNeeds {
  subjects: SubjectStore
  blocks: { get(cid: CID): Promise<Uint8Array | undefined> }
  trees: Trees
  /** What the unit was found to be made from, if that was looked at. */
  inputsOf(planned: PlannedAction): LentInputs | undefined
  log: Logger
}

/** Larger directories are not compared file by file. */
const maxTreeBytes = 1 << 18

/** Why units were not recalled. Nothing here is on the way of a unit to cargo, and nothing here can fail one. */
export class Causes {
  readonly #needs: CausesNeeds
  readonly #made = new WeakSet<PlannedAction>()

  constructor(needs: CausesNeeds) {
    this.#needs = needs
  }

  /** The unit was compiled: later ones may be compared with it. One that failed to compile is nothing to compare with. */
  made(planned: PlannedAction): void {
    this.#made.add(planned)
  }

  /** At most 8, the likeliest root of it all first; none when that cannot be told. */
  async of(planned: PlannedAction, { difference }: Missed): Promise<Cause[]> {
    try {
      const subject = subjectOf(planned)
      const mine = seenAction(planned)
      const { subjects } = this.#needs
      const seen = await (this.#made.has(planned) ? subjects.add(subject, mine) : subjects.seen(subject))
      const causes =
        difference === undefined ? explainUnknown(planned, mine, seen) : await this.#explain(planned, difference)
      return causes.slice(0, maxCauses)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#needs.log.info('no cause found', { code: codeOf(error), crate: planned.crate, reason })
      return []
    }
  }

  async #explain(planned: PlannedAction, difference: Difference): Promise<Cause[]> {
    if (difference.kind !== 'tree' || difference.recorded === null) return explainDifference(difference)
    const { dir, root } = planned.source
    const own = this.#needs.inputsOf(planned)?.own ?? (await this.#needs.trees.tree(dir, root === 'registry'))
    const here = own.cid.toString() === difference.here ? own.tree : undefined
    return explainDifference(difference, { recorded: await this.#recordedTree(difference.recorded), here })
  }

  /** Directories that were offered to lenders are in the store. */
  async #recordedTree(cid: string): Promise<Tree | undefined> {
    return readTree((await this.#needs.blocks.get(CID.parse(cid))) ?? null)
  }
}

const seenAction = ({ action, args, build }: PlannedAction): SeenAction => ({
  variant: args.codegen.get('metadata')?.slice(0, 256) ?? '',
  action: encodeSketch(sketchOf(action)),
  outDir: build?.bytes ?? null,
})

/** No trace has its action: it is compared with what the same unit was when it was made before. */
function explainUnknown(
  { action, crate, build }: PlannedAction,
  mine: SeenAction,
  seen: readonly SeenAction[],
): Cause[] {
  if (seen.some((other) => Buffer.compare(other.action, mine.action) === 0)) return [notKept(crate)]
  // What cargo calls the same comes nearest.
  const alike = seen.filter(({ variant }) => variant === mine.variant)
  const newer = sketchOf(action)
  const causes = nearest(alike.length === 0 ? seen : alike, (other) => {
    const older = decodeSketch(other.action)
    return older && explainAction(older, newer, () => ({ recorded: readTree(other.outDir), here: build?.tree }))
  })
  return causes ?? [firstTime(crate)]
}

/** What is kept for comparing may be of an older version, or damaged. */
function readTree(bytes: Uint8Array | null): Tree | undefined {
  if (bytes === null || bytes.length > maxTreeBytes) return undefined
  try {
    return decodeTree(bytes)
  } catch (error) {
    if (codeOf(error) === 'ERR_DECODE') return undefined
    throw error
  }
}
