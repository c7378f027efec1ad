import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../src/base/clock.ts'
import { Cluster } from '../../src/sim/cluster.ts'
import { noCost } from '../../src/sim/cost.ts'
import { graphOf } from '../../src/sim/graph.ts'
import type { Build, Job } from '../../src/sim/job.ts'
import type { RecordedUnit } from '../../src/sim/recording.ts'
import { WaitingWatch } from '../../src/sim/waiting.ts'

const equal = { wifiShare: 0, speedSigma: 0, speedError: 0, slots: 1, processors: 1, cost: noCost, overheadMs: 0 }
const sound = { transfers: true, liars: 0, slow: 0 }

/** Three units on the first of two machines, which compiles another one. */
function waitingJobs(outputBytes: number): { cluster: Cluster; jobs: Job[] } {
  const cluster = new Cluster({ nodes: 2, ...equal, ...sound }, seededRandom(1))
  const units = [1000, 900, 800, 700].map((ms): RecordedUnit => {
    return { name: 'x', kind: 'lib', depends: [], metadataMs: ms, ms, sourceBytes: 1000, rmetaBytes: 1000, outputBytes }
  })
  const known = {
    random: seededRandom(1),
    errorSigma: 0,
    knowledge: 'graph',
    mobile: new Set(['lib'] as const),
  } as const
  const graph = graphOf({ package: 'x', rustc: '', profile: '', jobs: 1, units }, known)
  const nothing = (): void => {}
  const bytes = { missing: () => 1000, lacks: () => 1000, holders: () => [] }
  const build: Build = {
    number: 0,
    home: 0,
    graph,
    bound: nothing,
    metadata: nothing,
    finished: nothing,
    hold: nothing,
    ...bytes,
  }
  const [first, ...jobs] = graph.map((unit): Job => {
    return { build, unit, readyAt: 0, trueRank: unit.rank, boundAt: undefined, unavoidableMs: 0 }
  })
  assert.ok(first)
  cluster.run(first, 0, { metadata: nothing, end: nothing })
  return { cluster, jobs }
}

function unavoidable(outputBytes: number): number[] {
  const { cluster, jobs } = waitingJobs(outputBytes)
  new WaitingWatch(
    cluster,
    () => jobs,
    () => [1],
  ).start()
  cluster.time.run(() => false, 100)
  return jobs.map(({ unavoidableMs }) => unavoidableMs)
}

test('one free slot could have spared one unit its waiting, the one that most waits for', () => {
  assert.deepEqual(unavoidable(1000), [0, 100, 100])
})

test('and none, where what comes of it would be here later than from a slot here', () => {
  assert.deepEqual(unavoidable(1e9), [100, 100, 100])
})
