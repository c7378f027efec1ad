import { randomBytes } from 'node:crypto'
import type { SecuredConnection } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { type Interfaces, remoteHostOf } from './addresses.ts'
import {
  decodeNonce,
  decodeRequest,
  encodeAskRefusal,
  encodeNonce,
  encodeSign,
  encodeState,
  maxRequestBytes,
  type Request,
} from './ask-messages.ts'
import { issueCertificate, mayGrant, type Role } from './certificate.ts'
import { boundEncryption, type Encrypter } from './encryption.ts'
import { meshKeyOf } from './genesis.ts'
import { askPrologue, askProtocol } from './join-protocol.ts'
import { type Members, serial } from './members.ts'
import { isNeighbour } from './neighbours.ts'
import { type PendingJoin, PendingJoins } from './pending-joins.ts'
import { commitmentTo, nonceBytes, shortCode } from './short-code.ts'
import { hex, maxChain, sameBytes } from './statement.ts'
import { Talk } from './talk.ts'
import { Visits } from './visits.ts'
import { sendOffer, sendWelcome } from './welcome.ts'

export interface AskDeskNeeds {
  clock: Clock
  log: Logger
  members: Members
  interfaces: Interfaces
  /** The mesh's secret. */
  secret: Uint8Array
  /** Whether newcomers may ask to be approved. Whoever finds an open mesh needs nobody's approval. */
  byApproval: boolean
}

/** libp2p cuts every connection off after as long. */
const deadlineMs = 2900
const farewellMs = 500
/** So long a newcomer that asks whether it was approved is kept waiting for the answer. */
const pollMs = 2000
/** In an open mesh one member lets so many in within ten minutes: room in the roster is for all. */
const maxEntries = 32
const windowMs = 600_000

/** What a newcomer gets that somebody has vouched for by no more than "yes". */
const granted: readonly Role[] = ['member', 'lender']

interface Visitor {
  talk: Talk
  key: Uint8Array
  channel: Uint8Array
  address: string
}

/** Hears newcomers on the same network that have no link: those of an open mesh come in, of others somebody has to say yes. */
export class AskDesk {
  readonly pending: PendingJoins
  readonly #needs: AskDeskNeeds
  readonly #visits = new Visits()
  #entries: number[] = []

  constructor(needs: AskDeskNeeds) {
    this.#needs = needs
    this.pending = new PendingJoins(needs.clock)
  }

  /** Whether this node may let anybody in who asks. */
  get isOpen(): boolean {
    const { members, byApproval } = this.#needs
    if (!members.genesis.body.open && !byApproval) return false
    if (members.objectionToSelf() !== undefined) return false
    const { body, chain } = members.own()
    // Whoever is the third in a row issues nothing, whatever its roles are.
    return mayGrant(body.roles, 'member') && chain.length + 1 < maxChain
  }

  /** How connections of newcomers are taken. Each ends with an error for libp2p, because there is nothing behind it. */
  encrypter(): Encrypter {
    return (components) => ({
      protocol: askProtocol,
      secureInbound: async (connection, options) => {
        const ending = new AbortController()
        const signal = AbortSignal.any([ending.signal, ...(options?.signal === undefined ? [] : [options.signal])])
        const address = remoteHostOf(connection)
        if (!this.isOpen) throw new ShoalError('ERR_ROLE', 'this node lets nobody in')
        if (!isNeighbour(address, this.#needs.interfaces))
          throw new ShoalError('ERR_ROLE', `${address} is on no network of this machine`)
        const { noise, channel } = boundEncryption(askPrologue, components)
        const secured = await noise.secureInbound(connection, { ...options, signal, skipStreamMuxerNegotiation: true })
        await this.#serve(secured, { channel: channel(), address, evict: (reason) => ending.abort(reason) }, signal)
        throw new ShoalError('ERR_PEER_LOST', 'a newcomer was served')
      },
      secureOutbound: async () => {
        throw new ShoalError('ERR_UNSUPPORTED', 'members do not ask')
      },
    })
  }

  /**
   * Lets in the newcomer that shows this code.
   * @param by the key of the member whose person has said yes
   * @returns undefined when none shows it
   * @throws ShoalError ERR_REVOKED, ERR_ROLE, ERR_CHAIN_LENGTH
   */
  async approve(code: string, by: Uint8Array): Promise<PendingJoin | undefined> {
    const found = this.pending.withCode(code)
    if (found === undefined) return undefined
    await this.#letIn(found, by)
    this.pending.remove(found.key)
    return found
  }

  async #serve(
    { connection, remotePeer }: SecuredConnection,
    { channel, address, evict }: { channel: Uint8Array; address: string; evict(reason: ShoalError): void },
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, log } = this.#needs
    const talk = new Talk(connection, { clock, deadlineMs, signal })
    const key = remotePeer.publicKey?.raw
    try {
      if (key?.length !== 32) throw new ShoalError('ERR_NOT_MEMBER', 'its key is of another kind')
      const request = decodeRequest(await talk.receive(maxRequestBytes))
      const visit = this.#visits.enter(address, evict)
      try {
        await this.#answer(request, { talk, key, channel, address })
      } finally {
        visit.leave()
      }
      await talk.gone(farewellMs)
    } catch (error) {
      const { code, message } = toShoalError(error, 'ERR_DECODE')
      log.debug('somebody who asked was refused', { peer: remotePeer.toString(), address, code, message })
      await talk.leave(encodeAskRefusal(code), farewellMs)
      throw error
    } finally {
      talk.end()
      connection.abort(new Error('a newcomer was served'))
    }
  }

  async #answer(request: Request, visitor: Visitor): Promise<void> {
    const { members } = this.#needs
    const { genesis, roster } = members
    const { talk, key } = visitor
    if (request.ask === 'look') {
      const { name, open } = genesis.body
      talk.send(encodeSign({ mesh: meshKeyOf(genesis), name, open }))
      return
    }
    roster.checkKey(key)
    if (request.ask === 'code') await this.#code(request, visitor)
    else if (request.ask === 'poll') await this.#poll(visitor)
    else await this.#enter(request.name, visitor)
  }

  async #code(
    { commitment, name }: { commitment: Uint8Array; name: string },
    { talk, key: newcomer, channel, address }: Visitor,
  ): Promise<void> {
    const { members, log, byApproval } = this.#needs
    if (!byApproval) throw new ShoalError('ERR_ROLE', 'nobody is let in by approval')
    // Before the nonce is shown: whoever knows it knows the code, and could try until it likes the code.
    this.pending.attempt(newcomer, address)
    const memberNonce = new Uint8Array(randomBytes(nonceBytes))
    talk.send(encodeNonce(memberNonce))
    const newcomerNonce = decodeNonce(await talk.receive(maxRequestBytes))
    if (!sameBytes(commitmentTo(newcomerNonce, newcomer), commitment)) {
      throw new ShoalError('ERR_SIGNATURE', 'it has shown another nonce than it had promised')
    }
    const { key: member, genesis } = members
    const init = { mesh: meshKeyOf(genesis), newcomer, member, newcomerNonce, memberNonce, channel }
    this.pending.add({ key: newcomer, name, address }, shortCode(init))
    log.info('somebody asks to be let in', { name, address })
    talk.send(encodeState(false))
  }

  async #poll({ talk, key }: Visitor): Promise<void> {
    const { members } = this.#needs
    if (!this.#isMember(key)) await this.pending.decided(key, pollMs)
    const approved = this.#isMember(key)
    talk.send(encodeState(approved))
    if (approved) this.#welcome(talk, members.roster.certificateOf(key, members.now).bytes)
  }

  async #enter(name: string, { talk, key, address }: Visitor): Promise<void> {
    const { members, clock, log } = this.#needs
    if (!members.genesis.body.open) throw new ShoalError('ERR_ROLE', 'this mesh is not open')
    const now = clock.now()
    this.#entries = this.#entries.filter((at) => now - at < windowMs)
    if (!this.#isMember(key)) {
      if (this.#entries.length >= maxEntries) throw new ShoalError('ERR_LIMIT', 'too many have come lately')
      this.#entries.push(now)
      await this.#letIn({ key, name, address, since: clock.wall() }, members.key)
      log.info('somebody has joined the open mesh', { name, address })
    }
    this.#welcome(talk, members.roster.certificateOf(key, members.now).bytes)
  }

  #welcome(talk: Talk, certificate: Uint8Array): void {
    const { members, secret } = this.#needs
    sendOffer(talk, members)
    sendWelcome(talk, members, secret, certificate)
  }

  #isMember(key: Uint8Array): boolean {
    const { roster, now } = this.#needs.members
    return roster.certificates(now).some(({ body }) => sameBytes(body.subject, key))
  }

  async #letIn({ key, name, address }: PendingJoin, by: Uint8Array): Promise<void> {
    const { members, log } = this.#needs
    const issuer = members.issuer()
    members.roster.checkKey(key)
    const roles = granted.filter((role) => mayGrant(issuer.certificate.body.roles, role))
    const init = { subject: key, name, roles, invitedBy: by, serial: serial() }
    await members.say([issueCertificate(issuer, init, members.now)])
    log.info('a newcomer was let in', { name, address, key: hex(key) })
  }
}
