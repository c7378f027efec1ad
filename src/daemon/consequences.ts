import type { CID } from 'multiformats/cid'
import { ShoalError, toShoalError } from '../base/errors.ts'
import { peerIdOf } from '../mesh/members.ts'
import { sameBytes } from '../mesh/statement.ts'
import { linkedOutputs } from '../plan/normalise.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { packageOf } from '../recall/judge.ts'
import { type SignedClaim, subjectOf } from '../recall/signed-claim.ts'
import { hexOf } from '../wire/cid.ts'
import type { Determinism } from './determinism.ts'
import type { Standings } from './standing.ts'
import type { TrustNeeds } from './trust-needs.ts'
import type { Unexplained } from './unexplained.ts'
import type { Verdict } from './verdict.ts'

/** What was put into target directories on others' word. */
export interface Gift {
  /** Hex of the action key. */
  key: string
  result: CID
}

/** What was held against what came out here. */
export interface Tried {
  /** The unit that it is about, or a part of. */
  whole: PlannedAction
  claims: readonly SignedClaim[]
  /** Undefined: each claim is about what was put there. */
  gift: Gift | undefined
  /** Whether rustc had made it here outside of the sandbox, and that was held against it as well. */
  withOwn: boolean
}

export type ConsequencesNeeds = Pick<TrustNeeds, 'members' | 'clock' | 'log' | 'trouble' | 'purge' | 'given'> & {
  standings: Standings
  determinism: Determinism
  unexplained: Unexplained
}

/** More wait only where members are about to lose their word anyway. */
const mostUnsettled = 1024

/** What follows from what came out when something was run again here: for members, for packages and for what was taken. */
export class Consequences {
  readonly #needs: ConsequencesNeeds
  readonly #unsettled = new Set<string>()

  constructor(needs: ConsequencesNeeds) {
    this.#needs = needs
  }

  /**
   * Whether something else came out of a unit in the sandbox here than others say, maybe of other sources, and nobody knows why. It may be one
   * thing in every sandbox and another one elsewhere: then it would be taken, tried and dropped each time. So until rustc here has made
   * something of it, which is held against what comes out in the sandbox, it is left to nobody else. What is linked cannot be held
   * against that: it stays here until the node is started anew.
   */
  isUnsettled(planned: PlannedAction): boolean {
    return this.#unsettled.has(unitOf(planned))
  }

  /** @param planned what was run again */
  async of(planned: PlannedAction, { whole, claims, gift, withOwn }: Tried, verdict: Verdict): Promise<void> {
    const { standings, determinism, unexplained } = this.#needs
    const { toolchain } = planned.action
    const name = packageOf(planned)
    const signers = new Set(claims.map(({ body }) => peerIdOf(body.signer)))
    if (withOwn && verdict.kind !== 'open') this.#unsettled.delete(unitOf(whole))
    switch (verdict.kind) {
      case 'agreed':
        await determinism.note(name, toolchain, true)
        for (const peer of signers) await standings.agreed(peer)
        return
      case 'unsteady':
        this.#needs.log.info('a package comes out differently each time', { package: name })
        await determinism.note(name, toolchain, false)
        // Nobody can tell any more whether what others gave is one of the things that it comes out as.
        for (const claim of claims) await this.drop(gift ?? giftOf(claim))
        return
      case 'disagreed': {
        if (!withOwn && verdict.unexplained.length > 0 && this.#unsettled.size < mostUnsettled)
          this.#unsettled.add(unitOf(whole))
        for (const claim of verdict.unexplained) {
          const peer = peerIdOf(claim.body.signer)
          if (await unexplained.note(peer, name)) await standings.unexplained(peer)
        }
        for (const claim of [...verdict.unexplained, ...verdict.liars]) {
          await standings.doubt(subjectOf(claim))
          await this.drop(gift ?? giftOf(claim))
        }
        for (const claim of verdict.liars) await this.#lied(claim, name)
        return
      }
      case 'open':
        return
      default:
        return verdict satisfies never
    }
  }

  /** It is not used again, and cargo makes anew what was made of it. */
  async drop({ key, result }: Gift): Promise<void> {
    await this.#needs.given().drop(key, result)
  }

  async #lied({ body }: SignedClaim, name: string): Promise<void> {
    const { members, clock, log, standings, trouble, purge } = this.#needs
    const peer = peerIdOf(body.signer)
    if (sameBytes(body.signer, members.key)) return
    const lie = { package: name, action: hexOf(body.action), at: clock.wall() }
    log.info('a member has given something else than comes out here', { peer, package: name })
    if (!(await standings.lied(peer, lie))) return
    trouble(new ShoalError('ERR_LIAR', `${peer} has given something else for ${name} than comes out here`))
    try {
      await purge(peer)
    } catch (error) {
      trouble(toShoalError(error))
    }
  }
}

/** The same with other sources. */
const unitOf = (planned: PlannedAction): string =>
  `${packageOf(planned)} ${planned.crate} ${linkedOutputs(planned.args).size > 0 ? 'linked' : ''}`

/** What is put into place on the word of a claim about all of it. */
const giftOf = ({ body }: SignedClaim): Gift => ({ key: hexOf(body.action), result: body.result })
