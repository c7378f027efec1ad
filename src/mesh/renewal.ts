import type { Clock, Random } from '../base/clock.ts'
import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { RekeyRequest } from '../wire/generated/control_pb.ts'
import { isEnding, mayGrant } from './certificate.ts'
import type { ControlMessage } from './control.ts'
import type { SigningKey } from './ed25519.ts'
import { endOfMesh } from './ending.ts'
import { meshKeyOf } from './genesis.ts'
import { keyOf, type Members, peerIdOf } from './members.ts'
import { checkSuccessor, proveSuccessor } from './rekey.ts'
import { maxChain, nameSchema, sameBytes } from './statement.ts'
import { handOver } from './succession.ts'
import { certifySuccessor, endBefore, endFollowed, mayBeRenewedBy, mayEnd } from './successor.ts'

export interface RenewalNeeds {
  clock: Clock
  random: Random
  log: Logger
  members: Members
  /** Peers that can be sent to. */
  peers(): readonly string[]
  send(peerId: string, body: ControlMessage): boolean
}

const intervalMs = 30 * 60_000
/** A member gets as often at most another certificate with new dates, and one with another name … */
const patienceMs = 60_000
/** … and so many names in a day. */
const maxNames = 10
const dayMs = 24 * 3_600_000
const maxRemembered = 256
const complaintMs = 3_600_000

/** Keeps this node's certificate from running out, and renews those of others for as long as this node may. */
export class Renewal {
  readonly #needs: RenewalNeeds
  readonly #served = new Map<string, number>()
  /** Peers for whose next keys a certificate is being written. */
  readonly #succeeding = new Set<string>()
  /** Peer → names that it got since `#namedSince`. */
  readonly #named = new Map<string, number>()
  #namedSince = Number.NEGATIVE_INFINITY
  #warnedAt = Number.NEGATIVE_INFINITY
  /** What was said of a peer → when. */
  readonly #complaints = new Map<string, number>()
  #isTold = false
  #askedAt = Number.NEGATIVE_INFINITY
  #cancel: () => void = () => undefined
  #stopListening: () => void = () => undefined

  constructor(needs: RenewalNeeds) {
    this.#needs = needs
  }

  start(): void {
    this.#stopListening = this.#needs.members.onChange(() => this.#look())
    this.#run()
  }

  stop(): void {
    this.#stopListening()
    this.#cancel()
  }

  #run(): void {
    void this.#renew()
    this.#warn()
    this.#cancel = this.#needs.clock.after(intervalMs, () => this.#run())
  }

  /** Somebody may have let a key in again that whoever is here has given up. */
  #look(): void {
    const { members } = this.#needs
    if (members.objectionToSelf() !== undefined || !mayEnd(members)) return
    for (const peerId of [peerIdOf(members.key), ...this.#needs.peers()]) this.#endBefore(peerId)
  }

  /** A peer that may be able to help has come. */
  onUp(peerId: string): void {
    // Of many that come together one is enough.
    const isAsked = this.#needs.clock.now() - this.#askedAt < patienceMs
    if (!isAsked && this.#isDue(this.#isAdministrator(peerId)) && this.#mayHelp(peerId, this.#deepest()))
      this.#ask(peerId, '')
    this.#endBefore(peerId)
  }

  /** A key that is in use ends the one before it. */
  #endBefore(peerId: string): void {
    const { members } = this.#needs
    if (members.objectionToSelf() !== undefined || members.objectionTo(peerId) !== undefined) return
    endBefore(members, keyOf(peerId)).catch((error: unknown) =>
      this.#complain('the key that a member had before was not shut out', peerId, error),
    )
  }

  /** It is tried again with whatever is heard, and a member can ask as often as it likes: the same is said once an hour. */
  #complain(what: string, peerId: string, error: unknown): void {
    const { clock, log } = this.#needs
    const { code, message, hint } = toShoalError(error)
    const name = `${what} ${peerId} ${code}`
    const saidAt = this.#complaints.get(name)
    if (saidAt !== undefined && clock.now() - saidAt < complaintMs) return
    if (this.#complaints.size >= maxRemembered) this.#complaints.clear()
    this.#complaints.set(name, clock.now())
    log.warn(what, { peer: peerId, code, message, hint })
  }

  /** Asks a connected member that may for a certificate with another name; false when there is none. */
  rename(name: string): boolean {
    const helper = this.#helpers(maxChain)[0]
    return helper !== undefined && this.#ask(helper, name)
  }

  /** A member asks for a certificate with new dates, or with another name unless that is empty. */
  onRequest(peerId: string, name: string): void {
    const { clock, log } = this.#needs
    const now = clock.now()
    const kind = `${name === '' ? 'renew' : 'rename'} ${peerId}`
    const servedAt = this.#served.get(kind)
    if (servedAt !== undefined && now - servedAt < patienceMs) return
    if (this.#served.size >= maxRemembered) this.#served.clear()
    this.#served.set(kind, now)
    if (name !== '' && (!nameSchema.safeParse(name).success || !this.#mayName(peerId, now))) return
    this.#endBefore(peerId)
    this.#serve(peerId, name).catch((error: unknown) => {
      const { code, message } = toShoalError(error)
      log.debug('a certificate was not renewed', { peer: peerId, code, message })
    })
  }

  async #serve(peerId: string, name: string): Promise<void> {
    const { members } = this.#needs
    // Its owner would not ask.
    if (name === '' && (await endFollowed(members, keyOf(peerId)))) return
    await members.renewMember(keyOf(peerId), name)
  }

  /** Asks a connected administrator to let a new key follow this node's; false when there is none. */
  succeed(next: SigningKey): boolean {
    const helper = this.#helpers(this.#deepest()).find((peerId) => this.#isAdministrator(peerId))
    if (helper === undefined) return false
    const { members, send } = this.#needs
    const mesh = meshKeyOf(members.genesis)
    const proof = proveSuccessor(mesh, members.key, next)
    const { sig: consent } = handOver(mesh, members.signer, next.publicKey)
    return send(helper, { case: 'rekeyRequest', value: { key: next.publicKey, proof, consent } })
  }

  /** A member wants another key to follow its own. Of two that it names, as two machines with one key would, the first one holds. */
  onRekey(peerId: string, request: Pick<RekeyRequest, 'key' | 'proof' | 'consent'>): void {
    if (this.#succeeding.has(peerId)) return
    this.#succeeding.add(peerId)
    this.#certify(peerId, request)
      .catch((error: unknown) => this.#complain('a new key was not certified', peerId, error))
      .finally(() => this.#succeeding.delete(peerId))
  }

  async #certify(peerId: string, { key, proof, consent }: Parameters<Renewal['onRekey']>[1]): Promise<void> {
    const { members } = this.#needs
    const old = keyOf(peerId)
    checkSuccessor(meshKeyOf(members.genesis), old, key, proof)
    await certifySuccessor(members, key, { key: old, sig: consent })
  }

  async #renew(): Promise<void> {
    const { log, members } = this.#needs
    if (this.#isFollowed()) {
      // `status` says so, too, for as long as it is so, and what to do.
      if (!this.#isTold) log.info('another key was certified in place of this one', { code: 'ERR_FOLLOWED' })
      this.#isTold = true
      return
    }
    try {
      await members.renewSelf()
    } catch (error) {
      const { code, message } = toShoalError(error)
      log.warn('the own certificate was not renewed', { code, message })
    }
    if (!this.#isDue(true)) return
    const helpers = this.#helpers(this.#deepest())
    const helper =
      helpers.find((peerId) => this.#isAdministrator(peerId)) ?? (this.#isDue(false) ? helpers[0] : undefined)
    if (helper !== undefined) this.#ask(helper, '')
  }

  #mayName(peerId: string, now: number): boolean {
    if (now - this.#namedSince >= dayMs || this.#named.size >= maxRemembered) {
      this.#namedSince = now
      this.#named.clear()
    }
    const count = (this.#named.get(peerId) ?? 0) + 1
    this.#named.set(peerId, count)
    return count <= maxNames
  }

  #isDue(toAdministrator: boolean): boolean {
    const { members } = this.#needs
    // Shut out, or too late: nobody can renew it any more.
    if (members.objectionToSelf() !== undefined || this.#isFollowed()) return false
    return members.isDue(toAdministrator)
  }

  /** A key that this node's own has said comes after it is a member's. */
  #isFollowed(): boolean {
    return this.#needs.members.heirs().length > 0
  }

  #isAdministrator(peerId: string): boolean {
    const { members } = this.#needs
    return members.objectionTo(peerId) === undefined && members.member(peerId).roles.includes('admin')
  }

  /**
   * How far from the root another certificate may be, in certificates, so that this node can go on doing what it does. In the
   * last quarter of its time staying a member is all that matters.
   */
  #deepest(): number {
    const { members } = this.#needs
    const own = members.own()
    const { body, chain } = own
    return isEnding(own, members.now) || !mayGrant(body.roles, 'member')
      ? maxChain
      : Math.max(chain.length + 1, maxChain - 1)
  }

  /** Who may sign for this node, the best first: on the machine that founded the mesh may be the root key. */
  #helpers(deepest: number): string[] {
    const { members, random } = this.#needs
    const able = this.#needs.peers().filter((peerId) => this.#mayHelp(peerId, deepest))
    const at = Math.floor(random() * able.length)
    const rank = (peerId: string): number =>
      sameBytes(members.member(peerId).invitedBy, members.genesis.body.root) ? 0 : members.depthOf(peerId)
    return [...able.slice(at), ...able.slice(0, at)].toSorted((a, b) => rank(a) - rank(b))
  }

  /** Whether a peer may grant what this node has, at most `deepest` certificates below the root. */
  #mayHelp(peerId: string, deepest: number): boolean {
    const { members } = this.#needs
    if (members.objectionToSelf() !== undefined || members.objectionTo(peerId) !== undefined) return false
    const { roles } = members.member(peerId)
    const mayGrantAll = members.own().body.roles.every((role) => mayGrant(roles, role))
    return mayGrantAll && members.depthOf(peerId) < deepest && mayBeRenewedBy(members, peerId)
  }

  /** `status` says so, too. */
  #warn(): void {
    const { clock, log, members } = this.#needs
    if (clock.now() - this.#warnedAt < dayMs || endOfMesh(members) === undefined) return
    this.#warnedAt = clock.now()
    const message =
      'no administrator has a certificate of the root key for another 30 days: start the machine that founded the mesh, or `shoal init --recover`'
    log.warn('the mesh will end', { code: 'ERR_CHAIN_LENGTH', message })
  }

  #ask(peerId: string, name: string): boolean {
    this.#askedAt = this.#needs.clock.now()
    return this.#needs.send(peerId, { case: 'renewalRequest', value: { name } })
  }
}
