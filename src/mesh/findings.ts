import type { Certificate } from './certificate.ts'
import type { Clone } from './clone.ts'
import type { Genesis } from './genesis.ts'
import { type Invite, inviteIdOf } from './invite.ts'
import { byId, byMaker, grouped, ranked } from './ranking.ts'
import { type Entry, isGoodBye } from './roster-entry.ts'
import { hex, sameBytes } from './statement.ts'
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
  const certificates = entries.flatMap((entry) => (entry.kind === 'certificate' ? [entry.statement] : []))
  const all = ranked(certificates, verdict)
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

/**
 * Whether a statement makes no difference by itself, as far as is known. A good-bye does as long as its key has a certificate, and what says
 * who came first with an invitation as long as that one is here by it.
 */
export function isIdle(entry: Entry, verdict: Verdict, look: () => Pick<Findings, 'certificates'>): boolean {
  if (!verdict.isVoid(entry)) return false
  const certificatesOf = (key: Uint8Array): readonly Certificate[] => look().certificates.get(hex(key)) ?? []
  const isOver = (statement: Certificate): boolean => verdict.isVoid({ kind: 'certificate', statement })
  if (isGoodBye(entry)) return certificatesOf(entry.statement.body.issuer).every(isOver)
  if (entry.kind !== 'redemption' || !verdict.isFirst(entry.statement)) return true
  const { subject, verifier } = entry.statement.body
  const name = inviteIdOf(verifier)
  const isBy = ({ body: { invite } }: Certificate): boolean => invite !== null && sameBytes(invite, name)
  return certificatesOf(subject).filter(isBy).every(isOver)
}
