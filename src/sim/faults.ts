import type { Clock, Random } from '../base/clock.ts'

/** What can be made to fail. */
export interface FaultTarget {
  readonly time: Clock
  readonly random: Random
  /** Nodes that exist at the start. */
  readonly names: readonly string[]
  crash(name: string, noticeMs: number, restartMs: number | undefined): void
  partition(island: ReadonlySet<string>, ms: number, noticeMs: number): void
  suspend(name: string, ms: number): void
}

/** What goes wrong. Everything happens within the first `withinMs`; afterwards the network is sound. */
export interface FaultPlan {
  /** Share of frames that are lost, and that arrive twice. */
  loss: number
  duplicate: number
  /** Share of compiles away that end in another outcome than OK. */
  badWork: number
  crashes: number
  partitions: number
  /** Processes that stand still for some seconds. */
  suspensions: number
  withinMs: number
}

export const noFaults: FaultPlan = {
  loss: 0,
  duplicate: 0,
  badWork: 0,
  crashes: 0,
  partitions: 0,
  suspensions: 0,
  withinMs: 0,
}

export function isFaultless(plan: FaultPlan): boolean {
  const { loss, duplicate, badWork, crashes, partitions, suspensions } = plan
  return loss + duplicate + badWork + crashes + partitions + suspensions === 0
}

/** Schedules the faults of a plan at random moments; returns when the last one is over. */
export function injectFaults(world: FaultTarget, plan: FaultPlan): number {
  const { names, random, time } = world
  const moment = (): number => random() * plan.withinMs
  const anyName = (): string => names[Math.floor(random() * names.length)] ?? ''
  let calmAt = plan.withinMs
  for (let count = 0; count < plan.crashes; count++) {
    const [at, name, notice] = [moment(), anyName(), random() * 4000]
    const restart = random() < 0.7 ? random() * 3000 : undefined
    time.after(at, () => world.crash(name, notice, restart))
    calmAt = Math.max(calmAt, at + notice + (restart ?? 0))
  }
  // One after the other: a network has one cut at a time.
  let from = 0
  for (let count = 0; count < plan.partitions; count++) {
    const [at, ms, notice] = [from + moment() / plan.partitions, 100 + random() * 6000, random() * 6000]
    const island = new Set(Array.from({ length: Math.ceil(random() * names.length * 0.5) }, anyName))
    time.after(at, () => world.partition(island, ms, notice))
    from = at + ms
    calmAt = Math.max(calmAt, from)
  }
  for (let count = 0; count < plan.suspensions; count++) {
    const [at, name, ms] = [moment(), anyName(), random() * 8000]
    time.after(at, () => world.suspend(name, ms))
    calmAt = Math.max(calmAt, at + ms)
  }
  return calmAt
}
