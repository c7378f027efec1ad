import { createHash } from 'node:crypto'
import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { meshKeyOf } from '../mesh/genesis.ts'
import { type Members, peerIdOf } from '../mesh/members.ts'
import { peopleBehind } from '../mesh/people.ts'
import { hex, sameBytes } from '../mesh/statement.ts'
import type { ReadSet, Trace } from '../plan/action.ts'
import { hexOf } from '../wire/cid.ts'
import type { ClaimStore } from './claim-store.ts'
import type { Witness } from './policy.ts'
import { type RunPlace, tellPlace } from './run-place.ts'
import {
  areOfOnePlace,
  type ClaimTier,
  checkClaim,
  evidenceOf,
  type Outcome,
  outputsDigest,
  readClaim,
  type SignedClaim,
  signClaim,
  subjectOf,
  unwatched,
} from './signed-claim.ts'

export interface JudgeNeeds {
  members: Pick<Members, 'genesis' | 'key' | 'now' | 'objectionTo' | 'roster' | 'signer'>
  store: ClaimStore
  /** Whether a member has been caught: nothing that it says is used. */
  isLiar(peerId: string): boolean
  /** Whether something else came out here than a member says of an action. @param subject as `subjectOf` gives it */
  isDoubted(subject: Uint8Array): boolean
  /** Whether too much of a member came out differently here for its word to be used, though nobody can call it a lie. */
  isUnreliable(peerId: string): boolean
  /** Whether a package (`name version`) is known to come out differently each time. */
  isUnsteady(name: string): boolean
  log: Logger
}

/** What claims are about: a compile, or the run of a build script. */
export interface Claimed {
  key: CID
  action: { env: readonly (readonly [string, string])[]; crate?: string; what?: 'build-script-run' }
}

type Computed = Outcome & { action: CID; wallMs: number; cid: CID }
interface Circumstances {
  /** `name version` */
  package: string
  tier: ClaimTier
  /** Milliseconds since the Unix epoch. */
  at: number
  /** Of the run of a build script. */
  place?: RunPlace
}

/** Claims of one answer that are looked at. */
export const maxClaims = 32
/** Signatures that were verified lately. */
const maxVerified = 8192

/** Whose word counts. */
export class Judge {
  readonly store: ClaimStore
  readonly #needs: JudgeNeeds
  readonly #mesh: Uint8Array
  readonly #verified = new Set<string>()
  /** Of traces that stay in memory. */
  readonly #evidence = new WeakMap<Trace, Uint8Array>()

  constructor(needs: JudgeNeeds) {
    this.#needs = needs
    this.store = needs.store
    this.#mesh = meshKeyOf(needs.members.genesis)
  }

  /**
   * Of what came from outside those claims about a unit that somebody's word is behind: well formed, of this mesh, under the name of
   * its package, with a good signature of a key that is a member's now and was not caught lying.
   */
  admit(planned: Claimed, claims: readonly Uint8Array[]): SignedClaim[] {
    return this.delivered(planned, claims).filter((claim) => isWatched(claim) && this.counts(claim))
  }

  /**
   * As `admit`, and those too that are good for nobody but whoever awarded the task: of what nobody watched. Whether the signer is doubted in
   * this is left to be asked.
   */
  delivered(planned: Claimed, claims: readonly Uint8Array[]): SignedClaim[] {
    return claims.slice(0, maxClaims).flatMap((bytes) => {
      const claim = this.#read(bytes)
      return claim !== undefined && isOf(claim, planned) && this.#isRelied(claim) ? [claim] : []
    })
  }

  /** Whether the word of a claim's signer counts now. */
  counts(claim: SignedClaim): boolean {
    return !this.#needs.isDoubted(subjectOf(claim)) && this.#isRelied(claim)
  }

  #isRelied(claim: SignedClaim): boolean {
    if (!this.isWorthTrying(claim)) return false
    return this.isOwn(claim) || !this.#needs.isUnreliable(peerIdOf(claim.body.signer))
  }

  /** Whether it is of use to know whether a claim is right, also of one that does not count any more. */
  isWorthTrying(claim: SignedClaim): boolean {
    return !this.#needs.isUnsteady(claim.body.package) && this.#isBelieved(claim)
  }

  #isBelieved({ body: { signer } }: SignedClaim): boolean {
    const { members, isLiar } = this.#needs
    if (sameBytes(signer, members.key)) return true
    const peerId = peerIdOf(signer)
    return members.objectionTo(peerId) === undefined && !isLiar(peerId)
  }

  /** The one behind a claim that counts. */
  witness({ body: { signer } }: SignedClaim): Witness {
    const { members } = this.#needs
    if (sameBytes(signer, members.key)) return { people: new Set([hex(signer)]), name: '', isCi: false, isSelf: true }
    const { name, roles } = members.roster.verify(signer, members.now)
    return {
      // Looked for only where somebody counts.
      get people() {
        return peopleBehind(members.roster, signer, members.now)
      },
      name,
      isCi: roles.includes('ci'),
      isSelf: false,
    }
  }

  /** Claims kept here that count, of an action (hex). */
  async kept(keyHex: string): Promise<SignedClaim[]> {
    return (await this.store.of(keyHex)).filter((claim) => isWatched(claim) && this.counts(claim))
  }

  /** Of these, those under the name of a unit's package. */
  async keptOf(planned: Claimed): Promise<SignedClaim[]> {
    return (await this.kept(hexOf(planned.key))).filter((claim) => isOf(claim, planned))
  }

  /**
   * Claims kept here about what a trace says, the first about just this result; none when nobody's word is behind it, or when they
   * contradict each other.
   */
  async about(trace: Trace): Promise<SignedClaim[]> {
    const kept = await this.kept(hexOf(trace.action))
    const first = kept.find((claim) => this.isAbout(claim, trace))
    if (first === undefined) return []
    const same = kept.filter(({ body }) => sameBytes(body.evidence, first.body.evidence))
    const others = same.filter((claim) => claim !== first && !contradict(claim, first))
    const [own, ...more] = same.filter((claim) => this.isOwn(claim))
    if (own !== undefined && more.some((claim) => contradict(claim, own))) return []
    // By what it has computed itself this node stands, whatever others say.
    const isSettled = [first, ...others].some((claim) => this.isOwn(claim))
    return isSettled || others.length === same.length - 1 ? [first, ...others] : []
  }

  /** Whether a claim is about this very trace. */
  isAbout({ body }: SignedClaim, trace: Trace): boolean {
    if (!body.result.equals(trace.result) || !body.action.equals(trace.action)) return false
    const evidence = this.#evidence.get(trace) ?? evidenceOf(trace)
    this.#evidence.set(trace, evidence)
    return sameBytes(body.evidence, evidence)
  }

  /** Claims kept here that say something else than this one, also those that were found doubtful: of members that are no liars yet. */
  async against(claim: SignedClaim): Promise<SignedClaim[]> {
    const kept = await this.store.of(hexOf(claim.body.action))
    return kept.filter((other) => contradict(other, claim) && this.#isBelieved(other))
  }

  /**
   * This node's own claims about an action, whatever became of the package: what it has computed itself is always good for itself. What bears
   * a key that it had before is not: keys are changed because somebody else may have them.
   */
  async ownOf({ key }: Pick<Claimed, 'key'>): Promise<SignedClaim[]> {
    return (await this.store.of(hexOf(key))).filter((claim) => this.isOwn(claim) && isWatched(claim))
  }

  /** Keeps claims as they came: those that count outlast those that do not, and this node's own outlast both. @throws ShoalError ERR_STORE */
  async keep(claims: readonly SignedClaim[]): Promise<void> {
    await this.store.add(claims, (claim) => {
      if (this.isOwn(claim)) return 'own'
      return isWatched(claim) && this.counts(claim) ? 'counting' : 'idle'
    })
  }

  /** Whether this node computed what a trace says. */
  isOwn({ body }: SignedClaim): boolean {
    return sameBytes(body.signer, this.#needs.members.key)
  }

  /**
   * This node's word on what it has computed, kept.
   * @returns undefined when it has said something else of the same before: then nobody should build on either
   * @throws ShoalError ERR_LIMIT, ERR_STORE
   */
  async sign(result: Computed, reads: ReadSet, about: Circumstances): Promise<SignedClaim | undefined> {
    const claim = this.#signed(result, reads, about)
    if (await this.#hasSaidOtherwise(claim)) return undefined
    if (isWatched(claim)) await this.keep([claim])
    return claim
  }

  /** As `sign`, of what was made for this node itself: kept even when something else came out before. */
  async signOwn(result: Computed, reads: ReadSet, about: Circumstances): Promise<SignedClaim | undefined> {
    const claim = this.#signed(result, reads, about)
    const isSteady = !(await this.#hasSaidOtherwise(claim))
    await this.keep([claim])
    return isSteady ? claim : undefined
  }

  async #hasSaidOtherwise(claim: SignedClaim): Promise<boolean> {
    const before = await this.store.of(hexOf(claim.body.action))
    return before.some((other) => this.isOwn(other) && contradict(other, claim))
  }

  #signed(result: Computed, reads: ReadSet, { package: name, tier, at, place }: Circumstances): SignedClaim {
    const { members } = this.#needs
    const body = {
      mesh: this.#mesh,
      action: result.action,
      evidence: evidenceOf(reads),
      outputs: outputsDigest(result),
    }
    const about = { result: result.cid, package: name, tier, at, wallMs: result.wallMs }
    const where = place === undefined ? {} : { place: tellPlace(place) }
    return signClaim({ ...body, ...about, ...where }, members.signer)
  }

  #read(bytes: Uint8Array): SignedClaim | undefined {
    try {
      const claim = readClaim(bytes)
      const name = createHash('sha256').update(bytes).digest('base64')
      if (this.#verified.has(name)) return claim
      checkClaim(claim, this.#mesh)
      if (this.#verified.size >= maxVerified) this.#verified.clear()
      this.#verified.add(name)
      return claim
    } catch (error) {
      const code = codeOf(error)
      if (code === undefined) throw error
      this.#needs.log.info('a claim that is nobody’s word', { code })
      return undefined
    }
  }
}

const nothingSeen = evidenceOf(unwatched)

/** Sources are no part of an action: of what nobody watched it is not known what it was made from, so it holds nowhere else. */
const isWatched = ({ body }: SignedClaim): boolean => !sameBytes(body.evidence, nothingSeen)

/** What lies about are counted by package: a made-up name would be one package for ever. */
const isOf = ({ body }: SignedClaim, planned: Claimed): boolean =>
  body.action.equals(planned.key) && body.package === packageOf(planned)

/**
 * Whether two claims cannot both be right: the same action, having looked at the same, gave different things. Of a compile that
 * nobody watched it is not known what it looked at: sources are no part of an action.
 */
export function contradict(a: SignedClaim, b: SignedClaim): boolean {
  return (
    isWatched(a) &&
    a.body.action.equals(b.body.action) &&
    sameBytes(a.body.evidence, b.body.evidence) &&
    !sameBytes(a.body.outputs, b.body.outputs) &&
    // What a script makes of where it lies can be other elsewhere.
    areOfOnePlace(a, b)
  )
}

/** `name version` of the package that a unit is of. What its build script does is another matter than what is compiled of it. */
export function packageOf({ action }: Pick<Claimed, 'action'>): string {
  const env = new Map(action.env)
  const name = `${env.get('CARGO_PKG_NAME') ?? action.crate ?? ''} ${env.get('CARGO_PKG_VERSION') ?? ''}`.trim()
  return (action.what === undefined ? name : `${name} build script`).slice(0, 200)
}
