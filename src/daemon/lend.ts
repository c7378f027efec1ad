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
  type Result,
  type RootName,
} from '../plan/action.ts'
import { rootToken } from '../plan/roots.ts'
import type { DeclaredTree, Unshareable } from '../recall/evidence.ts'
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
  /** Keeps the result, so that this node can recall it and answer for it too. */
  remember(result: Result, action: Action, tree: CID, trees: readonly DeclaredTree[]): Promise<Unshareable | undefined>
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
    const { inputs, trees } = await gather(readCid(award.inputs), peer, signal, needs)
    const outcome = await needs.run(action, inputs, { signal, onMetadata })
    if (outcome.kind === 'ok') {
      const [own] = inputs.trees
      if (own !== undefined) await needs.remember(outcome.result, action, own.tree, trees)
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
async function gather(
  cid: CID,
  peer: string,
  signal: AbortSignal,
  needs: LendNeeds,
): Promise<{ inputs: Inputs; trees: DeclaredTree[] }> {
  const from = [peer]
  const inputs = decodeInputs(await needs.bytes(cid, { from, maxBytes: limits.inputs, signal }))
  const files: { cid: CID; size: number }[] = [...inputs.files]
  const trees: DeclaredTree[] = []
  for (const [index, { root, path, tree }] of inputs.trees.entries()) {
    const { files: held } = decodeTree(await needs.bytes(tree, { from, maxBytes: limits.tree, signal }))
    // What else is lent is there for rustc to look at, not for the crate to include.
    if (index === 0 || root === 'build') trees.push({ dir: placeIn(root, path), files: held })
    files.push(...held)
  }
  const waiting = files[Symbol.iterator]()
  const fetchers = Array.from({ length: Math.min(maxFetches, files.length) }, async () => {
    for (const file of waiting) await needs.ensure(file.cid, file.size, from, signal)
  })
  await Promise.all(fetchers)
  return { inputs, trees }
}

const placeIn = (root: RootName, path: string): string => (path === '' ? rootToken(root) : `${rootToken(root)}/${path}`)

function ended(outcome: Status, fields: Partial<WorkResult>): WorkResult {
  return { outcome, code: '', message: '', result: new Uint8Array(), wallMs: 0, ...fields }
}
