import type { Graph, GraphUnit } from './graph.ts'

/** A unit that can be compiled. */
export interface Job {
  readonly build: Build
  readonly unit: GraphUnit
  readonly readyAt: number
  /** True time from its start to the end of the build. */
  readonly trueRank: number
  boundAt: number | undefined
  /** Of what it has waited, the time in which nobody could have done better: see `WaitingWatch`. */
  unavoidableMs: number
}

/** What machines and schedulers see of a cargo that builds. */
export interface Build {
  readonly number: number
  /** The machine that it runs on. */
  readonly home: number
  readonly graph: Graph
  /** A machine has begun with it. */
  bound(job: Job): void
  /** Its metadata, all of its output lies at home. */
  metadata(unit: GraphUnit): void
  finished(unit: GraphUnit): void
  /** Its output lies on this machine. */
  hold(node: number, index: number): void
  /** Machines where something of it lies. */
  holders(): Iterable<number>
  /** Bytes that the unit needs and the machine does not have. */
  missing(node: number, unit: GraphUnit): number
  /** The same; the machine has them from now on. */
  lacks(node: number, unit: GraphUnit): number
}

/** What decides where units are compiled. */
export interface Scheduler {
  begin(build: Build): void
  submit(job: Job): void
  end(build: Build): void
  /** Messages about units, and standing ones, and bytes of those about units, so far. */
  messages(): { units: number; standing: number; bytes: number }
}
