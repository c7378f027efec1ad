import { join } from 'node:path'
import type { Datastore } from 'interface-datastore'
import type { Clock } from '../base/clock.ts'
import type { Environment, ShoalPaths } from '../base/paths.ts'
import { isStillToolchain } from '../plan/script-plan.ts'
import { ScriptRuns } from '../recall/script-runs.ts'
import { createTraceStore } from '../store/traces.ts'
import type { Gifts } from './gifts.ts'
import { makeNotesDir } from './notes-dir.ts'
import type { PrivateUnits } from './private-units.ts'
import { ScriptsAgain } from './script-again.ts'
import { ScriptMesh } from './script-mesh.ts'
import { Scripts, type ScriptsNeeds } from './scripts.ts'
import type { Sharing } from './sharing.ts'
import type { Trust } from './trust.ts'
import { findBubblewrap } from './warm-run.ts'

export type ScriptParts = Omit<ScriptsNeeds, 'runs' | 'mesh'> & {
  clock: Clock
  env: Environment
  /** Goes into every key. */
  salt: string
  datastore: Datastore
  gifts: Gifts
  privateUnits: PrivateUnits
  sharing: Sharing
  trust: Trust
}

/**
 * Builds what the runs of build scripts need, of all rooms.
 * @throws ShoalError ERR_STORE, and the file system's errors
 */
export async function openScripts(
  parts: ScriptParts,
  { paths, alwaysRun }: { paths: ShoalPaths; alwaysRun: readonly string[] },
): Promise<Scripts> {
  const { blocks, clock, datastore, digests, env, gifts, observer, privateUnits, sharing, stamp, toolchain, trust } =
    parts
  const log = parts.log.child('scripts')
  const again = await ScriptsAgain.open(
    {
      digests,
      observer: () => observer.path(),
      bubblewrap: () => findBubblewrap(env),
      isStill: (planned) => isStillToolchain(planned, toolchain),
      stamp,
    },
    { scratchDir: join(paths.cache, 'scripts-again') },
  )
  return new Scripts(
    {
      ...parts,
      log,
      runs: new ScriptRuns({ blocks, traces: createTraceStore({ datastore, log, prefix: '/runs/' }), log }),
      mesh: new ScriptMesh({
        runs: gifts.runs,
        given: gifts.givenRuns,
        sharing,
        trust,
        privateUnits,
        again,
        clock,
        log,
      }),
    },
    { salt: parts.salt, notesDir: await makeNotesDir(paths), shim: join(paths.shimDir, 'shoal-rustc'), alwaysRun },
  )
}
