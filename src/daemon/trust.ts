import type { CID } from 'multiformats/cid'
import type { Config } from '../base/config.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import { peerIdOf } from '../mesh/members.ts'
import { sameBytes } from '../mesh/statement.ts'
import { encodeResult, type ReadSet, type Result } from '../plan/action.ts'
import { linkedOutputs } from '../plan/normalise.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { ClaimStore } from '../recall/claim-store.ts'
import { isBound, readTrace } from '../recall/evidence.ts'
import { contradict, Judge, packageOf } from '../recall/judge.ts'
import { namesIn } from '../recall/read-set.ts'
import type { Disputed } from '../recall/recall.ts'
import { saidIn } from '../recall/said.ts'
import { isAbout, type SignedClaim, subjectOf, unwatched } from '../recall/signed-claim.ts'
import { hexOf } from '../wire/cid.ts'
import { Audits, isToBeAudited } from './audits.ts'
import type { Accepted, BrokenWord, Lent } from './compile-needs.ts'
import { Consequences, type Gift } from './consequences.ts'
import { Determinism } from './determinism.ts'
import { earlyAudit } from './early-audit.ts'
import { EarlyWord } from './early-word.ts'
import { Standings, type StandingView } from './standing.ts'
import type { TrustNeeds } from './trust-needs.ts'
import { Unexplained } from './unexplained.ts'
import type { Case, Rerun, Verdict, Word } from './verdict.ts'
import { type MakeAgain, wholeAudit } from './whole-audit.ts'

/** Finds out what lenders would be asked for, which takes a look at all that a unit is made from. */
type LooksUpLent = () => Promise<Lent | undefined>

interface Doubtful {
  /** And what each was made from, if that is known. */
  claims: ReadonlyMap<SignedClaim, ReadSet | undefined>
  own: Case['own']
  /** Undefined: each claim is about what was put there. */
  gift: Gift | undefined
  /** What cargo was told. */
  heard?: Pick<Word, 'told' | 'said'>
  /** Makes the unit again where the sandbox cannot. */
  makeAgain?: MakeAgain | undefined
}

export interface TrustInit {
  trust: Pick<Config['trust'], 'audit-share' | 'audit-first'>
}

/** Whose word counts here, and how that is found out. */
export class Trust {
  readonly judge: Judge
  readonly audits: Audits
  readonly standings: Standings
  readonly determinism: Determinism
  readonly unexplained: Unexplained
  readonly earlyWord: EarlyWord
  readonly #consequences: Consequences
  readonly #needs: TrustNeeds
  readonly #sampling: { share: number; first: number }

  private constructor(
    needs: TrustNeeds,
    { trust }: TrustInit,
    parts: { standings: Standings; determinism: Determinism; unexplained: Unexplained; earlyWord: EarlyWord },
  ) {
    const { members, log } = needs
    this.#needs = needs
    this.#sampling = { share: trust['audit-share'], first: trust['audit-first'] }
    this.standings = parts.standings
    this.determinism = parts.determinism
    this.unexplained = parts.unexplained
    this.earlyWord = parts.earlyWord
    this.#consequences = new Consequences({ ...needs, ...parts })
    this.judge = new Judge({
      members,
      store: new ClaimStore({ datastore: needs.claims ?? needs.datastore, log }),
      isLiar: (peerId) => this.standings.isLiar(peerId),
      isDoubted: (subject) => this.standings.isDoubted(subject),
      isUnreliable: (peerId) => this.unexplained.isTooMuch(peerId),
      isUnsteady: (name) => this.determinism.isUnsteady(name),
      log,
    })
    this.audits = new Audits(needs)
  }

  static async open(needs: TrustNeeds, init: TrustInit): Promise<Trust> {
    const parts = { standings: await Standings.open(needs), determinism: await Determinism.open(needs) }
    const words = { unexplained: await Unexplained.open(needs), earlyWord: await EarlyWord.open(needs) }
    return new Trust(needs, init, { ...parts, ...words })
  }

  async stop(): Promise<void> {
    await this.audits.stop()
    await this.earlyWord.saved()
  }

  /**
   * Whether the word of a lender is behind what it delivers.
   * @throws ShoalError ERR_CLAIM when it is not; ERR_DISPUTED when others say something else, or it has said what did not
   *   come out here: no fault of the lender
   */
  async lent(
    planned: PlannedAction,
    peer: string,
    bytes: Uint8Array,
    { result, ...looked }: ReadSet & { result: CID },
  ): Promise<SignedClaim> {
    const [claim] = this.judge.delivered(planned, [bytes])
    const isTheirs = claim !== undefined && peerIdOf(claim.body.signer) === peer && claim.body.tier !== 'host'
    // With an observer of this node's, or none, a lender does not say what was looked at.
    const isMeant = [looked, unwatched].some(
      (reads) => claim !== undefined && isAbout(claim, { ...reads, result, action: planned.key }),
    )
    if (!isTheirs || !isMeant) {
      throw new ShoalError('ERR_CLAIM', 'the lender has not put its name to it')
    }
    if (!this.judge.counts(claim)) {
      // With a macro that asks for the day this can happen to anybody.
      throw new ShoalError('ERR_DISPUTED', 'something else came out here than this lender has said before')
    }
    const kept = await this.judge.keptOf(planned)
    if (kept.some((other) => contradict(other, claim))) {
      await this.judge.keep([claim])
      throw new ShoalError('ERR_DISPUTED', 'somebody says that something else comes out')
    }
    return claim
  }

  /**
   * Others' word was taken for a result, which is delivered and kept by now.
   * @param lent what lenders are asked for of it; undefined when that is nothing
   * @param claims the first is the one about just this, or about what was lent of it
   * @param made as it was kept, and what those who claim it looked at
   * @param makeAgain for what no sandbox can make; undefined when nothing of it may be tried
   */
  async accepted(
    planned: PlannedAction,
    lent: Lent | undefined | LooksUpLent,
    [claim]: readonly SignedClaim[],
    { result, looked }: Accepted,
    makeAgain?: MakeAgain,
  ): Promise<void> {
    if (claim === undefined || this.judge.isOwn(claim)) return
    const signer = peerIdOf(claim.body.signer)
    this.standings.accepted(signer)
    if (!this.isToBeTried(signer)) return
    const gift = { key: hexOf(planned.key), result: encodeResult(result).cid }
    const heard = { told: namesIn(result.depInfo, planned), said: saidIn(result.stderr) }
    const isWhole = claim.body.action.equals(planned.key)
    const doubtful = { claims: new Map([[claim, looked]]), own: undefined, gift, heard }
    const isLinked = isWhole && linkedOutputs(planned.args).size > 0
    const again = isWhole ? makeAgain : undefined
    const isTaken = !isLinked && (await this.#audit(planned, lent, { ...doubtful, makeAgain: again }))
    if (!isTaken && again !== undefined) this.#tryWhole(planned, { claim, reads: looked, ...heard }, gift, again)
  }

  /** Whether a result that is used on this member's word is to be made again here, as `isToBeAudited` says. */
  isToBeTried(peer: string): boolean {
    const { agreed, unexplained, lies } = this.standings.view(peer) ?? { agreed: 0, unexplained: 0, lies: [] }
    return isToBeAudited({ agreed, doubts: unexplained + lies.length }, this.#sampling, this.#needs.random)
  }

  /**
   * This node has compiled something itself. Signs it, and looks whether others have said something else.
   * @returns the claim; none for what does not come out the same each time
   */
  async made(
    planned: PlannedAction,
    lent: Lent | undefined | LooksUpLent,
    { result, reads, disputed }: { result: Result; reads: ReadSet; disputed: readonly Disputed[] },
  ): Promise<SignedClaim[]> {
    const name = packageOf(planned)
    const claim = await this.#signOwn(planned, { result, reads })
    if (this.determinism.isUnsteady(name)) return []
    if (claim === undefined) {
      await this.determinism.note(name, planned.action.toolchain, false)
      return []
    }
    const kept = await this.judge.against(claim)
    const against = new Map(kept.map((other): [SignedClaim, ReadSet] => [other, reads]))
    for (const { claim: other, reads: theirs } of disputed) {
      if (!sameBytes(other.body.outputs, claim.body.outputs)) against.set(other, theirs)
    }
    if (against.size > 0 || this.isUnsettled(planned)) {
      const { outputs } = claim.body
      await this.#audit(planned, lent, { claims: against, own: { outputs, reads }, gift: undefined })
    }
    return [claim]
  }

  /** Who is behind a claim; undefined for this node itself. */
  giver(claim: SignedClaim): string | undefined {
    return this.judge.isOwn(claim) ? undefined : peerIdOf(claim.body.signer)
  }

  /** Of a unit that was linked here of objects that this node has made as well: its word on the whole. Else the claims as they are. */
  async whole(
    planned: PlannedAction,
    lent: LooksUpLent,
    claims: readonly SignedClaim[],
    made: { result: Result; reads: ReadSet },
  ): Promise<readonly SignedClaim[]> {
    const [about] = claims
    if (about === undefined || about.body.action.equals(planned.key) || !this.judge.isOwn(about)) return claims
    if (!isBound(made.reads)) return await this.made(planned, lent, { ...made, disputed: [] })
    await this.madeHere(planned, made)
    return []
  }

  /** This node has compiled something itself that holds for one place: its word on it, which nobody else is given. */
  async madeHere(planned: PlannedAction, made: { result: Result; reads: ReadSet }): Promise<void> {
    await this.#signOwn(planned, made)
  }

  async #signOwn(
    { action }: Pick<PlannedAction, 'action'>,
    { result, reads }: { result: Result; reads: ReadSet },
  ): Promise<SignedClaim | undefined> {
    const { cid } = encodeResult(result)
    const about = { package: packageOf({ action }), tier: 'host' as const, at: this.#needs.clock.wall() }
    return await this.judge.signOwn({ ...result, cid }, reads, about)
  }

  /**
   * This node's word on what it has computed for others; undefined for what does not come out the same each time. That says something about
   * this action only: whoever awards a task chooses what package it is called by.
   */
  async sign(
    action: PlannedAction['action'],
    { result, reads }: { result: Result; reads: ReadSet },
    tier: SignedClaim['body']['tier'],
  ): Promise<SignedClaim | undefined> {
    const { cid } = encodeResult(result)
    const about = { package: packageOf({ action }), tier, at: this.#needs.clock.wall() }
    return await this.judge.sign({ ...result, cid }, reads, about)
  }

  /**
   * Whether cargo is told of metadata of this member's before the rest is there: should it be lost then, and have lied, the unit
   * fails. So it must have been found right before, as often as it takes for not all of its results to be tried. Without audits anybody's word will do.
   */
  takesEarly(peer: string): boolean {
    const { share, first } = this.#sampling
    const { agreed, lies } = this.standings.view(peer) ?? { agreed: 0, lies: [] }
    return this.earlyWord.isTaken(peer) && (share === 0 || (agreed >= first && lies.length === 0))
  }

  /**
   * Metadata of a lender was announced to cargo, and then not what belongs to it came. What it announced is made again when there is time for
   * that: so who was honest and only lost is believed again, and who was not never.
   * @param lent as for `accepted`
   */
  brokeEarlyWord(lent: LooksUpLent, broken: BrokenWord): void {
    this.earlyWord.broke(broken.peer, broken.isProven)
    if (broken.isProven) return
    this.#tryEarly(lent, broken).catch((error: unknown) => {
      this.#needs.log.info('not tried', { code: toShoalError(error).code })
    })
  }

  async #tryEarly(looksUp: LooksUpLent, { peer, metadata }: BrokenWord): Promise<void> {
    const lent = await looksUp()
    if (lent === undefined || lent.planned.notAway !== undefined) return
    const { planned, inputs } = lent
    await this.#needs.keepInputs(planned, inputs)
    this.audits.add(
      earlyAudit(lent, metadata, {
        rerun: (signal) => this.#needs.rerun(planned.actionBytes, inputs.inputs.cid, signal),
        kept: () => this.earlyWord.kept(peer),
        broken: async () => {
          this.earlyWord.broke(peer, true)
          if (await this.unexplained.note(peer, packageOf(planned))) await this.standings.unexplained(peer)
        },
      }),
    )
  }

  /** As `Consequences.isUnsettled`. */
  isUnsettled(planned: PlannedAction): boolean {
    return this.#consequences.isUnsettled(planned)
  }

  /** For `peers`. */
  view(peerId: string): StandingView | undefined {
    return this.standings.view(peerId)
  }

  /** @returns false when it cannot be run in the sandbox here */
  async #audit(
    whole: PlannedAction,
    about: Lent | undefined | LooksUpLent,
    { claims, own, gift, heard, makeAgain }: Doubtful,
  ): Promise<boolean> {
    const lent = typeof about === 'function' ? await about() : about
    // What no lender could compile cannot be run in the sandbox here either; nor a whole of which lenders do a part. A library is no such
    // whole, even where its linker is no part of what lenders are asked for: the same files come out.
    if (lent === undefined || lent.planned.notAway !== undefined) return false
    const { planned, inputs } = lent
    const isLinked = linkedOutputs(whole.args).size > 0
    const canBeTried = (action: CID): boolean => action.equals(planned.key) || (!isLinked && action.equals(whole.key))
    if (own !== undefined && !canBeTried(whole.key)) return false
    if (![...claims.keys()].every(({ body }) => canBeTried(body.action))) return false
    await this.#needs.keepInputs(planned, inputs)
    const { crate, actionBytes, usesMacros } = planned
    const rerun = async (signal: AbortSignal): Promise<Rerun | undefined> => {
      const made = await this.#needs.rerun(actionBytes, inputs.inputs.cid, signal)
      const [looked] = claims.values()
      // What is there for rustc need not be there for a sandbox.
      return made ?? (looked && (await makeAgain?.(looked, signal)))
    }
    this.audits.add({
      key: gift === undefined ? hexOf(planned.key) : nameOf(gift),
      crate,
      case: async () => {
        const counting = [...claims].filter(([claim]) => own !== undefined || this.judge.isWorthTrying(claim))
        if (counting.length === 0 && own === undefined) return undefined
        const known = counting.map(async ([claim, reads]) => ({
          claim,
          reads: reads ?? (await this.#readsOf(claim)),
          ...heard,
        }))
        return { claims: await Promise.all(known), own, usesMacros }
      },
      rerun,
      settle: (verdict) => {
        const tried = { whole, claims: [...claims.keys()], gift, withOwn: own !== undefined }
        return this.#consequences.of(planned, tried, verdict)
      },
    })
    return true
  }

  #tryWhole(
    planned: PlannedAction,
    { claim, reads, ...heard }: Word & { reads: ReadSet },
    gift: Gift,
    makeAgain: MakeAgain,
  ): void {
    const peer = peerIdOf(claim.body.signer)
    const isLinked = linkedOutputs(planned.args).size > 0
    const settle = async ({ kind }: Verdict): Promise<void> => {
      if (kind === 'agreed') await this.standings.agreed(peer)
      if (kind === 'unsteady' || kind === 'disagreed') await this.#consequences.drop(gift)
      if (kind !== 'disagreed') return
      await this.standings.doubt(subjectOf(claim))
      // All that was linked as one: what two linkers make of the same can differ for good.
      const name = isLinked ? linkedElsewhere : packageOf(planned)
      if (await this.unexplained.note(peer, name)) await this.standings.unexplained(peer)
    }
    const isWorthTrying = (one: SignedClaim): boolean => this.judge.isWorthTrying(one)
    // What a linker says is its own affair, as what a macro says.
    const usesMacros = isLinked || planned.usesMacros
    const word = { key: nameOf(gift), crate: planned.crate, usesMacros, claim, reads, ...heard }
    this.audits.add(wholeAudit(word, { makeAgain, isWorthTrying, settle }))
  }

  async #readsOf(claim: SignedClaim): Promise<ReadSet | undefined> {
    for (const bytes of await this.#needs.traces.traces(hexOf(claim.body.action))) {
      const trace = readTrace(bytes)
      if (trace !== undefined && isAbout(claim, trace)) return trace
    }
    return undefined
  }
}

/** Of other sources the same action has another result. */
const nameOf = ({ key, result }: Gift): string => `${key} ${result}`

/** Stands for the packages of all units that were linked elsewhere and came out differently here. */
const linkedElsewhere = 'linked elsewhere'
