import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import type { EarlyMetadata, Placement, Task } from '../market/driver.ts'
import { decodeResult, type ReadSet, type Result } from '../plan/action.ts'
import type { Reason } from '../plan/classify.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { answers, bindTo, isBound, type Place } from '../recall/evidence.ts'
import { computesWithOutDir } from '../recall/out-dir.ts'
import type { Unshareable } from '../recall/read-set.ts'
import type { Disputed, Missed, Recalled } from '../recall/recall.ts'
import { type SignedClaim, sameOutputs } from '../recall/signed-claim.ts'
import { cidOf, dagCborCodec } from '../wire/cid.ts'
import { readsAway } from './away.ts'
import { isLendersFault, whyBack } from './blame.ts'
import type { CompileNeeds, UnitEnd, UnitOutcome, Work } from './compile-needs.ts'
import { byUrgency, Delivery } from './deliver.ts'
import { keptPart, wholeOf } from './link-here.ts'
import type { Ran, ShimLink } from './shim-link.ts'
import { tellsEarly } from './unit-trust.ts'

/** One unit on its way: the steps of the story in `compile.ts`. */
export class Unit {
  readonly #planned: PlannedAction
  readonly #shim: ShimLink
  readonly #needs: CompileNeeds
  readonly #delivery: Delivery
  readonly #place: Place
  #bytesIn = 0
  #fallback: string | undefined
  #reason = ''
  /** Why what others have, or could make, is not used. */
  #refused: Reason | undefined
  #disputed: readonly Disputed[] = []
  #readsEnvironment = false
  /** The member on whose word cargo was told of metadata ahead of the rest. */
  #announcedBy: string | undefined
  /** What others are asked for. */
  #lent: PlannedAction
  /** What a compile here left, in the store by now. */
  #made: readonly { name: string; cid: CID; identity: string }[] = []
  /** It failed elsewhere, where not all files of its package are. */
  #missedFiles = false

  constructor(planned: PlannedAction, shim: ShimLink, needs: CompileNeeds) {
    this.#planned = planned
    this.#lent = planned
    this.#shim = shim
    this.#needs = needs
    this.#delivery = new Delivery(planned, shim, needs)
    this.#place = needs.placeOf(planned, shim.invocation.env)
  }

  end(outcome: UnitOutcome, where: string): UnitEnd {
    const { crate, kind } = this.#planned
    const reason = this.#reason || (outcome === 'compiled-here' ? (this.#refused ?? '') : '')
    const end: UnitEnd = { crate, kind, outcome, where, reason, bytesIn: this.#bytesIn }
    return this.#fallback === undefined ? end : { ...end, fallback: this.#fallback }
  }

  /** Whether what was kept of it holds for one environment as a whole only. */
  get readsEnvironment(): boolean {
    return this.#readsEnvironment
  }

  /**
   * @param letGo called when there is something: others who want the same need not wait for its delivery
   * @returns undefined when the unit was delivered from what is kept here
   */
  async recallOwn(letGo?: () => void): Promise<Missed | undefined> {
    const own = await this.#needs.recall.own(this.#planned, this.#place)
    if (!('result' in own)) return own
    letGo?.()
    return (await this.#deliver(own)) ? undefined : { difference: undefined }
  }

  /** Whether cargo was told of metadata: then there is no way but to deliver that very unit. */
  get isAnnounced(): boolean {
    return this.#delivery.announcedMetadata !== undefined
  }

  /** @param work names what is claimed meanwhile */
  async recallFromMesh(expectedMs: number, work: Uint8Array | undefined): Promise<UnitEnd | undefined> {
    this.#refused = this.#needs.trust.objection(this.#planned)
    if (this.#refused !== undefined) return undefined
    const { signal } = this.#shim
    const theirs = await this.#needs.recall.mesh(this.#planned, this.#place, { expectedMs, signal, work })
    if (theirs !== undefined && 'refused' in theirs) {
      this.#refused = theirs.refused
      this.#disputed = theirs.disputed
    }
    if (theirs === undefined || 'refused' in theirs || !(await this.#deliver(theirs))) return undefined
    return this.end('recalled-mesh', theirs.holders[0] ?? '')
  }

  /** False: try the next way. */
  async #deliver(recalled: Recalled): Promise<boolean> {
    const { result, reads, holders, claims } = recalled
    try {
      if (holders.length > 0 || !(await this.#delivery.atOnce(result))) await this.#deliverAsItComes(recalled)
    } catch (error) {
      this.#fallBack(error, 'delivery')
      return false
    }
    await this.#afterwards(async () => {
      if (holders.length > 0) await this.#accept(result, reads, claims)
      else await this.#needs.delivered(this.#planned, result, undefined)
    })
    await this.#afterwards(() => this.#done(result))
    return true
  }

  /** Metadata first, so that dependents start while the rest is still coming. */
  async #deliverAsItComes(recalled: Recalled): Promise<void> {
    const { result, holders } = recalled
    // What a macro makes need not come out the same again, so once its metadata is announced nothing may be missing.
    const early = this.#planned.usesMacros ? undefined : tellsEarly(recalled, this.#needs.trust)
    for (const output of byUrgency(result.outputs)) {
      this.#bytesIn += await this.#needs.fetch(output.cid, output.size, holders, this.#shim.signal)
      if (output.kind !== 'metadata' || early === undefined) continue
      await this.#delivery.depInfo(result.depInfo)
      this.#announcedBy = early.by
      await this.#delivery.metadata(output.name, output.cid)
    }
    if (this.#delivery.announcedMetadata === undefined) await this.#delivery.depInfo(result.depInfo)
    await this.#delivery.rest(result)
    this.#shim.exit(0)
  }

  async compileSomewhere({ task, lent, misses }: Work, letGo: () => void): Promise<UnitEnd> {
    this.#lent = lent
    if (this.isAnnounced) {
      this.#brokeEarlyWord(false)
      return await this.#afterFailure(letGo)
    }
    const linked = this.#staysHere === undefined ? await this.#linkKept(task) : undefined
    if (linked !== undefined) return linked
    if (this.isAnnounced) return await this.#afterFailure(letGo)
    if (lent.notAway !== undefined && this.#planned.notAway === undefined) {
      // A library that it needs was replaced all the while.
      this.#needs.log.info('unit not offered', { crate: this.#planned.crate, reason: lent.notAway })
    }
    if (task.mayGoAway) this.#refused ??= this.#needs.trust.objectionToLending(this.#planned)
    const isLendable = task.mayGoAway && this.#refused === undefined && this.#staysHere === undefined
    const mayGoAway = isLendable && (await this.#offerInputs())
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
      if (placement.reason === 'came-back') this.#fallback = whyBack(placement.returned)
      if (placement.returned === 'unusable') this.#needs.staysHere.add(lent.key, 'unobserved')
      this.#missedFiles = misses && placement.returned === 'failed'
      if (this.#delivery.announcedMetadata === undefined) return await this.#compileHere(placement, letGo)
      placement.release()
      this.#brokeEarlyWord(false)
      return await this.#afterFailure(letGo)
    }
    try {
      await Promise.all(early)
      await this.#acceptFromAway(placement)
      placement.release()
      // A lender says how long; it was not longer than that.
      this.#needs.took(this.#planned, Math.min(placement.wallMs, placement.awayMs))
      return this.end('compiled-mesh', placement.peer)
    } catch (error) {
      placement.release()
      this.#fallBack(error, 'result from away')
      if (isLendersFault(error)) {
        this.#needs.market.fault(placement.peer)
        this.#brokeEarlyWord(placement.peer === this.#announcedBy)
      }
      return await this.#afterFailure(letGo)
    }
  }

  /** Why nobody else can compile it, if that is known. */
  get #staysHere(): Reason | undefined {
    return this.#needs.staysHere.reason(this.#lent.key)
  }

  /** False when nobody could fetch what the compile reads: no member is connected, or the disk is full. */
  async #offerInputs(): Promise<boolean> {
    try {
      return await this.#needs.prepare(this.#planned)
    } catch (error) {
      const { code, message } = toShoalError(error)
      this.#needs.log.warn('unit not offered', { code, message })
      return false
    }
  }

  async #announceEarly(metadata: EarlyMetadata, signal: AbortSignal): Promise<void> {
    const { peer, name, cid, size, depInfo } = metadata
    if (!this.#needs.trust.takesEarly(peer)) return
    try {
      const declared = this.#planned.action.outputs.some(([output, kind]) => output === name && kind === 'metadata')
      if (!declared) throw new ShoalError('ERR_OUTPUT', 'metadata under another name')
      await readsAway(metadata, { planned: this.#lent, place: this.#place }, this.#needs)
      this.#bytesIn += await this.#needs.fetch(cid, size, [peer], signal, true)
      if (this.#delivery.announcedMetadata !== undefined || signal.aborted) return
      if (await this.#delivery.early(depInfo, name, cid)) this.#announcedBy = peer
    } catch (error) {
      // Early is only a favour to cargo: the complete result decides.
      this.#needs.log.info('early metadata not used', { code: codeOf(error), crate: this.#planned.crate })
    }
  }

  #brokeEarlyWord(isProven: boolean): void {
    const [peer, metadata] = [this.#announcedBy, this.#delivery.announcedMetadata]
    if (peer !== undefined && metadata) this.#needs.trust.brokeEarlyWord(this.#planned, { peer, metadata, isProven })
  }

  async #acceptFromAway({ peer, result: bytes, trace, claim: word }: Placement & { kind: 'away' }): Promise<void> {
    const came = decodeResult(bytes)
    if (!answers(came, this.#lent)) throw new ShoalError('ERR_OUTPUT', 'result of another action')
    const cid = cidOf(bytes, dagCborCodec)
    const told = { cid, trace, depInfo: came.depInfo }
    const looked = await readsAway(told, { planned: this.#lent, place: this.#place }, this.#needs)
    const claim = await this.#needs.trust.lent(this.#lent, peer, word, { ...looked, result: cid })
    if (!sameOutputs(claim, came)) throw new ShoalError('ERR_CLAIM', 'the claim is about other outputs')
    const metadata = came.outputs.find((output) => output.kind === 'metadata')
    const announced = this.#delivery.announcedMetadata
    if (announced !== undefined && (metadata === undefined || !metadata.cid.equals(announced))) {
      throw new ShoalError('ERR_OUTPUT', 'metadata changed after it was announced')
    }
    for (const { cid: output, size } of byUrgency(came.outputs)) {
      // What cargo knows of is waited for. Anything else had better be compiled here.
      this.#bytesIn += await this.#needs.fetch(output, size, [peer], this.#shim.signal, !this.isAnnounced)
    }
    await this.#finish(came, looked, [claim])
  }

  /** Delivers and keeps what the outputs, which are here by now, come to. */
  async #finish(came: Result, looked: ReadSet, claims: readonly SignedClaim[]): Promise<void> {
    const codegen = { planned: this.#planned, lent: this.#lent, place: this.#place, result: came, reads: looked }
    const { result, reads } = await wholeOf(codegen, this.#shim, this.#needs)
    if (this.#delivery.announcedMetadata === undefined) await this.#delivery.depInfo(result.depInfo)
    await this.#delivery.rest(result)
    this.#shim.exit(0)
    await this.#needs.calm()
    await this.#afterwards(() => this.#accept(result, reads, claims, looked))
    await this.#afterwards(() => this.#done(result))
  }

  /**
   * Keeps what was delivered on others' word; whose, is written down first: what is found to be wrong can be undone whether it
   * was kept or not.
   * @param reads the reason when it cannot be kept
   * @param looked what the part of it that they did looked at, when the rest was done here
   */
  async #accept(
    result: Result,
    reads: ReadSet | Unshareable,
    claims: readonly SignedClaim[],
    looked: ReadSet | Unshareable = reads,
  ): Promise<void> {
    const [about] = claims
    try {
      if (about !== undefined) await this.#needs.delivered(this.#planned, result, this.#needs.trust.giver(about))
      if (typeof reads === 'string') this.#reason = reads
      else await this.#remember(result, reads, await this.#needs.trust.whole(this.#planned, claims, { result, reads }))
    } finally {
      if (typeof looked !== 'string') await this.#needs.trust.accepted(this.#planned, claims, { result, looked })
    }
  }

  /** Where a linker is told other things than here, the part before it may have been done all the same. */
  async #linkKept({ expectedMs, mayGoAway }: Task): Promise<UnitEnd | undefined> {
    if (this.#lent.key.equals(this.#planned.key)) return undefined
    const { signal } = this.#shim
    const asked = mayGoAway && this.#refused === undefined ? { expectedMs, signal, work: undefined } : undefined
    const kept = await keptPart(this.#lent, this.#place, asked, this.#needs.recall)
    if (kept === undefined || !(await this.#linkOf(kept))) return undefined
    const [holder] = kept.holders
    return holder === undefined ? this.end('recalled-here', 'here') : this.end('recalled-mesh', holder)
  }

  async #linkOf({ result, reads, holders, claims }: Recalled): Promise<boolean> {
    try {
      const { signal } = this.#shim
      for (const { cid, size } of result.outputs) this.#bytesIn += await this.#needs.fetch(cid, size, holders, signal)
      await this.#finish(result, reads, claims)
      return true
    } catch (error) {
      this.#fallBack(error, 'what a linker needs')
      return false
    }
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

  async #compileHere(placement: Placement & { kind: 'here' }, letGo: () => void): Promise<UnitEnd> {
    const outDir = this.#planned.roots.find((root) => root.name === 'out')?.path ?? ''
    const privateDir = join(outDir, `.shoal-${randomBytes(8).toString('hex')}`)
    this.#reason = this.#staysHere ?? ''
    try {
      const since = this.#needs.stamp()
      // cargo sets it for the packages that were asked for; all others have somebody who waits for them.
      const linger = this.#shim.invocation.env.has('CARGO_PRIMARY_PACKAGE')
      const order = { privateDir, observer: this.#needs.observer(), stripIncremental: true, linger }
      const ran = await this.#shim.run(order, () => {
        placement.release()
        letGo()
      })
      placement.release(ran.cpuMs)
      this.#needs.over()
      if (ran.code === 0) this.#needs.took(this.#planned, ran.wallMs)
      if (ran.code === 0 && this.#missedFiles) this.#needs.staysHere.add(this.#lent.key, 'withheld-files')
      if (ran.code === 0 && !ran.truncated) await this.#afterwards(() => this.#keep(privateDir, since, ran))
    } finally {
      placement.release()
      await this.#needs.discard(privateDir)
    }
    // With the private directory gone, the outputs in place have the time stamps that dependents will find.
    for (const { name, cid, identity } of this.#made) this.#needs.prime(join(outDir, name), cid, identity)
    return this.end('compiled-here', 'here')
  }

  async #keep(privateDir: string, since: number, ran: Ran): Promise<void> {
    const collected = await this.#needs.collect(this.#planned, privateDir, ran)
    if ('reason' in collected) {
      this.#reason = collected.reason
      await this.#done(undefined)
      return
    }
    const { result } = collected
    this.#made = collected.made
    const bind = collected.bind || (await computesWithOutDir(result.depInfo, this.#place))
    const reads = await this.#needs.reads(this.#planned, this.#place, { privateDir, depInfo: result.depInfo, since })
    if (typeof reads === 'string') this.#reason = reads
    else if (!(await this.#needs.unchanged(this.#planned))) this.#reason = 'source-changed'
    else if (bind || isBound(reads)) {
      const bound = bindTo(reads, this.#place)
      await this.#needs.trust.madeHere(this.#planned, { result, reads: bound })
      await this.#remember(result, bound, [])
    } else {
      const claims = await this.#needs.trust.made(this.#planned, { result, reads }, this.#disputed)
      await this.#remember(result, reads, claims)
    }
    await this.#done(this.#reason === 'source-changed' ? undefined : result)
  }

  async #remember(result: Result, reads: ReadSet, claims: readonly SignedClaim[]): Promise<void> {
    await this.#needs.recall.remember(result, reads, claims)
    this.#readsEnvironment = reads.reads.some(([kind]) => kind === 'environ')
    if (isBound(reads)) this.#reason = 'path-bound'
    else if (claims.length === 0) this.#reason = 'unsteady'
    else this.#needs.announce(this.#planned.key)
  }

  /** The unit is there, whoever made it. */
  async #done(result: Result | undefined): Promise<void> {
    if (this.#planned.incremental !== undefined) this.#needs.withoutIncremental(this.#planned, this.#shim.invocation)
    await this.#needs.learn(this.#planned, result, this.#reason)
  }

  /** After a way that failed: if cargo has seen metadata already, the shim's safe rule applies. */
  async #afterFailure(letGo: () => void): Promise<UnitEnd> {
    if (this.#delivery.announcedMetadata !== undefined) {
      this.#shim.refuse('the lender was lost after its metadata was announced')
      return this.end('compiled-here', 'here')
    }
    const placement = await this.#needs.market.place(this.#needs.staying(), {
      signal: this.#shim.signal,
      onWaiting: () => this.#shim.yieldToken(),
    })
    if (placement.kind !== 'here') throw new ShoalError('ERR_INTERNAL', 'a unit that stays was placed away')
    return await this.#compileHere(placement, letGo)
  }

  #fallBack(error: unknown, what: string): void {
    this.#shim.signal.throwIfAborted()
    this.#fallback = codeOf(error) ?? 'ERR_INTERNAL'
    const { message } = toShoalError(error)
    this.#needs.log.warn(`${what} not used`, { code: this.#fallback, crate: this.#planned.crate, message })
  }
}
