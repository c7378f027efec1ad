import type { CID } from 'multiformats/cid'
import { foreignText, ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { admit } from '../execute/admission.ts'
import type { Outcome } from '../execute/runner.ts'
import type { WorkOptions } from '../market/guests.ts'
import type { WorkResult } from '../market/task.ts'
import {
  type Action,
  decodeAction,
  decodeInputs,
  decodeTree,
  encodeResult,
  type Inputs,
  limits,
} from '../plan/action.ts'
import { readCid } from '../wire/cid.ts'
import { type Award, Outcome as Status } from '../wire/generated/market_pb.ts'

export interface LendNeeds {
  /** Disowns tasks of another mesh. */
  salt: string
  /** A block from here or from `from`, verified and kept. */
  bytes(cid: CID, options: { from: readonly string[]; maxBytes: number; signal: AbortSignal }): Promise<Uint8Array>
  /** Makes a block available here. */
  ensure(cid: CID, size: number, from: readonly string[], signal: AbortSignal): Promise<number>
  /** Runs it in a sandbox; everything that it reads is in the store by now. */
  run(action: Action, inputs: Inputs, options: Omit<WorkOptions, 'peer'>): Promise<Outcome>
  log: Logger
}

/** Input files that are fetched at once. */
const maxFetches = 32

/** Codes that say something about the action rather than about this node's health. */
const refusals: ReadonlySet<string> = new Set(['ERR_ADMISSION', 'ERR_TOOLCHAIN', 'ERR_DECODE', 'ERR_UNSUPPORTED'])
const unusable: ReadonlySet<string> = new Set(['ERR_PATH_BOUND', 'ERR_OUTPUT', 'ERR_LIMIT'])

/** Compiles one awarded unit for `peer`. Never throws: every trouble is an outcome that the builder can act upon. */
export async function lend(award: Award, options: WorkOptions, needs: LendNeeds): Promise<WorkResult> {
  const { peer, signal, onMetadata } = options
  try {
    const action = decodeAction(award.action)
    if (action.salt !== needs.salt) throw new ShoalError('ERR_ADMISSION', 'action of another mesh')
    admit(action)
    const inputs = await gather(readCid(award.inputs), peer, signal, needs)
    const outcome = await needs.run(action, inputs, { signal, onMetadata })
    if (outcome.kind === 'ok') {
      return ended(Status.OK, { result: encodeResult(outcome.result).bytes, wallMs: outcome.wallMs })
    }
    needs.log.info('lent unit does not compile here', {
      peer,
      crate: action.crate,
      stderr: foreignText(outcome.stderr),
    })
    return ended(Status.FAILED, { message: `rustc ended with ${outcome.status}`, wallMs: outcome.wallMs })
  } catch (error) {
    const { code, message } = toShoalError(error)
    if (!signal.aborted) needs.log.info('lent unit ended without a result', { code, peer, message })
    const outcome = refusals.has(code) ? Status.REFUSED : unusable.has(code) ? Status.UNUSABLE : Status.ERROR
    return ended(outcome, { code, message: foreignText(message) })
  }
}

/** Fetches the input manifest and everything that it names. */
async function gather(cid: CID, peer: string, signal: AbortSignal, needs: LendNeeds): Promise<Inputs> {
  const from = [peer]
  const inputs = decodeInputs(await needs.bytes(cid, { from, maxBytes: limits.inputs, signal }))
  const files: { cid: CID; size: number }[] = [...inputs.files]
  for (const { tree } of inputs.trees) {
    files.push(...decodeTree(await needs.bytes(tree, { from, maxBytes: limits.tree, signal })).files)
  }
  const waiting = files[Symbol.iterator]()
  const fetchers = Array.from({ length: Math.min(maxFetches, files.length) }, async () => {
    for (const file of waiting) await needs.ensure(file.cid, file.size, from, signal)
  })
  await Promise.all(fetchers)
  return inputs
}

function ended(outcome: Status, fields: Partial<WorkResult>): WorkResult {
  return { outcome, code: '', message: '', result: new Uint8Array(), wallMs: 0, ...fields }
}
