import type { Certificate } from './certificate.ts'
import type { Clone } from './clone.ts'
import type { Genesis } from './genesis.ts'
import { type Invite, inviteIdOf } from './invite.ts'
import { type MemberView, viewOf } from './member-view.ts'
import { byId, byMaker, byRank, grouped } from './ranking.ts'
import type { Entry } from './roster-entry.ts'
import { hex } from './statement.ts'
import { countsAsIssued, objectionTo, Verdict } from './verdict.ts'

/** What can be looked up in a roster. */
export interface Findings {
  /** Hex of the subject → its certificates, ranked. */
  certificates: Map<string, [Certificate, ...Certificate[]]>
  /** Hex of the invitation. */
  invites: Map<string, Invite>
  /** Hex of every invitation that somebody has used. */
  used: Set<string>
  /** That keys were seen twice, as far as it counts. */
  clones: Clone[]
}

/** Who would be a member, but for what its certificates follow. */
export interface Fallen {
  view: MemberView
  /** Hex of the keys that were kicked and after which it comes. */
  after: string[]
}

export function findingsOf(entries: readonly Entry[], verdict: Verdict): Findings {
  const all = entries.flatMap((entry) => (entry.kind === 'certificate' ? [entry.statement] : [])).toSorted(byRank)
  const invites = entries.flatMap((entry) => (entry.kind === 'invite' ? [entry.statement] : []))
  const clones = entries.flatMap((entry) => (entry.kind === 'clone' ? [entry.statement] : []))
  const used = [
    ...entries.flatMap(({ kind, statement }) => (kind === 'redemption' ? [inviteIdOf(statement.body.verifier)] : [])),
    ...all.flatMap(({ body }) => body.invite ?? []),
  ]
  return {
    certificates: grouped(all),
    invites: new Map(invites.toSorted(byMaker(verdict)).map((invite) => [hex(invite.body.invite), invite])),
    used: new Set(used.map(hex)),
    clones: clones.filter((clone) => verdict.believes(clone)).toSorted((a, b) => b.body.at - a.body.at || byId(a, b)),
  }
}

/** @param kicked keys, as if they were kicked too */
export function verdictOf(genesis: Genesis, entries: readonly Entry[], kicked: readonly Uint8Array[] = []): Verdict {
  return new Verdict(genesis, {
    revocations: entries.flatMap((entry) => (entry.kind === 'revocation' ? [entry.statement] : [])),
    redemptions: entries.flatMap((entry) => (entry.kind === 'redemption' ? [entry.statement] : [])),
    certificates: entries.flatMap((entry) => (entry.kind === 'certificate' ? [entry.statement] : [])),
    kicked,
  })
}

export function fallenIn({ certificates }: Pick<Findings, 'certificates'>, verdict: Verdict, now: number): Fallen[] {
  return [...certificates.values()].flatMap((all): Fallen[] => {
    if (all.some((certificate) => objectionTo(certificate, verdict, now) === undefined)) return []
    const [best, ...more] = all.filter((certificate) => countsAsIssued(certificate, verdict, now))
    if (best === undefined) return []
    const after = new Set([best, ...more].flatMap((certificate) => verdict.through(certificate)))
    return [{ view: viewOf([best, ...more]), after: [...after] }]
  })
}
