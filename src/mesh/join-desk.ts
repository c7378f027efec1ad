import type { SecuredConnection } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { remoteHostOf } from './addresses.ts'
import type { Certificate } from './certificate.ts'
import { boundEncryption, type Encrypter } from './encryption.ts'
import { meshKeyOf } from './genesis.ts'
import { decodeProof, inviteIdOf } from './invite.ts'
import { decodeAsk, decodeJoinProof, encodeRefusal, maxAskBytes } from './join-messages.ts'
import { joinPrologue, joinProtocol } from './join-protocol.ts'
import { type Members, serial } from './members.ts'
import { checkRequest, type JoinRequest, redeem } from './redeem.ts'
import { sameBytes } from './statement.ts'
import { Talk } from './talk.ts'
import { Visits } from './visits.ts'
import { sendOffer, sendWelcome } from './welcome.ts'

export interface JoinDeskNeeds {
  clock: Clock
  log: Logger
  members: Members
  /** The mesh's secret. */
  secret: Uint8Array
}

/** How a newcomer has come. */
interface Way {
  /** The hash of the handshake. */
  channel: Uint8Array
  /** IP address. */
  host: string
  evict(reason: ShoalError): void
}

/** libp2p cuts every connection off after as long. */
const deadlineMs = 2900
const farewellMs = 1000

/** Lets newcomers in that have an invitation. Such a connection never becomes more than that. */
export class JoinDesk {
  readonly #needs: JoinDeskNeeds
  readonly #visits = new Visits()

  constructor(needs: JoinDeskNeeds) {
    this.#needs = needs
  }

  /** How connections of newcomers are taken. Each ends with an error for libp2p, because there is nothing behind it. */
  encrypter(): Encrypter {
    return (components) => ({
      protocol: joinProtocol,
      secureInbound: async (connection, options) => {
        const ending = new AbortController()
        const signal = AbortSignal.any([ending.signal, ...(options?.signal === undefined ? [] : [options.signal])])
        const { noise, channel } = boundEncryption(joinPrologue, components)
        const secured = await noise.secureInbound(connection, { ...options, signal, skipStreamMuxerNegotiation: true })
        const evict = (reason: ShoalError): void => ending.abort(reason)
        await this.#serve(secured, { channel: channel(), host: remoteHostOf(connection), evict }, signal)
        throw new ShoalError('ERR_PEER_LOST', 'a newcomer was served')
      },
      secureOutbound: async () => {
        throw new ShoalError('ERR_UNSUPPORTED', 'members do not join')
      },
    })
  }

  async #serve(
    { connection, remotePeer }: SecuredConnection,
    way: Way,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { clock, log } = this.#needs
    const talk = new Talk(connection, { clock, deadlineMs, signal })
    const remote = remotePeer.publicKey?.raw
    try {
      if (remote?.length !== 32) throw new ShoalError('ERR_INVITE', 'its key is of another kind')
      const name = await this.#admit(talk, remote, way)
      log.info('a newcomer was let in', { peer: remotePeer.toString(), name })
      await talk.gone(farewellMs)
    } catch (error) {
      const { code, message } = toShoalError(error, 'ERR_DECODE')
      log.info('a newcomer was refused', { peer: remotePeer.toString(), code, message })
      await talk.leave(encodeRefusal(code), farewellMs)
      throw error
    } finally {
      talk.end()
      connection.abort(new Error('a newcomer was served'))
    }
  }

  async #admit(talk: Talk, remote: Uint8Array, { channel, host, evict }: Way): Promise<string> {
    const { members } = this.#needs
    const { genesis } = members
    const ask = decodeAsk(await talk.receive(maxAskBytes))
    if (!sameBytes(ask.mesh, meshKeyOf(genesis)))
      throw new ShoalError('ERR_OTHER_MESH', 'it wants to join another mesh')
    // Who does not know of an open invitation learns nothing about the mesh.
    const before = this.#checkInvite(ask.invite, remote)
    const visit = this.#visits.enter(host, evict)
    try {
      sendOffer(talk, members)
      const { proof, name } = decodeJoinProof(await talk.receive(maxAskBytes))
      const request = { proof: decodeProof(proof), remote, channel, name, serial: serial() }
      visit.keep()
      await this.#welcome(talk, request, before)
      return name
    } finally {
      visit.leave()
    }
  }

  /**
   * @returns the certificate that this very newcomer has got for the invitation, if what it was told then did not reach it
   * @throws ShoalError as `Roster.openInvite`
   */
  #checkInvite(invite: Uint8Array, remote: Uint8Array): Certificate | undefined {
    const { roster, now } = this.#needs.members
    try {
      roster.openInvite(invite, now)
      return undefined
    } catch (error) {
      if (codeOf(error) !== 'ERR_INVITE_USED') throw error
      const before = roster.certificates(now).find(({ body }) => sameBytes(body.subject, remote))
      if (before?.body.invite == null || !sameBytes(before.body.invite, invite)) throw error
      return before
    }
  }

  async #welcome(talk: Talk, request: JoinRequest, before: Certificate | undefined): Promise<void> {
    const { members, secret } = this.#needs
    if (before !== undefined) {
      const isSame = before.body.invite !== null && sameBytes(inviteIdOf(request.proof.verifier), before.body.invite)
      if (!isSame) throw new ShoalError('ERR_REPLAYED', 'the proof is of another invitation')
      checkRequest(members.issuer(), request)
      sendWelcome(talk, members, secret, before.bytes)
      return
    }
    const { roster } = members
    const needs = { book: roster, issuer: members.issuer(), highest: members.highestIssuer() }
    const { certificate, redemption } = redeem(needs, request, members.now)
    await members.say([certificate, redemption])
    sendWelcome(talk, members, secret, certificate.bytes)
  }
}
