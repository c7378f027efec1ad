import type { Random } from '../base/clock.ts'
import { normal } from './random.ts'
import type { RecordedKind, RecordedUnit, Recording } from './recording.ts'
import { layeredGraph } from './workload.ts'

/** One unit of a build, with what has to happen before and after it. */
export interface GraphUnit {
  readonly index: number
  /** On a machine of speed 1. */
  readonly metadataMs: number
  readonly ms: number
  /** What the market is told, and whether that is guessed from its sources. */
  readonly expectedMs: number
  readonly guessed: boolean
  readonly rank: number
  /** False: compiled where its build is. */
  readonly mobile: boolean
  /** Whether cargo asks for it through the node: not the runs of build scripts. */
  readonly asked: boolean
  readonly sourceBytes: number
  readonly rmetaBytes: number
  readonly outputBytes: number
  /** How many events it waits for. */
  readonly missing: number
  /** Units that wait for its metadata only, and those that wait for its end. */
  readonly onMetadata: readonly number[]
  readonly onEnd: readonly number[]
  /** Units whose metadata (or, when it links, all of whose output) must lie where it is compiled. */
  readonly inputs: readonly number[]
  readonly links: boolean
  /** Whether it reaches a procedural macro. */
  readonly usesMacros: boolean
}

export type Graph = readonly GraphUnit[]

/**
 * What is known about a unit before it runs: nothing; what waits for it, as the daemon reads it from `Cargo.lock` before the first build;
 * how long it takes (each unit alone); or that and the graph, with metadata and the rest as separate nodes.
 */
export type Knowledge = 'nothing' | 'order' | 'durations' | 'graph'

export interface GraphOptions {
  random: Random
  /** Standard deviation of the logarithm of the error of expected durations. */
  errorSigma: number
  knowledge: Knowledge
  /** Kinds that may be compiled elsewhere. */
  mobile: ReadonlySet<RecordedKind>
}

/** What is true of every unit, whatever anybody knows: for the all-knowing scheduler and for bounds. */
export function trueRanks(graph: Graph): number[] {
  return ranks(graph, (unit) => unit)
}

/** Everything that cargo would wait for: a unit that links waits for the end of all below it, others for metadata. */
export function graphOf(recording: Recording, options: GraphOptions): Graph {
  const { units } = recording
  const closures: Set<number>[] = []
  for (const at of topological(units)) {
    const all = new Set<number>()
    for (const below of units[at]?.depends ?? []) {
      // What a proc-macro, a script or a run is made of is no input of what uses it.
      if (units[below]?.kind === 'lib') for (const deeper of closures[below] ?? []) all.add(deeper)
      all.add(below)
    }
    closures[at] = all
  }
  const onMetadata: number[][] = units.map(() => [])
  const onEnd: number[][] = units.map(() => [])
  const drafts = units.map((unit, index) => {
    const links = unit.kind !== 'lib' && unit.kind !== 'run'
    const waits = links ? [...(closures[index] ?? [])] : unit.depends
    for (const below of waits) {
      const pipelined = !links && unit.kind === 'lib' && units[below]?.kind === 'lib'
      ;(pipelined ? onMetadata : onEnd)[below]?.push(index)
    }
    return { unit, index, links, missing: waits.length }
  })
  const graph = drafts.map(({ unit, index, links, missing }): GraphUnit => {
    const { sourceBytes, rmetaBytes, outputBytes } = unit
    const ms = Math.max(1, unit.ms)
    const known = options.knowledge !== 'nothing' && options.knowledge !== 'order'
    // Of what was never seen: as the daemon's `units.ts` has it.
    const bySource = Math.min(60_000, 50 + sourceBytes / 800)
    const error = Math.exp(options.errorSigma * normal(options.random))
    return {
      index,
      ...{ ms, metadataMs: Math.min(ms, unit.metadataMs), sourceBytes, rmetaBytes, outputBytes, missing, links },
      guessed: !known,
      expectedMs: known ? ms * error : bySource,
      rank: 0,
      mobile: options.mobile.has(unit.kind),
      asked: unit.kind !== 'run',
      onMetadata: onMetadata[index] ?? [],
      onEnd: onEnd[index] ?? [],
      inputs: [...(closures[index] ?? [])],
      usesMacros: [...(closures[index] ?? [])].some((below) => units[below]?.kind === 'macro'),
    }
  })
  if (options.knowledge === 'nothing') return graph
  if (options.knowledge === 'durations') return graph.map((unit) => ({ ...unit, rank: unit.expectedMs }))
  const expected = ranks(graph, (unit) => {
    if (unit.guessed) return guessed(unit)
    return { ms: unit.expectedMs, metadataMs: (unit.metadataMs * unit.expectedMs) / unit.ms }
  })
  return graph.map((unit) => ({ ...unit, rank: expected[unit.index] ?? 0 }))
}

/** As the daemon's `lock-order.ts` has it. */
function guessed({ expectedMs }: GraphUnit): { ms: number; metadataMs: number } {
  const ms = Math.min(5000, 300 + expectedMs)
  return { ms, metadataMs: ms / 2 }
}

/** Time from the start of each unit to the end of the build when nothing waits for a slot. */
function ranks(graph: Graph, cost: (unit: GraphUnit) => { ms: number; metadataMs: number }): number[] {
  const result: number[] = []
  const most = (of: readonly number[]): number => of.reduce((sum, index) => Math.max(sum, result[index] ?? 0), 0)
  const order = topological(graph.map(({ onMetadata, onEnd }) => ({ depends: [...onMetadata, ...onEnd] })))
  for (const index of order) {
    const unit = graph[index]
    if (!unit) continue
    const { ms, metadataMs } = cost(unit)
    result[index] = Math.max(ms + most(unit.onEnd), metadataMs + most(unit.onMetadata))
  }
  return result
}

export function graphWorkMs(graph: Graph): number {
  return graph.reduce((sum, { ms }) => sum + ms, 0)
}

export function graphPathMs(graph: Graph): number {
  return trueRanks(graph).reduce((a, b) => Math.max(a, b), 0)
}

/** A made-up build: a layered graph whose metadata is there after 30 to 60 % of each unit, and a binary on top. */
export function syntheticRecording(units: number, random: Random): Recording {
  const rows = layeredGraph({ units, random, errorSigma: 0 }).map((unit): RecordedUnit => {
    const rmetaBytes = Math.round(300_000 * Math.exp(normal(random)))
    return {
      name: `unit${unit.index}`,
      kind: unit.index === units - 1 ? 'link' : 'lib',
      depends: [...unit.dependencies],
      metadataMs: Math.round(unit.ms * (0.3 + 0.3 * random())),
      ms: Math.round(unit.ms),
      sourceBytes: Math.round(unit.ms * 250),
      rmetaBytes,
      outputBytes: Math.round(rmetaBytes * (2 + random())),
    }
  })
  return { package: `synthetic ${units}`, rustc: '', profile: 'dev', jobs: 1, units: rows }
}

/** Indices in an order in which what a unit depends on comes before it. */
function topological(units: readonly { depends: readonly number[] }[]): number[] {
  const order: number[] = []
  const seen = new Uint8Array(units.length)
  const visit = (at: number): void => {
    if (seen[at]) return
    seen[at] = 1
    for (const below of units[at]?.depends ?? []) visit(below)
    order.push(at)
  }
  for (let at = 0; at < units.length; at++) visit(at)
  return order
}
