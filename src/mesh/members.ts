import { randomBytes } from 'node:crypto'
import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import { peerIdFromPublicKey, peerIdFromString } from '@libp2p/peer-id'
import type { Clock } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { type Certificate, type Issuer, issueCertificate, mayGrant, needsRenewal } from './certificate.ts'
import { reportClone } from './clone.ts'
import { type SigningKey, seedBytes, signingKey } from './ed25519.ts'
import { type Genesis, meshIdOf } from './genesis.ts'
import type { Identity } from './identity.ts'
import type { Lines } from './lines.ts'
import { Listeners } from './listeners.ts'
import type { MemberView } from './member-view.ts'
import { checkMayReissue, reissue } from './people.ts'
import { isEnough } from './ranking.ts'
import { loadRootKey } from './root-key.ts'
import type { Roster } from './roster.ts'
import { loadRoster, saveRoster } from './roster-file.ts'
import { sameBytes } from './statement.ts'

export interface MembersNeeds {
  clock: Clock
  log: Logger
}

const serialBytes = 16

/** Who belongs to the mesh, as this node knows it, and what this node may do about it. Kept in `STATE/roster`. */
export class Members {
  readonly roster: Roster
  readonly #needs: MembersNeeds
  readonly #stateDir: string
  readonly #key: SigningKey
  readonly #root: SigningKey | undefined
  readonly #changes: Listeners<[added: readonly Uint8Array[], from: string | undefined]>
  /** This node's certificate, whatever the clock says. */
  #latest: Certificate | undefined
  /** The digest of the roster from which it follows, and of whom it is not known who they are. */
  #doubtful: { digest: Uint8Array; lines: Lines; cloned: ReadonlySet<string>; rivals: ReadonlySet<string> } | undefined
  #saving: Promise<void> = Promise.resolve()
  /** Not begun yet: it will write whatever is known when it begins. */
  #queued: Promise<void> | undefined

  private constructor(
    needs: MembersNeeds,
    stateDir: string,
    keys: { own: SigningKey; root?: SigningKey },
    roster: Roster,
  ) {
    this.#needs = needs
    this.#stateDir = stateDir
    this.#key = keys.own
    this.#root = keys.root
    this.roster = roster
    this.#latest = roster.latestOf(keys.own.publicKey)
    this.#changes = new Listeners(needs.log)
  }

  /**
   * Reads what `foundMesh` or `joinMesh` have left in the state directory.
   * @param mesh the id in `mesh.json`
   * @throws ShoalError ERR_NO_MESH, ERR_ROSTER_DAMAGED, ERR_CONFIG
   */
  static async load(needs: MembersNeeds, stateDir: string, identity: Identity, mesh: string): Promise<Members> {
    const roster = await loadRoster(stateDir, needs.clock.wall())
    if (meshIdOf(roster.genesis) !== mesh) {
      throw new ShoalError('ERR_CONFIG', `${stateDir}: mesh.json and roster are of two meshes`, {
        hint: 'Join the mesh again with a new link.',
      })
    }
    const root = await loadRootKey(stateDir)
    const isRoot = root !== undefined && sameBytes(root.publicKey, roster.genesis.body.root)
    const keys = { own: signingKeyOf(identity), ...(isRoot ? { root } : {}) }
    return new Members(needs, stateDir, keys, roster)
  }

  get genesis(): Genesis {
    return this.roster.genesis
  }

  get now(): number {
    return this.#needs.clock.wall()
  }

  /** This node's own key. */
  get key(): Uint8Array {
    return this.#key.publicKey
  }

  /** This node's own certificate, also one that has run out. @throws ShoalError ERR_NOT_MEMBER when it never had any */
  latest(): Certificate {
    const latest = this.roster.latestOf(this.key) ?? this.#latest
    if (latest !== undefined) return latest
    throw new ShoalError('ERR_NOT_MEMBER', 'this node has no certificate')
  }

  /** The certificate that speaks for this node. @throws ShoalError as `Roster.verify` */
  own(): Certificate {
    const { now } = this
    try {
      this.#latest = this.roster.certificateOf(this.key, now)
      return this.#latest
    } catch (error) {
      // Dropped while a clock was wrong, it may be good again.
      if (this.#latest === undefined || !this.#add(this.#latest.bytes, undefined)) throw error
      return this.roster.certificateOf(this.key, now)
    }
  }

  /** This node's own key, for what is no statement of the roster. */
  get signer(): SigningKey {
    return this.#key
  }

  /** This node as one who signs. @throws ShoalError as `Roster.verify` */
  issuer(): Issuer & { certificate: Certificate } {
    return { genesis: this.genesis, key: this.#key, certificate: this.own() }
  }

  /** The root key, where it is kept here, else this node: for what should last and be above all others. @throws as `issuer` */
  highestIssuer(): Issuer {
    return this.#root === undefined ? this.issuer() : { genesis: this.genesis, key: this.#root }
  }

  /** @throws ShoalError as `Roster.admit` */
  admit(certificate: Uint8Array, remote: Uint8Array): MemberView {
    const before = this.roster.digest(this.now)
    const view = this.roster.admit(certificate, remote, this.now)
    if (!sameBytes(this.roster.digest(this.now), before)) this.#changed([certificate], undefined)
    return view
  }

  /** Why this node is no member; undefined when it is. */
  objectionToSelf(): ShoalError | undefined {
    return this.#objectionTo(this.key)
  }

  /** Why a peer is none of the members; undefined for a member. */
  objectionTo(peerId: string): ShoalError | undefined {
    return this.#objectionTo(keyOf(peerId))
  }

  /** Whether a peer was revoked: then it makes no sense to dial it. */
  isShutOut(peerId: string): boolean {
    return this.objectionTo(peerId)?.code === 'ERR_REVOKED'
  }

  /** The peerIds of members whose keys are in use by two nodes each, as somebody has noticed. This node's own may be among them. */
  cloned(): ReadonlySet<string> {
    return this.#doubts().cloned
  }

  /**
   * The peerIds of members whose keys were both certified for one member: `Lines.rivals`. Until an administrator shuts out the one that
   * is not hers, none of them counts for more than one whose key is in use twice.
   */
  rivals(): ReadonlySet<string> {
    return this.#doubts().rivals
  }

  /** Whether nobody knows who of two is behind a peer: what it says of others' work, or offers to do, is not for use. */
  isDoubtful(peerId: string): boolean {
    return this.cloned().has(peerId) || this.rivals().has(peerId)
  }

  #doubts(): { cloned: ReadonlySet<string>; rivals: ReadonlySet<string> } {
    const digest = this.roster.digest(this.now)
    const lines = this.roster.lines(this.now)
    if (this.#doubtful?.digest !== digest || this.#doubtful.lines !== lines) {
      const keys = this.roster.clones(this.now).map(({ body }) => body.subject)
      const cloned = new Set(keys.filter((key) => this.#objectionTo(key) === undefined).map(peerIdOf))
      const rivals = new Set([...lines.rivals()].map(peerIdOfHex))
      this.#doubtful = { digest, lines, cloned, rivals }
    }
    return this.#doubtful
  }

  /** Tells everybody that a key is in use by two nodes, unless that is known. @throws ShoalError as `issuer` and `say` */
  async reportClone(peerId: string): Promise<void> {
    if (this.cloned().has(peerId)) return
    await this.say([reportClone(this.issuer(), keyOf(peerId), this.now)])
  }

  /** @throws ShoalError as `Roster.verify` */
  member(peerId: string): MemberView {
    return this.roster.verify(keyOf(peerId), this.now)
  }

  /** How many certificates lead from the root to a peer. @throws ShoalError as `Roster.verify` */
  depthOf(peerId: string): number {
    return this.roster.certificateOf(keyOf(peerId), this.now).chain.length + 1
  }

  /**
   * Takes in what somebody says; what cannot be taken in is left out.
   * @param from the peer that said it
   */
  take(statements: readonly Uint8Array[], from?: string): void {
    const added = statements.filter((bytes) => this.#add(bytes, from))
    if (added.length > 0) this.#changed(added, from)
  }

  /**
   * Takes in what this node says, and tells everybody once it is on the disk; of a revocation everybody hears at once, because
   * whom it is about must not gain time by a disk that is full. What could not be written is told as well: it counts here, and others
   * may keep it.
   * @throws ShoalError as `Roster.add`, and the system's own errors
   */
  async say(statements: readonly { type: string; bytes: Uint8Array }[]): Promise<void> {
    const added: Uint8Array[] = []
    const isUrgent = statements.some(({ type }) => type === 'revocation')
    try {
      for (const { bytes } of statements) if (this.roster.add(bytes, this.now) === 'added') added.push(bytes)
    } finally {
      if (isUrgent && added.length > 0) this.#changes.call(added, undefined)
      try {
        await this.#save()
      } finally {
        if (!isUrgent && added.length > 0) this.#changes.call(added, undefined)
      }
    }
  }

  /** The roster has more than before: the new statements, and which peer has brought them. */
  onChange(handler: (added: readonly Uint8Array[], from: string | undefined) => void): () => void {
    return this.#changes.add(handler)
  }

  /** What the others call this node. @throws ShoalError as `Roster.verify` */
  get name(): string {
    return this.roster.verify(this.key, this.now).name
  }

  /**
   * Whether half of the time is over of every certificate that gives this node its rights. To an administrator only those count that
   * administrators have issued: by theirs others know where this node comes from.
   * @throws as `Roster.verify`
   */
  isDue(toAdministrator: boolean): boolean {
    return this.#isDue(this.key, toAdministrator)
  }

  #isDue(key: Uint8Array, toAdministrator: boolean): boolean {
    const all = this.roster.certificatesOf(key, this.now)
    const counted = toAdministrator ? this.roster.lines(this.now).byAdministrators(all) : all
    return counted.every(
      (certificate) => !isEnough(certificate, all[0], this.now) || needsRenewal(certificate, this.now),
    )
  }

  /**
   * The peerIds of members whose keys come after this node's, as its own has said: its next key, which waits for the next start, or that
   * of somebody who has a copy of this one.
   */
  heirs(): string[] {
    return this.roster.lines(this.now).handedTo(this.key).map(peerIdOfHex)
  }

  /** Gives this node a certificate with new dates if half of its time is over, or all of it, and the root key is here. */
  async renewSelf(): Promise<void> {
    const objection = this.objectionToSelf()
    // A key that another one follows gets no new dates, also where nobody has to be asked.
    if (this.#root === undefined || objection?.code === 'ERR_REVOKED' || this.heirs().length > 0) return
    const issuer = this.highestIssuer()
    if (objection === undefined) {
      if (this.#mayRenew(this.key, issuer)) await this.#reissue(this.key, this.name, issuer)
    } else if (this.#latest !== undefined) {
      const { subject, name, roles, invite, invitedBy, follows } = this.#latest.body
      const init = { subject, name, roles, invite, invitedBy, follows, serial: serial() }
      await this.say([issueCertificate(issuer, init, this.now)])
    }
  }

  /** Whether this node needs nobody to get another name. */
  get signsForItself(): boolean {
    return this.#root !== undefined
  }

  /** Gives this node another name. @throws ShoalError ERR_ROLE where the root key is not */
  async renameSelf(name: string): Promise<void> {
    await this.#reissue(this.key, name, this.highestIssuer())
  }

  /**
   * A member's certificate with new dates, when half of its time is over, or with another name unless that is empty. Whoever
   * may let others in gets it from the root key where that is here, so that it may go on.
   * @throws ShoalError as `renew`; ERR_LIMIT when there is nothing to renew
   */
  async renewMember(key: Uint8Array, name: string): Promise<void> {
    const { name: before, roles } = this.roster.verify(key, this.now)
    const issuer = mayGrant(roles, 'member') ? this.highestIssuer() : this.issuer()
    const isRenamed = name !== '' && name !== before
    if (!isRenamed && !this.#mayRenew(key, issuer)) throw new ShoalError('ERR_LIMIT', 'too early to renew')
    await this.#reissue(key, isRenamed ? name : before, issuer)
  }

  /** Also what is new enough is replaced when the root can replace what is from somebody else. */
  #mayRenew(key: Uint8Array, issuer: Issuer): boolean {
    const all = this.roster.certificatesOf(key, this.now)
    const isRoots = issuer.certificate === undefined && mayGrant(all[0].body.roles, 'member')
    if (isRoots) return all[0].chain.length > 0 || needsRenewal(all[0], this.now)
    return this.#isDue(key, issuer.certificate === undefined || mayGrant(issuer.certificate.body.roles, 'admin'))
  }

  /** @throws ShoalError as `checkMayReissue` and `renew` */
  async #reissue(key: Uint8Array, name: string, issuer: Issuer): Promise<void> {
    checkMayReissue(this.roster, issuer, key, this.now)
    const certificate = this.roster.certificateOf(key, this.now)
    const named = { ...certificate, body: { ...certificate.body, name } }
    await this.say([reissue(this.roster, named, issuer, this.now, serial())])
  }

  /** Waits until everything is on the disk. */
  async saved(): Promise<void> {
    await this.#saving
  }

  #objectionTo(key: Uint8Array): ShoalError | undefined {
    try {
      if (sameBytes(key, this.key)) this.own()
      this.roster.verify(key, this.now)
      return undefined
    } catch (error) {
      return toShoalError(error, 'ERR_NOT_MEMBER')
    }
  }

  #add(bytes: Uint8Array, from: string | undefined): boolean {
    try {
      return this.roster.add(bytes, this.now) === 'added'
    } catch (error) {
      const { code, message } = toShoalError(error)
      this.#needs.log.debug('a statement was not taken in', {
        ...(from === undefined ? {} : { peer: from }),
        code,
        message,
      })
      return false
    }
  }

  #changed(added: readonly Uint8Array[], from: string | undefined): void {
    this.#changes.call(added, from)
    this.#save().catch((error: unknown) => {
      const { message } = toShoalError(error)
      this.#needs.log.warn('the list of members was not written', { code: 'ERR_STORE', message })
    })
  }

  /** One after the other; each writes what is known by then. */
  #save(): Promise<void> {
    this.#queued ??= this.#saving.then(() => {
      this.#queued = undefined
      const latest = this.roster.latestOf(this.key) ?? this.#latest
      return saveRoster(this.#stateDir, this.roster, this.now, latest?.bytes)
    })
    const queued = this.#queued
    this.#saving = queued.catch(() => undefined)
    return queued
  }
}

/** A libp2p key as one that signs statements. */
export function signingKeyOf({ privateKey }: Identity): SigningKey {
  return signingKey(privateKey.raw.subarray(0, seedBytes))
}

/** @throws ShoalError ERR_NOT_MEMBER for a peer whose key is of another kind than Ed25519 */
export function keyOf(peerId: string): Uint8Array {
  const key = peerIdFromString(peerId).publicKey?.raw
  if (key?.length === 32) return key
  throw new ShoalError('ERR_NOT_MEMBER', 'its key is of another kind')
}

export function peerIdOf(key: Uint8Array): string {
  return peerIdFromPublicKey(publicKeyFromRaw(key)).toString()
}

/** @param key in hex, as `Lines` names keys */
export function peerIdOfHex(key: string): string {
  return peerIdOf(new Uint8Array(Buffer.from(key, 'hex')))
}

export function serial(): Uint8Array {
  return new Uint8Array(randomBytes(serialBytes))
}
