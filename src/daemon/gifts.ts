import type { Datastore } from 'interface-datastore'
import type { Logger } from '../base/log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { SharedRuns } from '../recall/shared-runs.ts'
import type { BlockStore } from '../store/blocks.ts'
import { createTraceStore, type TraceStore } from '../store/traces.ts'
import { Given } from './given.ts'
import type { PrivateUnits } from './private-units.ts'
import { purgeBy } from './purge-by.ts'
import type { Sharing } from './sharing.ts'
import type { Trust } from './trust.ts'
import { undoRun } from './undo-run.ts'

export interface GiftsNeeds {
  blocks: BlockStore
  traces: TraceStore
  /** For what can be made again. */
  index: { datastore: Datastore }
  /** For what must not be lost. */
  ledger: { datastore: Datastore }
  trust: Pick<Trust, 'judge'>
  mesh: Mesh
  privateUnits: Pick<PrivateUnits, 'isNamed'>
  sharing(): Sharing
  log: Logger
}

export interface Gifts {
  /** Runs of build scripts that others saw, or may have. */
  runs: SharedRuns
  given: Given
  givenRuns: Given
  /** As `purgeBy`. */
  purge(name: string): Promise<Record<string, unknown>>
}

/**
 * What is here on the word of others, of compiles and of build scripts.
 * @throws the errors of the datastore
 */
export async function openGifts(needs: GiftsNeeds): Promise<Gifts> {
  const { blocks, traces, trust, mesh, sharing } = needs
  const { datastore } = needs.ledger
  const log = needs.log.child('given')
  const shared = createTraceStore({ datastore: needs.index.datastore, log, prefix: '/shared-runs/' })
  const runs = new SharedRuns({
    blocks,
    traces: shared,
    ask: (key, options) => sharing().ask(key, { ...options, isUnannounced: true }),
    fetch: (cid, options) => sharing().bytes(cid, options),
    judge: trust.judge,
    isPrivate: (name) => needs.privateUnits.isNamed(name),
    log: needs.log.child('scripts'),
  })
  const given = await Given.open({ datastore, traces, log, onGone: (key) => sharing().gone(key) })
  const onGone = (key: string): void => sharing().ranScript(key, false)
  const ofRuns = { datastore, traces: shared, log, onGone, prefix: '/given-runs/', undo: undoRun }
  const givenRuns = await Given.open(ofRuns)
  const purge = (name: string): Promise<Record<string, unknown>> =>
    purgeBy(name, { mesh, given, givenRuns, placed: sharing().placed })
  return { runs, given, givenRuns, purge }
}
