import { contest, type Scenario } from './arena.ts'
import type { Recording } from './recording.ts'

/** Meshes that cannot help much, or not at all. */
const meshes: Readonly<Record<string, Partial<Scenario>>> = {
  'nobody else': { nodes: 1 },
  'one peer at a tenth': { slow: 1 },
  'one peer that never ends': { liars: 1 },
  '200 ms, 1 Mbit/s': { line: { roundTripMs: 200, bytesPerMs: 125 } },
  '40 ms, 10 Mbit/s': { line: { roundTripMs: 40, bytesPerMs: 1250 } },
  'three peers on Wi-Fi': { nodes: 4, wifiShare: 1 },
  'three peers on wires': { nodes: 4 },
}

export interface Against {
  mesh: string
  /** Makespan with the mesh over that of plain cargo, of each recording. */
  ratios: number[]
}

/** One build of each recording on two machines of four slots that know nothing of each other, unless the mesh says otherwise. */
export function* neverSlower(scenario: Scenario, recordings: readonly Recording[]): Generator<Against> {
  const two = { ...scenario, nodes: 2, load: 0, builds: 1, slots: 4, speedSigma: 0 }
  for (const [mesh, change] of Object.entries(meshes)) {
    const ratios = recordings.map((recording) => {
      const one = { ...two, ...change, recordings: [recording] }
      const [alone, market] = (['alone', 'market'] as const).map((name) => contest(name, one).makespansMs[0])
      return (market ?? Number.POSITIVE_INFINITY) / (alone ?? 1)
    })
    yield { mesh, ratios }
  }
}
