import { contest } from '../../src/sim/arena.ts'
import { measured, type NodeCost } from '../../src/sim/cost.ts'
import type { RecordedKind, Recording } from '../../src/sim/recording.ts'
import { rulesNow } from '../../src/sim/variant.ts'
import type { Measured, Plain, Setting } from './mesh-run.ts'

/** Kinds of which others can do at least the greater part. */
export const mobile: readonly RecordedKind[] = ['lib', 'macro', 'script', 'link']

/** What a build has shown: the nodes' own work by unit, and how much more compiles took than when they were recorded. */
export interface Shown extends NodeCost {
  slower: number
  /** What plain cargo, which always had something to do, got of a processor: less than the share, because what begins late in a period ends early. */
  got: number
}

/** The same units where each takes so many times as long. */
export function slowed(recording: Recording, times: number): Recording {
  const slower = (ms: number): number => Math.round(ms * times)
  const units = recording.units.map((unit) => ({ ...unit, ms: slower(unit.ms), metadataMs: slower(unit.metadataMs) }))
  return { ...recording, units }
}

const workOf = ({ units }: Recording): number => units.reduce((total, { ms }) => total + ms, 0)

/**
 * How many times as long as they were recorded compiles take, by the processor time of everything but the nodes. Where a machine has a
 * share of a processor its programs are stopped a hundred times a second, and find the caches full of others' each time they go on.
 */
export function slowerIn({ restMs }: Pick<Plain, 'restMs'>, recording: Recording): number {
  return (restMs - measured.cargo * recording.units.length) / workOf(recording)
}

/**
 * What nodes took besides compiling, from counters of processor time, by unit.
 * @param single the same build where there was one machine: what a unit here takes
 */
export function costOf(row: Measured, single: Measured | undefined, plain: Plain, recording: Recording): Shown {
  const { units, away } = row
  const here = single === undefined ? measured.here : single.builderMs / single.units
  return {
    cargo: measured.cargo,
    here,
    builder: away === 0 ? here : Math.max(0, row.builderMs - here * (units - away)) / away,
    lender: away === 0 ? 0 : row.lendersMs / away,
    got: plain.restMs / plain.ms,
    slower: slowerIn(row, recording),
  }
}

/** What the simulator expects: the first build of a workspace that nobody has met, one slot on each machine. */
export function predictedMs(recording: Recording, shown: Shown, nodes: number, { network }: Setting): number {
  const { slower, got, cargo, here, builder, lender } = shown
  const cost = { cargo, here, builder, lender }
  const { mbit } = network
  const { makespansMs } = contest('market', {
    ...{ seed: 1, nodes, load: 0, builds: 1, recordings: [slowed(recording, slower)] },
    ...{
      knowledge: 'order',
      errorSigma: 0.3,
      mobile,
      wifiShare: 0,
      speedSigma: 0,
      speedError: 0,
      slots: 1,
      processors: 1,
      quota: got,
      cost,
    },
    // What sandboxes take is in the compiles and in the nodes' own work.
    ...{
      overheadMs: 0,
      transfers: true,
      view: 64,
      liars: 0,
      slow: 0,
      departures: 0,
      owners: 0,
      late: 0,
      lateMacros: true,
      rules: rulesNow,
    },
    ...(mbit !== undefined && { line: { roundTripMs: 0.5, bytesPerMs: 125 * mbit } }),
  })
  return makespansMs[0] ?? Number.NaN
}
