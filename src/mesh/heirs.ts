import type { Certificate } from './certificate.ts'
import type { MemberView } from './member-view.ts'
import type { Members } from './members.ts'
import { hex } from './statement.ts'
import { before } from './succession.ts'
import { mayEnd } from './successor.ts'

/**
 * The keys of members that come after one by its own word, and that of each in between. Not of whom an administrator has let in otherwise as
 * well, for itself or after another key: a thief can say that it follows his.
 */
export function heirsOf({ roster, now }: Members, key: Uint8Array): MemberView[] {
  const lines = roster.lines(now)
  const line = new Set([hex(key)])
  // Nearest first.
  for (const one of lines.handedOn(key)) {
    const said = lines.byAdministrators(lines.certificatesOf(one))
    const isAfter = ({ body: { follows } }: Certificate): boolean =>
      follows !== undefined && line.has(hex(before(follows)))
    if (said.every(isAfter)) line.add(one)
  }
  const [, ...next] = line
  const living = new Set(lines.handedTo(key))
  return next.filter((one) => living.has(one)).map((one) => roster.verify(new Uint8Array(Buffer.from(one, 'hex')), now))
}

/**
 * The members whose keys come after one that was kicked, by the word of each key in between, and not otherwise by that of administrators:
 * for one that may decide about them. An administrator who had not heard of the kick has certified them, or a thief who wants an honest
 * one to be kicked; so it is people who decide. None where this node is no administrator's.
 */
export function heirsOfKicked(members: Members): MemberView[] {
  if (members.objectionToSelf() !== undefined || !mayEnd(members)) return []
  const { roster, now } = members
  const lines = roster.lines(now)
  const heirs = lines.handedFrom(roster.kickedKeys().map(hex)).filter((one) => {
    const said = lines.byAdministrators(lines.certificatesOf(one))
    return said.every(({ body }) => body.follows !== undefined)
  })
  const others = heirs.filter((one) => one !== hex(members.key))
  return others.map((one) => roster.verify(new Uint8Array(Buffer.from(one, 'hex')), now))
}
