import { seededRandom } from '../base/clock.ts'
import { noFaults } from './faults.ts'
import type { SimInit } from './world.ts'

/** Any mesh, any build, any trouble: all drawn from the seed. */
export function anything(seed: number): SimInit {
  const random = seededRandom(seed * 7919)
  const whole = (least: number, most: number): number => least + Math.floor(random() * (most - least + 1))
  const nodes = whole(1, 8)
  const latency = whole(1, 3) === 1 ? 60 : 5
  const faults = {
    loss: whole(0, 2) * 0.05,
    duplicate: whole(0, 2) * 0.1,
    badWork: whole(0, 2) * 0.1,
    crashes: whole(0, 3),
    partitions: whole(0, 2),
    suspensions: whole(0, 2),
    withinMs: 15_000,
  }
  return {
    seed,
    nodes,
    overheadMs: 20,
    builders: whole(1, nodes),
    slots: whole(1, 4),
    units: whole(5, 40),
    latencyMs: [random() * latency, (1 + random()) * latency],
    errorSigma: random(),
    // Slots that stand idle can be told only where nothing fails.
    faults: seed % 3 === 0 ? noFaults : faults,
  }
}
