import type { Certificate } from './certificate.ts'
import type { MemberView } from './member-view.ts'
import type { Members } from './members.ts'
import { hex, sameBytes } from './statement.ts'
import { before } from './succession.ts'

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

/** Whether all that counts says that this one's key comes next after that one. */
export function isNext(members: Members, heir: Pick<MemberView, 'key'>, key: Uint8Array): boolean {
  const said = members.roster.certificatesOf(heir.key, members.now).map(({ body }) => body.follows)
  const isAfter = said.every((follows) => follows !== undefined && sameBytes(before(follows), key))
  return isAfter && !sameBytes(heir.key, members.key)
}
