import type { CID } from 'multiformats/cid'
import { codeOf, foreignText, ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { admit } from '../execute/admission.ts'
import { cpuMsOf } from '../execute/cpu-time.ts'
import type { ExecuteOptions } from '../execute/executor.ts'
import { defaultLimits } from '../execute/limits.ts'
import type { Observed } from '../execute/observed.ts'
import type { EarlyMetadata, Outcome } from '../execute/runner.ts'
import type { WorkOptions } from '../market/guests.ts'
import { marketLimits } from '../market/limits.ts'
import type { WorkResult } from '../market/task.ts'
import { type Claim, workKey } from '../mesh/claims.ts'
import {
  type Action,
  decodeAction,
  decodeInputs,
  encodeResult,
  encodeTrace,
  type Inputs,
  limits,
  type ReadSet,
  type Result,
  type RootName,
  type Tree,
} from '../plan/action.ts'
import type { KnownTrees } from '../plan/known-trees.ts'
import { packSize } from '../plan/pack.ts'
import { rootToken } from '../plan/roots.ts'
import { isBound } from '../recall/evidence.ts'
import { declaredReadSet, type Unshareable } from '../recall/read-set.ts'
import { type SignedClaim, unwatched } from '../recall/signed-claim.ts'
import { cidOf, dagCborCodec, digestOf, readCid } from '../wire/cid.ts'
import { type Award, Outcome as Status } from '../wire/generated/market_pb.ts'
import { type LentReadsNeeds, type LentTree, lentReads } from './lent-reads.ts'
import { Turns } from './turns.ts'

export interface LendNeeds extends Pick<LentReadsNeeds, 'usesEnviron' | 'math'> {
  /** Disowns tasks of another mesh. */
  salt: string
  /** A block from here or from `from`, verified and kept. */
  bytes(cid: CID, options: { from: readonly string[]; maxBytes: number; signal: AbortSignal }): Promise<Uint8Array>
  /** Makes a block available here. */
  ensure(cid: CID, size: number, from: readonly string[], signal: AbortSignal): Promise<number>
  trees: Pick<KnownTrees, 'of'>
  /** Whether what a compile does can be observed here. */
  observes(): boolean
  /** Where a block that is here lies. */
  fileOf(cid: CID): Promise<string | undefined>
  /** The files that a toolchain's digest is over. */
  covered(toolchain: string): ReadonlySet<string>
  /** Runs it in a sandbox; everything that it reads is in the store by now. */
  run(
    action: Action,
    inputs: Inputs,
    options: Pick<ExecuteOptions, 'signal' | 'observer' | 'onStarted' | 'onRmeta'>,
  ): Promise<Outcome>
  /** Puts this node's name to what came out; undefined when it does not come out the same each time. */
  sign(action: Action, made: { result: Result; reads: ReadSet }): Promise<SignedClaim | undefined>
  /** Keeps the result, so that this node can recall it and answer for it too. */
  remember(result: Result, reads: ReadSet, claims: readonly SignedClaim[]): Promise<void>
  /** Tells other members that this node is at some work, so that they wait for its end. */
  claim(work: Uint8Array, expectedMs: number): Pick<Claim, 'commit' | 'done'>
  log: Logger
}

/** Inputs that are fetched at once: one after the other each would cost a round trip, and a user's crate names a hundred packages. */
const maxFetches = 32
/** Listings that are longer come one after the other: how much they are is known only when they are here. */
const usualListing = 1 << 20
const maxObserver = 1 << 20

/** Codes that say something about the action rather than about this node's health. */
const refusals: ReadonlySet<string> = new Set(['ERR_ADMISSION', 'ERR_TOOLCHAIN', 'ERR_DECODE', 'ERR_UNSUPPORTED'])
const unusable: ReadonlySet<string> = new Set(['ERR_PATH_BOUND', 'ERR_OUTPUT', 'ERR_LIMIT'])

/** Compiles one awarded unit for `peer`. Never throws: every trouble is an outcome that the builder can act upon. */
export async function lend(award: Award, options: WorkOptions, needs: LendNeeds): Promise<WorkResult> {
  const { peer, signal } = options
  try {
    const action = decodeAction(award.action)
    if (action.salt !== needs.salt) throw new ShoalError('ERR_ADMISSION', 'action of another mesh')
    admit(action)
    const lent = new LentUnit(action, cidOf(award.action, dagCborCodec), needs)
    if (lent.usesMacros && !needs.observes()) lent.observer = await observerOf(award, options, needs)
    const laid = await gather(readCid(award.inputs), [peer], signal, {
      bytes: (cid, from) => needs.bytes(cid, from),
      trees: needs.trees,
      ensure: async (cid, size, from, until) => {
        const bytes = await needs.ensure(cid, size, from, until)
        if (bytes > 0) options.onFetched?.(bytes)
        return bytes
      },
    })
    options.onInputs?.()
    const claim = lent.claim(laid, award.expectedMs)
    try {
      return await lent.compile(laid, options)
    } finally {
      claim?.done(lent.isKept)
    }
  } catch (error) {
    const { code, message } = toShoalError(error)
    if (!signal.aborted) needs.log.info('lent unit ended without a result', { code, peer, message })
    const outcome = refusals.has(code) ? Status.REFUSED : unusable.has(code) ? Status.UNUSABLE : Status.ERROR
    return ended(outcome, { code, message: foreignText(message) })
  }
}

/** What was laid out for a compile. */
export interface Laid {
  inputs: Inputs
  trees: readonly LentTree[]
}

/** One unit that is compiled for somebody else. */
class LentUnit {
  readonly usesMacros: boolean
  /** Whether the result can be asked for here. */
  isKept = false
  /** The builder's own, where this node has none: then what it notes is the builder's concern alone. */
  observer: string | undefined
  readonly #action: Action
  readonly #key: CID
  readonly #needs: LendNeeds

  constructor(action: Action, key: CID, needs: LendNeeds) {
    this.usesMacros = action.deps.some(([name]) => !/\.(rmeta|rlib)$/.test(name))
    this.#action = action
    this.#key = key
    this.#needs = needs
  }

  /** The name under which a member that builds the same thing claims it; none when there is no package. */
  claim({ inputs: { trees } }: Laid, expectedMs: number): Pick<Claim, 'done'> | undefined {
    const [own] = trees
    if (own === undefined) return undefined
    const claim = this.#needs.claim(workKey(digestOf(this.#key), digestOf(own.tree)), expectedMs)
    claim.commit()
    return claim
  }

  /** @throws as `deliver`, and what the run throws */
  async compile(laid: Laid, options: WorkOptions): Promise<WorkResult> {
    const early: Promise<void>[] = []
    const outcome = await this.#needs.run(this.#action, laid.inputs, {
      signal: options.signal,
      ...(this.observer !== undefined && { observer: this.observer }),
      onStarted: (pid) => options.onStarted?.(() => cpuMsOf(pid)),
      onRmeta: (rmeta) => early.push(this.#announce(rmeta, laid, options)),
    })
    await Promise.all(early)
    if (outcome.kind === 'ok') return await this.#deliver(outcome, laid, options)
    this.#needs.log.info('lent unit does not compile here', {
      peer: options.peer,
      crate: this.#action.crate,
      stderr: foreignText(outcome.stderr),
    })
    return ended(Status.FAILED, { message: `rustc ended with ${outcome.status}`, wallMs: outcome.wallMs })
  }

  /** What a macro makes need not come out the same again: its metadata waits for the rest. */
  async #announce(rmeta: EarlyMetadata, laid: Laid, { onMetadata }: WorkOptions): Promise<void> {
    if (this.usesMacros) return
    const { name, cid, size, depInfo } = rmeta
    try {
      const reads = await this.#observed(rmeta.observed, depInfo, laid)
      onMetadata({
        name,
        cid,
        size,
        depInfo,
        trace: this.#trace(reads, cid, Buffer.byteLength(depInfo), marketLimits.depInfo),
      })
    } catch (error) {
      // Early is only a favour.
      this.#needs.log.info('metadata not announced', { code: codeOf(error), crate: this.#action.crate })
    }
  }

  /** @throws ShoalError ERR_OUTPUT, ERR_LIMIT when it has a macro and cannot be said what that looked at */
  async #deliver(
    { result, observed, wallMs }: Outcome & { kind: 'ok' },
    laid: Laid,
    { onResult }: WorkOptions,
  ): Promise<WorkResult> {
    const encoded = encodeResult(result)
    const reads = await this.#observed(observed, result.depInfo, laid)
    if (typeof reads === 'string' && this.usesMacros) throw notWatched(reads)
    const trace = this.#trace(reads, encoded.cid, encoded.bytes.length, marketLimits.result)
    if (trace.length === 0 && this.usesMacros) throw new ShoalError('ERR_LIMIT', 'made from too much to be named')
    if (typeof reads === 'string') {
      this.#needs.log.info('lent unit without a trace', { crate: this.#action.crate, reason: reads })
    }
    const kept = typeof reads === 'string' ? this.#declared(result.depInfo, laid) : reads
    // With an observer of the builder's it is the builder's word what was looked at: good for the builder, and for nobody else.
    const isOwnWord = typeof reads !== 'string' && trace.length > 0 && this.observer === undefined
    const told = await this.#sign(result, isOwnWord ? reads : unwatched)
    const outputBytes = result.outputs.reduce((sum, { size }) => sum + size, 0)
    const end = ended(Status.OK, { result: encoded.bytes, trace, claim: told.bytes, wallMs, outputBytes })
    // The builder waits for nothing of what follows.
    onResult?.(end)
    if (typeof kept !== 'string' && !isBound(kept) && this.observer === undefined) {
      const claim = kept === reads && trace.length > 0 ? told : await this.#sign(result, kept)
      await this.#needs.remember(result, kept, [claim])
      this.isKept = true
    }
    return end
  }

  /** @throws ShoalError ERR_OUTPUT for what does not come out the same each time */
  async #sign(result: Result, reads: ReadSet): Promise<SignedClaim> {
    const claim = await this.#needs.sign(this.#action, { result, reads })
    if (claim === undefined) throw new ShoalError('ERR_OUTPUT', 'it comes out differently each time')
    return claim
  }

  async #observed(observed: Observed | undefined, depInfo: string, laid: Laid): Promise<ReadSet | Unshareable> {
    if (observed === undefined) return 'unobserved'
    const covered = this.#needs.covered(this.#action.toolchain)
    const usesEnviron = (library: CID): Promise<boolean> => this.#needs.usesEnviron(library)
    return await lentReads(
      { action: this.#action, ...laid, observed, depInfo },
      { covered, usesEnviron, math: this.#needs.math },
    )
  }

  /** A unit without macros reads what rustc says that it reads. */
  #declared(depInfo: string, { inputs, trees }: Laid): ReadSet | Unshareable {
    const [own] = inputs.trees
    const [place] = trees
    if (own === undefined || place === undefined) return 'unobserved'
    const build = trees.filter(({ dir }) => dir === rootToken('build'))
    return declaredReadSet(depInfo, ['tree', place.dir, own.tree], [place, ...build], {
      action: this.#action,
      roots: [],
    })
  }

  /** Empty when there is nothing to say, or too much beside what else the frame carries. */
  #trace(reads: ReadSet | Unshareable, result: CID, besideBytes: number, maxBytes: number): Uint8Array {
    if (typeof reads === 'string') return nothing
    const { bytes } = encodeTrace({ v: 2, action: this.#key, ...reads, result })
    return bytes.length > limits.trace || bytes.length + besideBytes > maxBytes ? nothing : bytes
  }
}

/**
 * The builder's observer. It is loaded inside the sandbox only, where a macro of the builder's could do whatever it can.
 * @throws ShoalError ERR_OUTPUT when there is none; what fetching it throws
 */
async function observerOf(
  { observer, observerBytes }: Award,
  { peer, signal }: WorkOptions,
  needs: LendNeeds,
): Promise<string> {
  if (observer.length === 0 || observerBytes > maxObserver) throw notWatched('there is no observer here')
  const cid = readCid(observer)
  await needs.ensure(cid, observerBytes, [peer], signal)
  const path = await needs.fileOf(cid)
  if (path === undefined) throw notWatched('the observer is gone')
  return path
}

/**
 * Fetches the input manifest and everything that it names.
 * @param from members that have it; none: what is here has to do
 * @throws ShoalError ERR_LIMIT when that is more than a guest may read, before it is fetched or decoded; and what fetching throws
 */
export async function gather(
  cid: CID,
  from: readonly string[],
  signal: AbortSignal,
  needs: Pick<LendNeeds, 'bytes' | 'ensure' | 'trees'>,
): Promise<Laid> {
  const inputs = decodeInputs(await needs.bytes(cid, { from, maxBytes: limits.inputs, signal }))
  const files: Wanted[] = [...inputs.files]
  const trees: LentTree[] = []
  const packs: typeof files = []
  const room = new Room()
  room.take(inputs.files)
  const long = new Turns(1)
  const list = async (tree: CID, maxBytes: number): Promise<Tree> => {
    const held = await needs.trees.of(tree, async () => {
      const bytes = await needs.bytes(tree, { from, maxBytes, signal })
      // The same tree in a thousand places is a thousand times as much.
      room.check()
      return bytes
    })
    room.take(held.files)
    return held
  }
  const listed = await allAtOnce(inputs.trees, async ({ tree, ...place }) => {
    try {
      return { ...place, held: await list(tree, usualListing) }
    } catch (error) {
      if (codeOf(error) !== 'ERR_BLOCK_TOO_LARGE') throw error
      const held = await long.take(async () => {
        room.check()
        return await list(tree, limits.tree)
      }, signal)
      return { ...place, held }
    }
  })
  room.check()
  for (const { root, path, pack, held } of listed) {
    trees.push({ dir: placeIn(root, path), files: held.files })
    if (pack !== undefined && pack.size === packSize(held)) packs.push({ ...pack, files: held.files })
    else files.push(...held.files)
  }
  const get = async ({ cid, size }: Wanted): Promise<void> => {
    await needs.ensure(cid, size, from, signal)
  }
  await allAtOnce([...packs, ...files], (wanted) => getAny(wanted, get))
  return { inputs, trees }
}

/** What a guest may read. */
class Room {
  #files = 0
  #bytes = 0

  take(files: readonly { size: number }[]): void {
    this.#files += files.length
    for (const { size } of files) this.#bytes += size
  }

  check(): void {
    if (this.#files <= defaultLimits.inputFiles && this.#bytes <= defaultLimits.inputBytes) return
    throw new ShoalError('ERR_LIMIT', `inputs: ${this.#files} files or more, ${this.#bytes} bytes`)
  }
}

/** Up to `maxFetches` of them. @returns what came of each, in their order */
async function allAtOnce<T, R>(items: readonly T[], fetch: (item: T) => Promise<R>): Promise<R[]> {
  const waiting = items.entries()
  const fetched: R[] = []
  const fetchers = Array.from({ length: Math.min(maxFetches, items.length) }, async () => {
    for (const [at, item] of waiting) fetched[at] = await fetch(item)
  })
  await Promise.all(fetchers)
  return fetched
}

interface Wanted {
  cid: CID
  size: number
  /** Of a pack: what it holds. */
  files?: readonly Wanted[]
}

/** Where nobody has a pack any more, its files. */
async function getAny(wanted: Wanted, get: (block: Wanted) => Promise<void>): Promise<void> {
  try {
    await get(wanted)
  } catch (error) {
    if (wanted.files === undefined || codeOf(error) !== 'ERR_BLOCK_MISSING') throw error
    for (const file of wanted.files) await get(file)
  }
}

const placeIn = (root: RootName, path: string): string => (path === '' ? rootToken(root) : `${rootToken(root)}/${path}`)

const notWatched = (why: string): ShoalError =>
  new ShoalError('ERR_OUTPUT', `what its macros look at cannot be told: ${why}`)

const nothing = new Uint8Array()

function ended(outcome: Status, fields: Partial<WorkResult>): WorkResult {
  return { outcome, code: '', message: '', result: nothing, trace: nothing, claim: nothing, wallMs: 0, ...fields }
}
