import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { type Certificate, powerOf, type Role } from './certificate.ts'
import { byId } from './ranking.ts'

/** One member, as of now. */
export interface MemberView {
  key: Uint8Array
  peerId: string
  name: string
  roles: readonly Role[]
  /** The key of who let it in; the root's for the first member. */
  invitedBy: Uint8Array
  /** Milliseconds since the Unix epoch. */
  notAfter: number
}

/** What the first says; the name of the newest with the same rights, because a new name can come from farther off the root. */
export function viewOf([best, ...more]: readonly [Certificate, ...Certificate[]]): MemberView {
  const { subject: key, roles, invitedBy, notAfter } = best.body
  const equals = [best, ...more].filter(({ body }) => powerOf(body.roles) === powerOf(roles))
  const [newest = best] = equals.toSorted((a, b) => b.body.notBefore - a.body.notBefore || byId(b, a))
  const peerId = peerIdFromPublicKey(publicKeyFromRaw(key)).toString()
  return { key, peerId, name: newest.body.name, roles, invitedBy, notAfter }
}
