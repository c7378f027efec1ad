import { networkInterfaces } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { Multiaddr } from '@multiformats/multiaddr'
import { base32 } from 'multiformats/bases/base32'
import { ShoalError, toShoalError } from '../base/errors.ts'
import { isDialable, readMultiaddr, withoutPeer } from './addresses.ts'
import { askAround } from './ask-around.ts'
import { encodeProof, proveInvite } from './invite.ts'
import { type InviteLink, isMaker } from './invite-link.ts'
import { encodeAsk, encodeJoinProof } from './join-messages.ts'
import { joinPrologue, joinProtocol } from './join-protocol.ts'
import { memberService } from './local-discovery.ts'
import { readPacket } from './mdns-packets.ts'
import { keyOf, signingKeyOf } from './members.ts'
import { converse, type NewcomerNeeds, type OtherEnd } from './newcomer.ts'
import type { Talk } from './talk.ts'
import { type Joined, receiveOffer, receiveWelcome } from './welcome.ts'

export interface JoinOptions {
  /** Whether the local networks are asked where the maker of the link is now. Default: true. */
  mdns?: boolean
}

const door = { protocol: joinProtocol, prologue: joinPrologue }
/** For each address, should it be busy … */
const attempts = 3
/** … as long as no more time than this has passed. */
const patienceMs = 10_000
const pauseMs = 300
/** The next address is not kept waiting by one at which nobody answers. */
const staggerMs = 250
/** So long the local networks are listened to. */
const listenMs = 3000
/** Anybody can say anything there. */
const maxHeard = 8
/** A refusal with one of these is the mesh's last word; elsewhere it may do better after any other. */
const final: ReadonlySet<string> = new Set([
  'ERR_INVITE_USED',
  'ERR_INVITE_BURNED',
  'ERR_EXPIRED',
  'ERR_REVOKED',
  'ERR_REPLAYED',
  'ERR_SIGNATURE',
])

/**
 * Becomes a member of the mesh that a link names, by whoever made the link: at the addresses in it, or where the local networks say that
 * this one is by now. Nothing is written.
 * @param name what the others see; 1 to 64 bytes
 * @returns with `seeds`, multiaddrs of the maker: first that at which it was
 * @throws ShoalError as the inviter refuses: ERR_INVITE_…, ERR_EXPIRED, ERR_REVOKED, ERR_OTHER_MESH; ERR_ROLE when only members
 *   answer that may not invite; ERR_PEER_LOST when nobody answers
 */
export async function joinMesh(
  needs: NewcomerNeeds,
  link: InviteLink,
  name: string,
  { mdns = true }: JoinOptions = {},
): Promise<Joined & { seeds: string[] }> {
  const ending = new AbortController()
  const failures: ShoalError[] = []
  const { promise, resolve } = Promise.withResolvers<Joined & { seeds: string[] }>()
  const startedAt = needs.clock.now()
  const enter = async (address: Multiaddr, afterMs: number): Promise<void> => {
    // The clock's timers keep no process alive, and `shoal join` has nothing else that does.
    await delay(afterMs)
    for (let attempt = 1; !ending.signal.aborted; attempt++) {
      try {
        const speak = (talk: Talk, other: OtherEnd): Promise<Joined> => show(needs, link, name, talk, other)
        const joined = await converse(needs, address, door, speak, { signal: ending.signal })
        resolve({ ...joined, seeds: [...new Set([address.toString(), ...link.addresses])].slice(0, maxHeard) })
        return
      } catch (error) {
        const refusal = toShoalError(error)
        needs.log.info('no entry here', { address: address.toString(), message: refusal.message })
        failures.push(refusal)
        const isLost = refusal.code === 'ERR_PEER_LOST'
        // What the maker itself has said it says everywhere. Whoever is just being let in at another address is not cut off by this.
        if (final.has(refusal.code) || (link.key !== undefined && !isLost)) ending.abort()
        const isOver = needs.clock.now() - startedAt > patienceMs
        if (!isLost || attempt >= attempts || isOver) return
      }
      await delay(pauseMs)
    }
  }
  const known = link.addresses.map(readMultiaddr).filter((address) => address !== undefined)
  const entering = known.map((address, at) => enter(address, at * staggerMs))
  const isKnown = new Set(known.map(String))
  if (mdns) entering.push(elsewhere(needs, link, isKnown, ending.signal, (address) => enter(address, 0)))
  try {
    return await Promise.race([promise, Promise.all(entering).then(() => Promise.reject(worst(failures, link)))])
  } finally {
    ending.abort()
  }
}

/**
 * Where the local networks say that the maker of a link is, besides the addresses in it: its address can have changed. It has to show
 * its key there, so whoever else says so gains nothing.
 * @param isKnown addresses that are tried already; those that are heard are added
 */
async function elsewhere(
  { log }: NewcomerNeeds,
  link: InviteLink,
  isKnown: Set<string>,
  signal: AbortSignal,
  enter: (address: Multiaddr) => Promise<void>,
): Promise<void> {
  if (link.key === undefined) return
  const service = memberService(base32.baseEncode(link.mesh))
  const most = isKnown.size + maxHeard
  const entering: Promise<void>[] = []
  const onMessage = (bytes: Uint8Array): void => {
    for (const [peerId, addresses] of readPacket(bytes, service, '').found) {
      if (!hasMade(link, peerId)) continue
      for (const address of addresses.filter(isDialable).map(withoutPeer)) {
        if (isKnown.has(address.toString()) || isKnown.size >= most) continue
        isKnown.add(address.toString())
        entering.push(enter(address))
      }
    }
  }
  await askAround({ interfaces: networkInterfaces, log }, { service, ms: listenMs, signal, onMessage })
  await Promise.all(entering)
}

function hasMade(link: InviteLink, peerId: string): boolean {
  try {
    return isMaker(link, keyOf(peerId))
  } catch (error) {
    // Whatever it is, it is no peerId of ours.
    if (error instanceof Error) return false
    throw error
  }
}

/** That nobody answers at one address says less than what was said at another. */
function worst(failures: readonly ShoalError[], { addresses }: InviteLink): ShoalError {
  const last = failures.find(({ code }) => final.has(code)) ?? failures.find(({ code }) => code !== 'ERR_PEER_LOST')
  return (
    last ??
    new ShoalError('ERR_PEER_LOST', `who made the link does not answer at ${addresses.join(', ')}`, {
      hint: unreachable,
      cause: failures[0],
    })
  )
}

const unreachable = 'Is the machine that made the link running, and on the same network? Ask for a new link.'

async function show(
  { clock, identity }: NewcomerNeeds,
  link: InviteLink,
  name: string,
  talk: Talk,
  { key: inviter, channel }: OtherEnd,
): Promise<Joined> {
  // Another inviter may have been kicked: a newcomer cannot know that.
  if (!isMaker(link, inviter)) throw new ShoalError('ERR_PEER_LOST', 'another machine than the one that made the link')
  talk.send(encodeAsk({ mesh: link.mesh, invite: link.invite }))
  const roster = await receiveOffer(talk, clock, { mesh: link.mesh, inviter })
  const subject = signingKeyOf(identity).publicKey
  const proof = proveInvite({ secret: link.secret, mesh: link.mesh, subject, inviter, channel })
  talk.send(encodeJoinProof({ proof: encodeProof(proof), name }))
  return await receiveWelcome(talk, clock, roster, subject)
}
