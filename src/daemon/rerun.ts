import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { decodeAction } from '../plan/action.ts'
import { namesIn } from '../recall/read-set.ts'
import { widest } from '../recall/said.ts'
import { outputsDigest } from '../recall/signed-claim.ts'
import { gather, type LendNeeds } from './lend.ts'
import { lentReads } from './lent-reads.ts'
import type { Rerun } from './verdict.ts'

export type RerunNeeds = Pick<LendNeeds, 'bytes' | 'ensure' | 'trees' | 'run' | 'covered' | 'usesEnviron' | 'math'> & {
  log: Logger
}

/**
 * Runs an action in the sandbox as for a member, from what is in the store, and keeps nothing of it.
 * @returns undefined when it cannot be run: something that it reads has changed or is gone, or its toolchain is not here
 */
export async function rerun(
  { action: encoded, inputs }: { action: Uint8Array; inputs: CID },
  signal: AbortSignal,
  needs: RerunNeeds,
): Promise<Rerun | undefined> {
  const known = decodeAction(encoded)
  const action = { ...known, argv: ['--diagnostic-width', widest, ...known.argv] }
  try {
    const laid = await gather(inputs, [], signal, needs)
    const outcome = await needs.run(action, laid.inputs, { signal, onRmeta: () => undefined })
    if (outcome.kind !== 'ok') return undefined
    const { result, observed } = outcome
    const { depInfo } = result
    const covered = needs.covered(action.toolchain)
    const usesEnviron = (library: CID): Promise<boolean> => needs.usesEnviron(library)
    const { math } = needs
    const reads = observed && (await lentReads({ action, ...laid, observed, depInfo }, { covered, usesEnviron, math }))
    const seen = typeof reads === 'string' ? undefined : reads
    const metadata = result.outputs.find(({ kind }) => kind === 'metadata')?.cid
    const { stderr } = result
    return { outputs: outputsDigest(result), reads: seen, told: namesIn(depInfo, { action }), stderr, metadata }
  } catch (error) {
    signal.throwIfAborted()
    if (codeOf(error) === undefined) throw error
    needs.log.info('not run again', { crate: action.crate, code: codeOf(error) })
    return undefined
  }
}
