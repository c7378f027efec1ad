import { networkInterfaces } from 'node:os'
import type { CID } from 'multiformats/cid'
import { ShoalError } from '../base/errors.ts'
import type { PendingView } from './approvals.ts'
import { assemble, type MeshInit, type RunningMesh } from './assemble.ts'
import type { Claim } from './claims.ts'
import type { ControlBody, ControlMessage } from './control.ts'
import type { SigningKey } from './ed25519.ts'
import type { FetchFileOptions, FetchOptions } from './exchange.ts'
import type { AskOptions, RemoteHolding } from './holdings.ts'
import { type Identity, loadIdentity } from './identity.ts'
import { Listeners } from './listeners.ts'
import { Members } from './members.ts'
import type { MeshNeeds } from './parts.ts'
import type { FindOptions } from './provider-records.ts'

/** A member, connected or not. */
export interface PeerView {
  peerId: string
  name: string
  /** Frames can be sent to it. */
  connected: boolean
  /** Connected, but silent for longer than it should be. */
  suspect: boolean
  /** Smoothed round trip of the control stream; absent until measured. */
  rttMs?: number
  /** Seconds since anything was heard of it, rounded down; absent unless connected. */
  silentS?: number
  /** Frames it sent that this version does not know: it speaks a later one. */
  unknownFrames: number
  addresses: string[]
}

/** The other members, and what can be done with them. */
export interface Mesh {
  readonly peerId: string
  /** Who belongs to the mesh. */
  readonly members: Members
  /** Multiaddrs at which others can reach this node, with its peerId; none unless started. */
  addresses(): string[]
  /** @throws ShoalError ERR_CONFIG when it cannot listen, ERR_STORE or ERR_DAEMON_RUNNING when its database cannot be opened. */
  start(): Promise<void>
  /** Ends within five seconds, whatever the network does. A stopped mesh can be started again. */
  stop(): Promise<void>
  /** Members connected now and members met before. */
  peers(): PeerView[]
  /** Queues a frame; false when the peer is not connected or takes no more. @throws ShoalError ERR_LIMIT. */
  send(peerId: string, body: ControlMessage): boolean
  /** Frames of the market, in the order in which each peer sent them. Returns how to stop listening. */
  onFrame(handler: (peerId: string, body: ControlBody) => void): () => void
  /** A peer can be sent to, or no longer: then what was on its way to or from it may be lost. */
  onPeer(handler: (peerId: string, up: boolean) => void): () => void
  /** A connected peer has fallen silent, or is heard again. */
  onSuspect(handler: (peerId: string, suspect: boolean) => void): () => void
  /** From now on notices within four seconds when the peer falls silent, until the returned function is called. */
  watch(peerId: string): () => void
  /**
   * This node is about to do a work, so that of the members that are at it only one goes on. Always ends with `done()`.
   * @param work see `workKey`
   * @param expectedMs how long the work takes here
   */
  claim(work: Uint8Array, expectedMs: number): Claim
  /** Asks all connected members which of these action keys they hold, and whether they are at the same claimed works. */
  ask(keys: readonly Uint8Array[], options?: AskOptions): Promise<RemoteHolding[]>
  /** This node has something of an action key (32 bytes) now, or no longer: told to all, so that it is asked for that. */
  holds(key: Uint8Array, isHeld: boolean): void
  /** What `holds` was told is all that this node has: from now on it is asked for nothing else. */
  holdsNothingElse(): void
  /** A connected peer has something that it had not before. */
  onHoldings(handler: (peerId: string) => void): () => void
  /** See `BlockExchange.fetchBlock`. */
  fetchBlock(cid: CID, options: FetchOptions): Promise<Uint8Array>
  /** See `BlockExchange.useBlock`. */
  useBlock<T>(cid: CID, options: FetchOptions, use: (bytes: Uint8Array) => Promise<T>): Promise<T>
  /** See `BlockExchange.fetchFile`. */
  fetchFile(cid: CID, options: FetchFileOptions): Promise<void>
  /** Tells the DHT, in the background, that this node has what `key` names. See `ProviderRecords.announce`. */
  announce(key: CID): void
  /** This node no longer has it. */
  withdraw(key: CID): void
  /** Members that announced `key`. See `ProviderRecords.find`. */
  findProviders(key: CID, options?: FindOptions): Promise<string[]>
  /** Whether the DHT can know more than the connected members do: a member that may hold something is not connected. */
  shouldAskDht(): boolean
  /** Asks a connected member that may for a certificate with another name; false when there is none. */
  askForName(name: string): boolean
  /** Newcomers that wait for somebody to say yes, here or at another member. @throws ShoalError ERR_ROLE */
  pendingJoins(): Promise<PendingView[]>
  /** Says yes to the newcomer that shows these six digits. Errors as `Approvals.approve`. */
  approve(code: string): Promise<{ name: string; address: string }>
  /** Asks one to let a new key follow this node's, with the same name and roles; false when there is none. */
  askToSucceed(next: SigningKey): boolean
}

/**
 * The network side of one node in one mesh, not started.
 * @throws ShoalError ERR_CONFIG when the identity cannot be used; as `Members.load`
 */
export async function createMesh(needs: MeshNeeds, init: MeshInit): Promise<Mesh> {
  const nobody = (): void => undefined
  const all = {
    interfaces: networkInterfaces,
    onServed: nobody,
    onHedge: nobody,
    ...needs,
    log: needs.log.child('mesh'),
  }
  const identity = await loadIdentity(init.stateDir)
  return new MeshNode(all, init, identity, await Members.load(all, init.stateDir, identity, init.membership.id))
}

class MeshNode implements Mesh {
  readonly peerId: string
  readonly members: Members
  readonly #needs: Required<MeshNeeds>
  readonly #init: MeshInit
  readonly #identity: Identity
  readonly #frames: Listeners<[peerId: string, body: ControlBody]>
  readonly #ups: Listeners<[peerId: string, up: boolean]>
  readonly #holdings: Listeners<[peerId: string]>
  readonly #suspects: Listeners<[peerId: string, suspect: boolean]>
  #running: RunningMesh | undefined

  constructor(needs: Required<MeshNeeds>, init: MeshInit, identity: Identity, members: Members) {
    this.peerId = identity.peerId
    this.members = members
    this.#needs = needs
    this.#init = init
    this.#identity = identity
    this.#frames = new Listeners(needs.log)
    this.#ups = new Listeners(needs.log)
    this.#holdings = new Listeners(needs.log)
    this.#suspects = new Listeners(needs.log)
  }

  async start(): Promise<void> {
    if (this.#running !== undefined) return
    this.#running = await assemble(
      this.#needs,
      this.#init,
      { identity: this.#identity, members: this.members },
      {
        onPeer: (peerId, up) => this.#ups.call(peerId, up),
        onSuspect: (peerId, suspect) => this.#suspects.call(peerId, suspect),
        onFrame: (peerId, body) => this.#frames.call(peerId, body),
        onHoldings: (peerId) => this.#holdings.call(peerId),
      },
    )
    this.#needs.log.info('mesh started', { peer: this.peerId, addresses: this.addresses() })
  }

  async stop(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    await running?.stop()
  }

  addresses(): string[] {
    return this.#running?.host.getMultiaddrs().map(String) ?? []
  }

  peers(): PeerView[] {
    const { table, book } = this.#started()
    const known = new Set([...book.all().map((member) => member.peerId), ...table.up()])
    return [...known].map((peerId) => {
      const { name = '', addresses = [] } = book.get(peerId) ?? {}
      const up = table.view(peerId)
      if (up === undefined) return { peerId, name, connected: false, suspect: false, unknownFrames: 0, addresses }
      const { rttMs, ...state } = up
      return { peerId, connected: true, addresses, ...state, ...(rttMs === undefined ? {} : { rttMs }) }
    })
  }

  send(peerId: string, body: ControlMessage): boolean {
    return this.#running?.table.send(peerId, body) ?? false
  }

  onFrame(handler: (peerId: string, body: ControlBody) => void): () => void {
    return this.#frames.add(handler)
  }

  onPeer(handler: (peerId: string, up: boolean) => void): () => void {
    return this.#ups.add(handler)
  }

  onSuspect(handler: (peerId: string, suspect: boolean) => void): () => void {
    return this.#suspects.add(handler)
  }

  watch(peerId: string): () => void {
    return this.#started().table.watch(peerId)
  }

  claim(work: Uint8Array, expectedMs: number): Claim {
    return this.#started().claims.claim(work, expectedMs)
  }

  async ask(keys: readonly Uint8Array[], options: AskOptions = {}): Promise<RemoteHolding[]> {
    return this.#started().holdings.ask(keys, options)
  }

  holds(key: Uint8Array, isHeld: boolean): void {
    if (isHeld) this.#running?.summaries.add(key)
    else this.#running?.summaries.remove(key)
  }

  holdsNothingElse(): void {
    this.#running?.summaries.known()
  }

  onHoldings(handler: (peerId: string) => void): () => void {
    return this.#holdings.add(handler)
  }

  async fetchBlock(cid: CID, options: FetchOptions): Promise<Uint8Array> {
    return this.#started().exchange.fetchBlock(cid, options)
  }

  async useBlock<T>(cid: CID, options: FetchOptions, use: (bytes: Uint8Array) => Promise<T>): Promise<T> {
    return await this.#started().exchange.useBlock(cid, options, use)
  }

  async fetchFile(cid: CID, options: FetchFileOptions): Promise<void> {
    await this.#started().exchange.fetchFile(cid, options)
  }

  announce(key: CID): void {
    this.#started().records.announce(key)
  }

  withdraw(key: CID): void {
    this.#started().records.withdraw(key)
  }

  async findProviders(key: CID, options: FindOptions = {}): Promise<string[]> {
    return this.#started().records.find(key, options)
  }

  shouldAskDht(): boolean {
    return this.#running?.membersAway() ?? false
  }

  askForName(name: string): boolean {
    return this.#running?.renewal.rename(name) ?? false
  }

  async pendingJoins(): Promise<PendingView[]> {
    return this.#started().approvals.pending()
  }

  async approve(code: string): Promise<{ name: string; address: string }> {
    return this.#started().approvals.approve(code)
  }

  askToSucceed(next: SigningKey): boolean {
    return this.#running?.renewal.succeed(next) ?? false
  }

  #started(): RunningMesh {
    if (this.#running === undefined) throw new ShoalError('ERR_PEER_LOST', 'the mesh is not running')
    return this.#running
  }
}
