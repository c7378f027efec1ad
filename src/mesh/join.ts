import { networkInterfaces } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { Multiaddr } from '@multiformats/multiaddr'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import { hostOf, readMultiaddr } from './addresses.ts'
import { hearBeacons } from './beacon.ts'
import { encodeProof, proveInvite } from './invite.ts'
import type { InviteLink } from './invite-link.ts'
import { encodeAsk, encodeJoinProof } from './join-messages.ts'
import { joinPrologue, joinProtocol } from './join-protocol.ts'
import { signingKeyOf } from './members.ts'
import { isNeighbour } from './neighbours.ts'
import { converse, type NewcomerNeeds, type OtherEnd } from './newcomer.ts'
import type { Talk } from './talk.ts'
import { type Joined, receiveOffer, receiveWelcome } from './welcome.ts'

/** For each address, should it be busy … */
const attempts = 3
/** … as long as no more time than this has passed. */
const patienceMs = 10_000
const pauseMs = 300
/** So long it is listened for other inviters on the local network, and so many of them are asked. */
const listenMs = 2000
const quietMs = 300
const maxNear = 8
const maxAddressesEach = 3
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
 * Becomes a member of the mesh that a link names, by whichever of its addresses answers, or else by whichever inviter of it is near: who made
 * the link may have gone home, or have another address by now. Nothing is written.
 * @param name what the others see; 1 to 64 bytes
 * @param near multiaddrs of those who let others in on the local network, whatever their mesh is
 * @throws ShoalError as the inviter refuses: ERR_INVITE_…, ERR_EXPIRED, ERR_REVOKED, ERR_OTHER_MESH; ERR_ROLE when only members
 *   answer that may not invite; ERR_PEER_LOST when nobody answers
 */
export async function joinMesh(
  needs: NewcomerNeeds,
  link: InviteLink,
  name: string,
  near: () => Promise<readonly Multiaddr[]> = () => inviters(needs),
): Promise<Joined> {
  let failure: ShoalError | undefined
  const at = (address: Multiaddr): Promise<Joined> =>
    converse(needs, address, door, (talk, other) => show(needs, link, name, talk, other))
  const startedAt = needs.clock.now()
  for (let attempt = 0; attempt < attempts; attempt++) {
    for (const text of link.addresses) {
      const address = readMultiaddr(text)
      if (address === undefined) continue
      try {
        return await at(address)
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
  const nearSince = needs.clock.now()
  for (const address of await near()) {
    // Whoever is on the network can answer, and say nothing.
    if (needs.clock.now() - nearSince > patienceMs) break
    try {
      return await at(address)
    } catch (error) {
      // Most are of other meshes. Whoever it is has seen nothing of the secret.
      const { code, message } = toShoalError(error)
      needs.log.info('no entry here, either', { address: address.toString(), code, message })
      if (code !== 'ERR_PEER_LOST' && code !== 'ERR_OTHER_MESH') failure = toShoalError(error)
    }
  }
  if (failure !== undefined && failure.code !== 'ERR_PEER_LOST') throw failure
  throw new ShoalError('ERR_PEER_LOST', `nobody answers at ${link.addresses.join(', ')}`, {
    hint: unreachable,
    cause: failure,
  })
}

const door = { protocol: joinProtocol, prologue: joinPrologue }

/** Those who let others in and are heard on the local network. */
async function inviters({ log }: NewcomerNeeds): Promise<Multiaddr[]> {
  const heard = await hearBeacons({ interfaces: networkInterfaces, log }, { ms: listenMs, quietMs })
  return [...heard.values()].slice(0, maxNear).flatMap((ways) => {
    return ways.filter((way) => isNeighbour(hostOf(way), networkInterfaces)).slice(0, maxAddressesEach)
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
