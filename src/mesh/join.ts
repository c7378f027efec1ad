import { setTimeout as delay } from 'node:timers/promises'
import type { SecuredConnection } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { createLibp2p } from 'libp2p'
import type { Clock } from '../base/clock.ts'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { readMultiaddr } from './addresses.ts'
import { mayGrant } from './certificate.ts'
import { boundEncryption, type Encrypter } from './encryption.ts'
import { decodeGenesis, type Genesis } from './genesis.ts'
import type { Identity } from './identity.ts'
import { encodeProof, proveInvite } from './invite.ts'
import type { InviteLink } from './invite-link.ts'
import {
  decodeOffer,
  decodeRosterPart,
  decodeWelcome,
  encodeAsk,
  encodeJoinProof,
  maxAnswerBytes,
  maxRosterMessages,
} from './join-messages.ts'
import { joinPrologue, joinProtocol } from './join-protocol.ts'
import { signingKeyOf } from './members.ts'
import { Roster } from './roster.ts'
import { Talk } from './talk.ts'

export interface Joined {
  genesis: Genesis
  secret: Uint8Array
  /** With this node's certificate in it. */
  roster: Roster
}

export interface JoinNeeds {
  clock: Clock
  log: Logger
  identity: Identity
}

/** For one address. */
const deadlineMs = 5000
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
export async function joinMesh(needs: JoinNeeds, link: InviteLink, name: string): Promise<Joined> {
  let joined: Joined | undefined
  let failure: ShoalError | undefined
  const startedAt = needs.clock.now()
  const node = await createLibp2p({
    privateKey: needs.identity.privateKey,
    addresses: { listen: [] },
    transports: [tcp()],
    connectionEncrypters: [
      newcomer(async (secured, channel, signal) => {
        try {
          joined = await converse(needs, secured, { link, name, channel, signal })
        } catch (error) {
          failure = toShoalError(error, 'ERR_DECODE')
        }
      }),
    ],
    streamMuxers: [],
    connectionManager: { dialTimeout: deadlineMs },
    connectionMonitor: { enabled: false },
  })
  try {
    for (let attempt = 0; attempt < attempts; attempt++) {
      for (const text of link.addresses) {
        const address = readMultiaddr(text)
        if (address === undefined) continue
        const error = await node.dial(address).then(
          () => undefined,
          (thrown: unknown) => thrown,
        )
        if (joined !== undefined) return joined
        if (failure !== undefined && final.has(failure.code)) throw failure
        needs.log.info('no entry here', { address: text, message: toShoalError(failure ?? error).message })
      }
      const isLost = failure === undefined || codeOf(failure) === 'ERR_PEER_LOST'
      if (!isLost || needs.clock.now() - startedAt > patienceMs) break
      // The clock's timers keep no process alive, and `shoal join` has nothing else that does.
      await delay(pauseMs)
    }
  } finally {
    await node.stop()
  }
  throw (
    failure ?? new ShoalError('ERR_PEER_LOST', `nobody answers at ${link.addresses.join(', ')}`, { hint: unreachable })
  )
}

const unreachable = 'Is the machine that made the link running, and on the same network? Ask for a new link.'

/** An encrypter that talks and then always fails: there is nothing behind such a connection. */
function newcomer(
  talk: (secured: SecuredConnection, channel: Uint8Array, signal: AbortSignal | undefined) => Promise<void>,
): Encrypter {
  return (components) => ({
    protocol: joinProtocol,
    async secureOutbound(connection, options) {
      const { noise, channel } = boundEncryption(joinPrologue, components)
      const secured = await noise.secureOutbound(connection, { ...options, skipStreamMuxerNegotiation: true })
      await talk(secured, channel(), options?.signal)
      throw new ShoalError('ERR_PEER_LOST', 'joining is over')
    },
    async secureInbound() {
      throw new ShoalError('ERR_UNSUPPORTED', 'a newcomer is dialled by nobody')
    },
  })
}

async function converse(
  { clock, identity }: JoinNeeds,
  { connection, remotePeer }: SecuredConnection,
  init: { link: InviteLink; name: string; channel: Uint8Array; signal: AbortSignal | undefined },
): Promise<Joined> {
  const { link, name, channel } = init
  const inviter = remotePeer.publicKey?.raw
  // The roster comes in one go, faster than its signatures can be verified.
  const maxWaitingBytes = maxRosterMessages * maxAnswerBytes
  const talk = new Talk(connection, { clock, deadlineMs, signal: init.signal, maxWaitingBytes })
  try {
    if (inviter?.length !== 32) throw new ShoalError('ERR_NOT_MEMBER', 'its key is of another kind')
    talk.send(encodeAsk({ mesh: link.mesh, invite: link.invite }))
    const offer = decodeOffer(await talk.receive(maxAnswerBytes))
    const genesis = decodeGenesis(offer.genesis, link.mesh)
    const roster = new Roster(genesis)
    const { roles } = roster.admit(offer.certificate, inviter, clock.wall())
    if (!mayGrant(roles, 'member'))
      throw new ShoalError('ERR_ROLE', 'the member at this address may not let anybody in')

    const subject = signingKeyOf(identity).publicKey
    const proof = proveInvite({ secret: link.secret, mesh: link.mesh, subject, inviter, channel })
    talk.send(encodeJoinProof({ proof: encodeProof(proof), name }))
    const welcome = decodeWelcome(await talk.receive(maxAnswerBytes))
    roster.admit(welcome.certificate, subject, clock.wall())
    for (let part = 0; part < maxRosterMessages; part++) {
      const { statements, last } = decodeRosterPart(await talk.receive(maxAnswerBytes))
      for (const bytes of statements) takeIn(roster, bytes, clock.wall())
      if (last) break
    }
    roster.verify(subject, clock.wall())
    return { genesis, secret: welcome.secret, roster }
  } finally {
    talk.end()
    connection.abort(new Error('joining is over'))
  }
}

/** What is out of date here, or no statement, is no reason not to join. */
function takeIn(roster: Roster, bytes: Uint8Array, now: number): void {
  try {
    roster.add(bytes, now)
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error
  }
}
