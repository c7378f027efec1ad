import { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { decodeTree, type Tree } from '../plan/action.ts'
import type { LentInputs } from '../plan/lent-inputs.ts'
import type { PlannedAction } from '../plan/plan.ts'
import type { Trees } from '../plan/trees.ts'
import type { Cause } from '../recall/cause.ts'
import type { Difference, Place } from '../recall/evidence.ts'
import {
  explainAction,
  explainDifference,
  explainEnvironment,
  firstTime,
  maxCauses,
  nearest,
  notKept,
  type Remembered,
  subjectOf,
  versionOf,
} from '../recall/explain.ts'
import type { Missed } from '../recall/recall.ts'
import {
  type Circumstances,
  circumstancesOf,
  decodeCircumstances,
  decodeSketch,
  encodeCircumstances,
  encodeSketch,
  type SketchedEnvironment,
  sketchEnvironment,
  sketchOf,
} from '../recall/sketch.ts'
import type { SeenAction, SubjectStore } from '../store/subjects.ts'

export interface CausesNeeds {
  subjects: SubjectStore
  blocks: { get(cid: CID): Promise<Uint8Array | undefined> }
  trees: Trees
  /** What the unit was found to be made from, if that was looked at. */
  inputsOf(planned: PlannedAction): LentInputs | undefined
  log: Logger
}

/** How a unit ended that was not recalled. */
export interface Ended extends Missed {
  env: Place['env']
  /** Whether what was kept of it holds for one environment as a whole only. */
  readsEnvironment: boolean
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
  async of(planned: PlannedAction, ended: Ended): Promise<Cause[]> {
    const { difference } = ended
    try {
      const subject = subjectOf(planned)
      const { subjects } = this.#needs
      const mine = seenAction(planned, ended, ended.readsEnvironment ? await subjects.seen(subject) : [])
      const seen = await (this.#made.has(planned) ? subjects.add(subject, mine) : subjects.seen(subject))
      const causes =
        difference === undefined
          ? explainUnknown(planned, mine, seen)
          : await this.#explain(planned, difference, seen, ended)
      return causes.slice(0, maxCauses)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#needs.log.info('no cause found', { code: codeOf(error), crate: planned.crate, reason })
      return []
    }
  }

  async #explain(
    planned: PlannedAction,
    difference: Difference,
    seen: readonly SeenAction[],
    { env }: Ended,
  ): Promise<Cause[]> {
    if (difference.kind === 'environ') {
      const causes = explainEnvironment(environmentsOf(planned, seen), sketchEnvironment({ env, roots: planned.roots }))
      return causes.length > 0 ? causes : explainDifference(difference)
    }
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

/** Of an action that goes with several environments, the newest. */
const maxEnvironments = 4

/** @param seen what was kept of the subject before */
function seenAction(planned: PlannedAction, ended: Ended, seen: readonly SeenAction[]): SeenAction {
  const { action, args, build, roots } = planned
  const environments: SketchedEnvironment[] = []
  if (ended.readsEnvironment) {
    const now = sketchEnvironment({ env: ended.env, roots })
    const others = environmentsOf(planned, seen).filter(({ cid }) => cid !== now.cid)
    environments.push(...[now, ...others].slice(0, maxEnvironments))
  }
  return {
    variant: args.codegen.get('metadata')?.slice(0, 256) ?? '',
    action: encodeSketch(sketchOf(action)),
    outDir: build?.bytes ?? null,
    besides: encodeCircumstances(circumstancesOf(planned, environments)),
  }
}

/** Those in which this very action was carried out. */
function environmentsOf({ action }: PlannedAction, seen: readonly SeenAction[]): SketchedEnvironment[] {
  const mine = encodeSketch(sketchOf(action))
  const same = seen.find((other) => Buffer.compare(other.action, mine) === 0)
  return (same && circumstances(same)?.environments) ?? []
}

const circumstances = ({ besides }: SeenAction): Circumstances | undefined =>
  besides === null ? undefined : decodeCircumstances(besides)

/** No trace has its action: it is compared with what the same unit was when it was made before. */
function explainUnknown(planned: PlannedAction, mine: SeenAction, seen: readonly SeenAction[]): Cause[] {
  const { action, crate, build } = planned
  if (seen.some((other) => Buffer.compare(other.action, mine.action) === 0)) return [notKept(crate)]
  const now = { sketch: sketchOf(action), circumstances: circumstances(mine) }
  // What cargo calls the same comes nearest, and another version farthest.
  let candidates = remembered(seen.filter(({ variant }) => variant === mine.variant))
  if (candidates.length === 0) {
    const all = remembered(seen)
    const ofVersion = all.filter(({ before }) => versionOf(before.sketch) === versionOf(now.sketch))
    candidates = ofVersion.length > 0 ? ofVersion : all
  }
  const causes = nearest(candidates, ({ before, outDir }) =>
    explainAction(before, now, () => ({ recorded: readTree(outDir), here: build?.tree })),
  )
  return causes ?? [firstTime(crate)]
}

function remembered(seen: readonly SeenAction[]): { before: Remembered; outDir: Uint8Array | null }[] {
  return seen.flatMap((other) => {
    const sketch = decodeSketch(other.action)
    return sketch === undefined
      ? []
      : [{ before: { sketch, circumstances: circumstances(other) }, outDir: other.outDir }]
  })
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
