import { encode } from '@ipld/dag-cbor'
import { ShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { removeDurably } from '../store/durable.ts'
import type { Issuer } from './certificate.ts'
import { isSignedBy, type SigningKey } from './ed25519.ts'
import { type Identity, loadIdentity, loadNextIdentity, nextKeyFile, takeNextIdentity } from './identity.ts'
import { allLinksFrom, linksFrom } from './kick.ts'
import { signingKeyOf } from './members.ts'
import { type Revocation, revoke, roomToKeep } from './revocation.ts'
import type { Roster } from './roster.ts'
import { loadRoster, saveRoster } from './roster-file.ts'

/** What the new key signs, so that nobody can have a key certified that is not his. */
function proofBytes(mesh: Uint8Array, old: Uint8Array, next: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('shoal/1/rekey\0'), encode({ mesh, old, new: next })])
}

export function proveSuccessor(mesh: Uint8Array, old: Uint8Array, next: SigningKey): Uint8Array {
  return next.sign(proofBytes(mesh, old, next.publicKey))
}

/** @throws ShoalError ERR_SIGNATURE unless who has the key `next` wants it to follow `old` */
export function checkSuccessor(mesh: Uint8Array, old: Uint8Array, next: Uint8Array, proof: Uint8Array): void {
  if (isSignedBy(next, proofBytes(mesh, old, next), proof)) return
  throw new ShoalError('ERR_SIGNATURE', 'the new key does not say that it follows the old one')
}

/**
 * What a key says last: that it is over, and that whoever has a copy of it can let nobody in. Whom it has let in stays. With more than
 * twelve certificates that others stand on, only the first: an administrator has to kick the key.
 */
function retire(roster: Roster, issuer: Required<Issuer>, now: number): Revocation[] {
  const key = issuer.key.publicKey
  const shutOut = revoke(issuer, { kind: 'key', key }, 'rekeyed', now)
  const room = roomToKeep(issuer)
  if (!issuer.certificate.body.roles.includes('inviter') || linksFrom(roster, key, now).length > room) return [shutOut]
  const keep = allLinksFrom(roster, key, now).slice(0, room)
  return [shutOut, revoke(issuer, { kind: 'issuer', key, keep }, 'rekeyed', now)]
}

/**
 * Changes to the new key if one lies there and the mesh knows it: the old one says that it is over, then the new one takes its place.
 * Whatever is interrupted here is taken up the next time; at each moment one of the two keys is a member's. Nothing else may use the
 * state directory.
 * @throws ShoalError as `loadIdentity` and `loadRoster`, and the system's own errors
 */
export async function finishRekey(stateDir: string, now: number, log: Logger): Promise<void> {
  const next = await loadNextIdentity(stateDir)
  if (next === undefined) return
  const old = await loadIdentity(stateDir)
  if (next.peerId === old.peerId) return await removeDurably(nextKeyFile(stateDir))
  const roster = await loadRoster(stateDir, now)
  const isKnown = fails(() => roster.verify(signingKeyOf(next).publicKey, now)) === undefined
  // It was asked for in vain; the next `rekey` asks for the same.
  if (!isKnown) return
  sayLast(roster, old, now, log)
  await saveRoster(stateDir, roster, now)
  await takeNextIdentity(stateDir)
  log.info('this node has a new key', { peer: next.peerId, before: old.peerId })
}

function sayLast(roster: Roster, old: Identity, now: number, log: Logger): void {
  const key = signingKeyOf(old)
  const failure = fails(() => {
    const issuer = { genesis: roster.genesis, key, certificate: roster.certificateOf(key.publicKey, now) }
    for (const { bytes } of retire(roster, issuer, now)) roster.add(bytes, now)
  })
  // There is always one for the good-bye, unless many inviters flood: then an administrator that meets the new key shuts the old one out.
  if (failure?.code === 'ERR_ROSTER_FULL')
    log.warn('there is no place for all that the old key has to say', { peer: old.peerId, code: failure.code })
  // It is over already, or has run out.
  else if (failure !== undefined)
    log.info('the old key was no member any more', { peer: old.peerId, code: failure.code })
}

function fails(act: () => unknown): ShoalError | undefined {
  try {
    act()
    return undefined
  } catch (error) {
    if (error instanceof ShoalError) return error
    throw error
  }
}
