import { setTimeout as delay } from 'node:timers/promises'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import { readMultiaddr } from './addresses.ts'
import { encodeProof, proveInvite } from './invite.ts'
import type { InviteLink } from './invite-link.ts'
import { encodeAsk, encodeJoinProof } from './join-messages.ts'
import { joinPrologue, joinProtocol } from './join-protocol.ts'
import { signingKeyOf } from './members.ts'
import { converse, type NewcomerNeeds, type OtherEnd } from './newcomer.ts'
import type { Talk } from './talk.ts'
import { type Joined, receiveOffer, receiveWelcome } from './welcome.ts'

/** For each address, should it be busy … */
const attempts = 3
/** … as long as no more time than this has passed. */
const patienceMs = 10_000
const pauseMs = 300
/** A refusal with one of these is the mesh's last word; another member may do better after any other. */
const final: ReadonlySet<string> = new Set([
  'ERR_INVITE_USED',
  'ERR_INVITE_BURNED',
  'ERR_EXPIRED',
  'ERR_REVOKED',
  'ERR_REPLAYED',
  'ERR_SIGNATURE',
])

/**
 * Becomes a member of the mesh that a link names, by whichever of its addresses answers. Nothing is written.
 * @param name what the others see; 1 to 64 bytes
 * @throws ShoalError as the inviter refuses: ERR_INVITE_…, ERR_EXPIRED, ERR_REVOKED, ERR_OTHER_MESH; ERR_ROLE when only members
 *   answer that may not invite; ERR_PEER_LOST when nobody answers
 */
export async function joinMesh(needs: NewcomerNeeds, link: InviteLink, name: string): Promise<Joined> {
  let failure: ShoalError | undefined
  const door = { protocol: joinProtocol, prologue: joinPrologue }
  const startedAt = needs.clock.now()
  for (let attempt = 0; attempt < attempts; attempt++) {
    for (const text of link.addresses) {
      const address = readMultiaddr(text)
      if (address === undefined) continue
      try {
        return await converse(needs, address, door, (talk, other) => show(needs, link, name, talk, other))
      } catch (error) {
        const refusal = toShoalError(error)
        if (final.has(refusal.code)) throw refusal
        needs.log.info('no entry here', { address: text, message: refusal.message })
        // That nobody answers at one address says less than what was said at another.
        if (failure === undefined || refusal.code !== 'ERR_PEER_LOST') failure = refusal
      }
    }
    const isLost = failure === undefined || codeOf(failure) === 'ERR_PEER_LOST'
    if (!isLost || needs.clock.now() - startedAt > patienceMs) break
    // The clock's timers keep no process alive, and `shoal join` has nothing else that does.
    await delay(pauseMs)
  }
  if (failure !== undefined && failure.code !== 'ERR_PEER_LOST') throw failure
  throw new ShoalError('ERR_PEER_LOST', `nobody answers at ${link.addresses.join(', ')}`, {
    hint: unreachable,
    cause: failure,
  })
}

const unreachable = 'Is the machine that made the link running, and on the same network? Ask for a new link.'

async function show(
  { clock, identity }: NewcomerNeeds,
  link: InviteLink,
  name: string,
  talk: Talk,
  { key: inviter, channel }: OtherEnd,
): Promise<Joined> {
  talk.send(encodeAsk({ mesh: link.mesh, invite: link.invite }))
  const roster = await receiveOffer(talk, clock, { mesh: link.mesh, inviter })
  const subject = signingKeyOf(identity).publicKey
  const proof = proveInvite({ secret: link.secret, mesh: link.mesh, subject, inviter, channel })
  talk.send(encodeJoinProof({ proof: encodeProof(proof), name }))
  return await receiveWelcome(talk, clock, roster, subject)
}
