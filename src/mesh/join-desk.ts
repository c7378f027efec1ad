import type { SecuredConnection } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { boundEncryption, type Encrypter } from './encryption.ts'
import { meshKeyOf } from './genesis.ts'
import { decodeProof } from './invite.ts'
import {
  decodeAsk,
  decodeJoinProof,
  encodeOffer,
  encodeRefusal,
  encodeRosterPart,
  encodeWelcome,
  maxAskBytes,
  statementsPerMessage,
} from './join-messages.ts'
import { joinPrologue, joinProtocol } from './join-protocol.ts'
import { type Members, serial } from './members.ts'
import { redeem } from './redeem.ts'
import { sameBytes } from './statement.ts'
import { Talk } from './talk.ts'

export interface JoinDeskNeeds {
  clock: Clock
  log: Logger
  members: Members
  /** The mesh's secret. */
  secret: Uint8Array
}

/** Newcomers that are served at once. One more, and the one who has been here for longest goes. */
const maxNewcomers = 16
/** libp2p cuts every connection off after as long. */
const deadlineMs = 3000
const farewellMs = 1000

/** Lets newcomers in that have an invitation. Such a connection never becomes more than that. */
export class JoinDesk {
  readonly #needs: JoinDeskNeeds
  /** The longest here first. */
  readonly #newcomers = new Set<AbortController>()

  constructor(needs: JoinDeskNeeds) {
    this.#needs = needs
  }

  /** How connections of newcomers are taken. Each ends with an error for libp2p, because there is nothing behind it. */
  encrypter(): Encrypter {
    return (components) => ({
      protocol: joinProtocol,
      secureInbound: async (connection, options) => {
        const visit = this.#visit()
        const signal = AbortSignal.any([visit.signal, ...(options?.signal === undefined ? [] : [options.signal])])
        try {
          const { noise, channel } = boundEncryption(joinPrologue, components)
          const secured = await noise.secureInbound(connection, {
            ...options,
            signal,
            skipStreamMuxerNegotiation: true,
          })
          await this.#serve(secured, channel(), signal)
        } finally {
          this.#newcomers.delete(visit)
        }
        throw new ShoalError('ERR_PEER_LOST', 'a newcomer was served')
      },
      secureOutbound: async () => {
        throw new ShoalError('ERR_UNSUPPORTED', 'members do not join')
      },
    })
  }

  #visit(): AbortController {
    const [longest] = this.#newcomers
    if (longest !== undefined && this.#newcomers.size >= maxNewcomers) {
      this.#newcomers.delete(longest)
      longest.abort(new ShoalError('ERR_LIMIT', 'too many newcomers at once'))
    }
    const visit = new AbortController()
    this.#newcomers.add(visit)
    return visit
  }

  async #serve(
    { connection, remotePeer }: SecuredConnection,
    channel: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { clock, log } = this.#needs
    const talk = new Talk(connection, { clock, deadlineMs, signal })
    const remote = remotePeer.publicKey?.raw
    try {
      if (remote?.length !== 32) throw new ShoalError('ERR_INVITE', 'its key is of another kind')
      const name = await this.#admit(talk, remote, channel)
      log.info('a newcomer was let in', { peer: remotePeer.toString(), name })
      await talk.gone(farewellMs)
    } catch (error) {
      const { code, message } = toShoalError(error, 'ERR_DECODE')
      log.info('a newcomer was refused', { peer: remotePeer.toString(), code, message })
      if (talk.isOpen) {
        talk.send(encodeRefusal(code))
        await talk.gone(farewellMs)
      }
      throw error
    } finally {
      talk.end()
      connection.abort(new Error('a newcomer was served'))
    }
  }

  async #admit(talk: Talk, remote: Uint8Array, channel: Uint8Array): Promise<string> {
    const { members, secret } = this.#needs
    const { roster, genesis } = members
    const ask = decodeAsk(await talk.receive(maxAskBytes))
    if (!sameBytes(ask.mesh, meshKeyOf(genesis)))
      throw new ShoalError('ERR_OTHER_MESH', 'it wants to join another mesh')
    // Who does not know of an open invitation learns nothing about the mesh.
    roster.openInvite(ask.invite, members.now)
    const issuer = members.issuer()
    talk.send(encodeOffer({ genesis: genesis.bytes, certificate: issuer.certificate.bytes }))

    const { proof, name } = decodeJoinProof(await talk.receive(maxAskBytes))
    const request = { proof: decodeProof(proof), remote, channel, name, serial: serial() }
    const needs = { book: roster, issuer: members.issuer(), highest: members.highestIssuer() }
    const { certificate, redemption } = redeem(needs, request, members.now)
    await members.say([certificate, redemption])
    talk.send(encodeWelcome({ secret, certificate: certificate.bytes }))
    const ids = roster.ids(members.now)
    for (let at = 0; at < ids.length || at === 0; at += statementsPerMessage) {
      const statements = roster.bytesOf(ids.slice(at, at + statementsPerMessage))
      talk.send(encodeRosterPart({ statements, last: at + statementsPerMessage >= ids.length }))
    }
    return name
  }
}
