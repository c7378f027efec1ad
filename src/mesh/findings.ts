import type { Certificate } from './certificate.ts'
import type { Clone } from './clone.ts'
import type { Genesis } from './genesis.ts'
import { type Invite, inviteIdOf } from './invite.ts'
import { byId, byMaker, byRank, grouped } from './ranking.ts'
import type { Entry } from './roster-entry.ts'
import { hex } from './statement.ts'
import { Verdict } from './verdict.ts'

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

export function verdictOf(genesis: Genesis, entries: readonly Entry[]): Verdict {
  const revocations = entries.flatMap((entry) => (entry.kind === 'revocation' ? [entry.statement] : []))
  const redemptions = entries.flatMap((entry) => (entry.kind === 'redemption' ? [entry.statement] : []))
  return new Verdict(genesis, revocations, redemptions)
}
