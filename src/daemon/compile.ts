import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { EarlyMetadata, Market, Placement, Task } from '../market/driver.ts'
import { type Action, decodeResult, type Result } from '../plan/action.ts'
import type { Invocation } from '../plan/invocation.ts'
import type { Planned, PlannedAction, PlannedHere } from '../plan/plan.ts'
import { answers, type DeclaredTree, declaredTrees, readsOf, type Unshareable, valuesHold } from '../recall/evidence.ts'
import type { Recalled } from '../recall/recall.ts'
import { hexOf } from '../wire/cid.ts'
import type { Collected } from './collect.ts'
import { type DeliverNeeds, Delivery } from './deliver.ts'
import type { Ran, ShimLink } from './shim-link.ts'

export type UnitOutcome = 'recalled-here' | 'recalled-mesh' | 'compiled-here' | 'compiled-mesh' | 'passed-through'

/** How one unit ended, for the report. */
export interface UnitEnd {
  crate: string
  kind: string
  outcome: UnitOutcome
  /** The peer that compiled it or served it; 'here' otherwise. */
  where: string
  reason: string
  bytesIn: number
  /** Error code of a way that was tried and did not work out. */
  fallback?: string
}

export interface CompileNeeds extends DeliverNeeds {
  plan(invocation: Invocation): Promise<Planned>
  recall: {
    own(planned: PlannedAction, env: ReadonlyMap<string, string>): Promise<Recalled | undefined>
    mesh(
      planned: PlannedAction,
      env: ReadonlyMap<string, string>,
      options: { expectedMs: number; signal: AbortSignal },
    ): Promise<Recalled | undefined>
    remember(
      result: Result,
      action: Action,
      tree: CID,
      trees: readonly DeclaredTree[],
    ): Promise<Unshareable | undefined>
  }
  market: Pick<Market, 'place' | 'fault'>
  task(planned: Planned): Task
  /** Lets lenders fetch what the compile reads; false when nobody is there to do so. */
  prepare(planned: PlannedAction): Promise<boolean>
  /** Makes a block available here from one of `from`; resolves with the bytes that crossed the network. */
  fetch(cid: CID, size: number, from: readonly string[], signal: AbortSignal): Promise<number>
  /** Takes what rustc left in a private directory; the reason when it must not be shared. */
  collect(planned: PlannedAction, privateDir: string, ran: Ran): Promise<Collected>
  /** Whether the unit's sources are still what its action says. */
  unchanged(planned: PlannedAction): Promise<boolean>
  discard(privateDir: string): Promise<void>
  /** Remembers what the metadata of a unit reaches. */
  learn(planned: Planned, result: Result | undefined): Promise<void>
  announce(key: CID): void
  /** Actions that are being worked on; each resolves when others need no longer wait for it. */
  inFlight: Map<string, PromiseWithResolvers<void>>
  log: Logger
}

/**
 * The life of a rustc call. Each step either settles the unit or leaves it to the next one; the last one is rustc here.
 */
export async function compile(shim: ShimLink, needs: CompileNeeds): Promise<UnitEnd> {
  const planned = await needs.plan(shim.invocation)
  if (!planned.shareable) return await passThrough(planned, shim, needs)
  const { env } = shim.invocation
  const unit = new Unit(planned, shim, needs)

  return await alone(planned, shim, needs, async () => {
    const own = await needs.recall.own(planned, env)
    if (own !== undefined && (await unit.deliver(own))) return unit.end('recalled-here', 'here')
    const theirs = await needs.recall.mesh(planned, env, {
      expectedMs: needs.task(planned).expectedMs,
      signal: shim.signal,
    })
    if (theirs !== undefined && (await unit.deliver(theirs))) return unit.end('recalled-mesh', theirs.holders[0] ?? '')
    return await unit.compileSomewhere()
  })
}

/**
 * Same action twice at once: the second one waits, and then recalls what the first one made. Between the last look and the
 * claim nothing is awaited, so there is never a second claim.
 */
async function alone<T>(
  planned: PlannedAction,
  shim: ShimLink,
  needs: CompileNeeds,
  work: () => Promise<T>,
): Promise<T> {
  const key = hexOf(planned.key)
  for (let other = needs.inFlight.get(key); other !== undefined; other = needs.inFlight.get(key)) {
    shim.yieldToken()
    await Promise.race([other.promise, aborted(shim.signal)])
    shim.signal.throwIfAborted()
  }
  const mine = Promise.withResolvers<void>()
  needs.inFlight.set(key, mine)
  try {
    return await work()
  } finally {
    letGo(planned, needs, mine)
  }
}

/** Others may go on with this action, each by itself. */
function letGo(planned: PlannedAction, needs: CompileNeeds, mine = needs.inFlight.get(hexOf(planned.key))): void {
  const key = hexOf(planned.key)
  if (needs.inFlight.get(key) === mine) needs.inFlight.delete(key)
  mine?.resolve()
}

async function passThrough(planned: PlannedHere, shim: ShimLink, needs: CompileNeeds): Promise<UnitEnd> {
  const placement = await needs.market.place(needs.task(planned), {
    signal: shim.signal,
    onWaiting: () => shim.yieldToken(),
  })
  try {
    const ran = await shim.run('', () => placement.kind === 'here' && placement.release())
    if (ran.code === 0) await needs.learn(planned, undefined)
  } finally {
    if (placement.kind === 'here') placement.release()
  }
  const { crate, kind, reason } = planned
  return { crate, kind, outcome: 'passed-through', where: 'here', reason, bytesIn: 0 }
}

/** What a lender that did its work well cannot help. */
const ownDoing: ReadonlySet<string> = new Set(['ERR_PATH_BOUND', 'ERR_INPUT_MISSING'])

/** One shareable unit on its way. */
class Unit {
  readonly #planned: PlannedAction
  readonly #shim: ShimLink
  readonly #needs: CompileNeeds
  readonly #delivery: Delivery
  #bytesIn = 0
  #fallback: string | undefined
  #reason = ''

  constructor(planned: PlannedAction, shim: ShimLink, needs: CompileNeeds) {
    this.#planned = planned
    this.#shim = shim
    this.#needs = needs
    this.#delivery = new Delivery(planned, shim, needs)
  }

  end(outcome: UnitOutcome, where: string): UnitEnd {
    const { crate, kind } = this.#planned
    const end: UnitEnd = { crate, kind, outcome, where, reason: this.#reason, bytesIn: this.#bytesIn }
    return this.#fallback === undefined ? end : { ...end, fallback: this.#fallback }
  }

  /** Metadata first, so that dependents start while the rest is still coming. False: try the next way. */
  async deliver(recalled: Recalled): Promise<boolean> {
    const { result, holders } = recalled
    try {
      // What a macro makes need not come out the same again, so once its metadata is announced nothing may be missing.
      const early = !this.#planned.usesMacros
      for (const output of byUrgency(result)) {
        this.#bytesIn += await this.#needs.fetch(output.cid, output.size, holders, this.#shim.signal)
        if (output.kind !== 'metadata' || !early) continue
        await this.#delivery.depInfo(result.depInfo)
        await this.#delivery.metadata(output.name, output.cid)
      }
      if (!early) await this.#delivery.depInfo(result.depInfo)
      await this.#delivery.rest(result)
    } catch (error) {
      this.#fallBack(error, 'delivery')
      return false
    }
    this.#shim.exit(0)
    await this.#afterwards(async () => {
      if (holders.length > 0) await this.#remember(result)
      await this.#needs.learn(this.#planned, result)
    })
    return true
  }

  async compileSomewhere(): Promise<UnitEnd> {
    if (this.#delivery.announcedMetadata !== undefined) return await this.#afterFailure()
    const task = this.#needs.task(this.#planned)
    const mayGoAway = task.mayGoAway && (await this.#offerInputs())
    const settled = new AbortController()
    const early: Promise<void>[] = []
    const signal = AbortSignal.any([settled.signal, this.#shim.signal])
    const placement = await this.#needs.market.place(
      { ...task, mayGoAway },
      {
        signal: this.#shim.signal,
        onWaiting: () => this.#shim.yieldToken(),
        onMetadata: (metadata) => {
          // As in `deliver`: should the lender be lost, the same metadata must come out again.
          if (!this.#planned.usesMacros) early.push(this.#announceEarly(metadata, signal))
        },
      },
    )
    if (placement.kind === 'here') {
      settled.abort()
      await Promise.all(early)
      if (placement.reason === 'came-back') this.#fallback = 'ERR_PEER_LOST'
      if (this.#delivery.announcedMetadata === undefined) return await this.#compileHere(placement)
      placement.release()
      return await this.#afterFailure()
    }
    try {
      await Promise.all(early)
      await this.#acceptFromAway(placement)
      return this.end('compiled-mesh', placement.peer)
    } catch (error) {
      this.#fallBack(error, 'result from away')
      if (!ownDoing.has(codeOf(error) ?? '')) this.#needs.market.fault(placement.peer)
      return await this.#afterFailure()
    }
  }

  /** False when nobody could fetch what the compile reads: no member is connected, or the disk is full. */
  async #offerInputs(): Promise<boolean> {
    try {
      return await this.#needs.prepare(this.#planned)
    } catch (error) {
      this.#needs.log.warn('unit not offered', { code: toShoalError(error).code, message: toShoalError(error).message })
      return false
    }
  }

  async #announceEarly({ peer, name, cid, size, depInfo }: EarlyMetadata, signal: AbortSignal): Promise<void> {
    try {
      const declared = this.#planned.action.outputs.some(([output, kind]) => output === name && kind === 'metadata')
      if (!declared) throw new ShoalError('ERR_OUTPUT', 'metadata under another name')
      this.#checkReads(depInfo)
      this.#bytesIn += await this.#needs.fetch(cid, size, [peer], signal)
      if (this.#delivery.announcedMetadata !== undefined || signal.aborted) return
      await this.#delivery.depInfo(depInfo)
      await this.#delivery.metadata(name, cid)
    } catch (error) {
      // Early is only a favour to cargo: the complete result decides.
      this.#needs.log.info('early metadata not used', { code: codeOf(error), crate: this.#planned.crate })
    }
  }

  async #acceptFromAway({ peer, result: bytes }: Placement & { kind: 'away' }): Promise<void> {
    const result = decodeResult(bytes)
    if (!answers(result, this.#planned)) throw new ShoalError('ERR_OUTPUT', 'result of another action')
    this.#checkReads(result.depInfo)
    const metadata = result.outputs.find((output) => output.kind === 'metadata')
    const announced = this.#delivery.announcedMetadata
    if (announced !== undefined && (metadata === undefined || !metadata.cid.equals(announced))) {
      throw new ShoalError('ERR_OUTPUT', 'metadata changed after it was announced')
    }
    for (const output of byUrgency(result)) {
      this.#bytesIn += await this.#needs.fetch(output.cid, output.size, [peer], this.#shim.signal)
    }
    if (announced === undefined) await this.#delivery.depInfo(result.depInfo)
    await this.#delivery.rest(result)
    this.#shim.exit(0)
    await this.#afterwards(async () => {
      await this.#remember(result)
      await this.#needs.learn(this.#planned, result)
    })
  }

  /** What follows when cargo has its unit: a disk that is full now costs the memory of it, not the unit. */
  async #afterwards(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const { code, message } = toShoalError(error)
      this.#reason = code
      this.#needs.log.warn('result not kept', { code, crate: this.#planned.crate, message })
    }
  }

  /** @throws ShoalError ERR_PATH_BOUND, ERR_INPUT_MISSING when the compile away looked at something that is different here */
  #checkReads(depInfo: string): void {
    const reads = readsOf(depInfo, this.#planned.action, declaredTrees(this.#planned))
    if (reads === 'path-bound') throw new ShoalError('ERR_PATH_BOUND', 'it read a directory as text')
    if (typeof reads === 'string') throw new ShoalError('ERR_INPUT_MISSING', `it cannot be shared: ${reads}`)
    if (!valuesHold(reads, this.#planned, this.#shim.invocation.env)) {
      throw new ShoalError('ERR_INPUT_MISSING', 'it read a variable that has another value here')
    }
  }

  async #compileHere(placement: Placement & { kind: 'here' }): Promise<UnitEnd> {
    const outDir = this.#planned.roots.find((root) => root.name === 'out')?.path ?? ''
    const privateDir = join(outDir, `.shoal-${randomBytes(8).toString('hex')}`)
    try {
      const ran = await this.#shim.run(privateDir, () => {
        placement.release()
        letGo(this.#planned, this.#needs)
      })
      placement.release()
      if (ran.code === 0 && !ran.truncated) await this.#afterwards(() => this.#keep(privateDir, ran))
    } finally {
      placement.release()
      await this.#needs.discard(privateDir)
    }
    return this.end('compiled-here', 'here')
  }

  async #keep(privateDir: string, ran: Ran): Promise<void> {
    if (!(await this.#needs.unchanged(this.#planned))) {
      this.#reason = 'source-changed'
      return
    }
    const collected = await this.#needs.collect(this.#planned, privateDir, ran)
    if ('reason' in collected) {
      this.#reason = collected.reason
      await this.#needs.learn(this.#planned, undefined)
      return
    }
    await this.#remember(collected.result)
    await this.#needs.learn(this.#planned, collected.result)
  }

  async #remember(result: Result): Promise<void> {
    const { action, tree, key } = this.#planned
    const reason = await this.#needs.recall.remember(result, action, tree.cid, declaredTrees(this.#planned))
    if (reason === undefined) this.#needs.announce(key)
    else this.#reason = reason
  }

  /** After a way that failed: if cargo has seen metadata already, the shim's safe rule applies. */
  async #afterFailure(): Promise<UnitEnd> {
    if (this.#delivery.announcedMetadata !== undefined) {
      this.#shim.refuse('the lender was lost after its metadata was announced')
      return this.end('compiled-here', 'here')
    }
    const task = { ...this.#needs.task(this.#planned), mayGoAway: false }
    const placement = await this.#needs.market.place(task, {
      signal: this.#shim.signal,
      onWaiting: () => this.#shim.yieldToken(),
    })
    if (placement.kind !== 'here') throw new ShoalError('ERR_INTERNAL', 'a unit that stays was placed away')
    return await this.#compileHere(placement)
  }

  #fallBack(error: unknown, what: string): void {
    this.#shim.signal.throwIfAborted()
    this.#fallback = codeOf(error) ?? 'ERR_INTERNAL'
    this.#needs.log.warn(`${what} not used`, {
      code: this.#fallback,
      crate: this.#planned.crate,
      message: error instanceof Error ? error.message : String(error),
    })
  }
}

/** Metadata before everything else. */
function byUrgency(result: Result): Result['outputs'] {
  return [...result.outputs].sort((a, b) => Number(b.kind === 'metadata') - Number(a.kind === 'metadata'))
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
