import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { Clock, Random } from '../base/clock.ts'
import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { isDialable, peerOf, readMultiaddr, withoutPeer } from './addresses.ts'
import { isDnsaddr } from './dns-addresses.ts'

export interface DiallerNeeds {
  clock: Clock
  random: Random
  log: Logger
  /** Connects to the first of the addresses that answers; which peer that was, and where. */
  dial(addresses: Multiaddr[], signal: AbortSignal): Promise<{ peerId: string; address: Multiaddr }>
  /** Peers with an open connection. */
  connected: ReadonlySet<string>
  /** Members that this node connects to without need; others may still connect to it. */
  maxPeers: number
}

/** Somebody to be connected to: a member, or whoever answers at an address. */
interface Target {
  /** Undefined for an address of which it is not known who answers there. */
  peerId: string | undefined
  /** In the order in which they are tried. */
  addresses: string[]
  /** The address that worked last. Hearsay does not push it out. */
  proven: string | undefined
  failures: number
  dueAt: number
  /** When it was last dialled. */
  triedAt: number
  dialling: boolean
  /** Ends the dial that runs. */
  hangUp: () => void
  /** When a dial was last ended because of better news. */
  hungUpAt: number
  /** We have been connected to it; otherwise somebody only told us about it. */
  met: boolean
  /** Somebody here waits for it: it is dialled though there are enough members. */
  wanted: boolean
}

interface FoundHow {
  met?: boolean
  alive?: boolean
  soon?: boolean
  wanted?: boolean
}

const dialTimeoutMs = 3000
const hangUpEveryMs = 5000
const maxDials = 8
const maxAddresses = 8
const maxTargets = 512
/** The peer with the higher peerId waits this long for the other one to dial. */
const graceMs = 750
const jitterMs = 100
const firstRetryMs = 500
/** A peer that comes back is met again within this and one dial, as long as few are away. */
const longestRetryMs = 4000
/** With more peers away than this, each is tried less often: a dial costs 2 ms, and the machine must stay at rest. */
const fewAway = 4
/** Somebody we only heard of is forgotten after so many dials in vain. */
const hearsayFailures = 6
/** What was configured is not forgotten, but said in the log, once. */
const saidAfter = 3

/** Keeps this node connected to the members that it knows of, up to a number. libp2p itself dials nobody but for the DHT. */
export class Dialler {
  readonly #needs: DiallerNeeds
  readonly #self: string
  readonly #targets = new Map<string, Target>()
  readonly #stop = new AbortController()
  #dials = 0
  #wokenAt = Number.NEGATIVE_INFINITY
  #cancelTimer: (() => void) | undefined

  constructor(needs: DiallerNeeds, self: string) {
    this.#needs = needs
    this.#self = self
  }

  /** Addresses from configuration or an invitation: dialled until somebody answers, whoever that is. */
  addSeeds(addresses: readonly string[]): void {
    for (const text of addresses) {
      const address = readMultiaddr(text)
      if (address === undefined || !(isDialable(address) || isDnsaddr(address))) {
        const message = `${text} is no address of a member: /dns4/HOST/tcp/PORT, /ip4/ADDRESS/tcp/PORT or /dnsaddr/HOST`
        this.#needs.log.warn('address cannot be dialled', { code: 'ERR_CONFIG', message })
        continue
      }
      const key = withoutPeer(address).toString()
      this.#targets.set(key, newTarget(undefined, [key], this.#needs.clock.now()))
    }
    this.#schedule()
  }

  /**
   * A member may be found at these addresses: they are tried before those known so far. `met`: we have been connected to
   * it. `alive`: it has just been heard, so it is worth a dial now. `soon`: it will not dial this node. `wanted`: somebody here
   * waits for it, so it is dialled even beyond `maxPeers`.
   */
  found(peerId: string, addresses: readonly Multiaddr[], how: FoundHow = {}): void {
    if (peerId === this.#self) return
    const delayMs = how.wanted || how.soon ? 0 : this.#firstDelay(peerId)
    const usable = addresses.filter((address) => isDialable(address) && (peerOf(address) ?? peerId) === peerId)
    const fresh = usable.map((address) => withoutPeer(address).toString()).slice(0, maxAddresses - 1)
    const target = this.#targets.get(peerId)
    if (target !== undefined) {
      const news = fresh.some((address) => !target.addresses.includes(address))
      const proven = target.proven === undefined ? [] : [target.proven]
      target.addresses = [...new Set([...fresh, ...proven, ...target.addresses])].slice(0, maxAddresses)
      target.met ||= how.met ?? false
      target.wanted ||= how.wanted === true && !this.#needs.connected.has(peerId)
      if ((news || how.alive || how.soon || how.wanted) && !this.#needs.connected.has(peerId)) {
        this.#due(target, delayMs)
        if (news && how.alive && target.dialling) this.#hangUp(target, delayMs)
      }
    } else if (fresh.length > 0 && this.#makeRoom()) {
      const target = newTarget(peerId, fresh, this.#needs.clock.now() + delayMs)
      this.#targets.set(peerId, { ...target, met: how.met ?? false, wanted: how.wanted ?? false })
    }
    this.#schedule()
  }

  /** A connection has opened. */
  up(peerId: string): void {
    const target = this.#targets.get(peerId)
    if (target !== undefined) {
      const returned = target.met && target.failures > 0
      target.met = true
      target.wanted = false
      target.failures = 0
      if (returned) this.#othersMayBeBack()
    } else if (this.#makeRoom()) {
      this.#targets.set(peerId, { ...newTarget(peerId, [], this.#needs.clock.now()), met: true })
    }
  }

  /** The last connection has closed. */
  down(peerId: string): void {
    const target = this.#targets.get(peerId)
    if (target === undefined) return
    target.failures = 0
    this.#due(target, this.#firstDelay(peerId))
    this.#schedule()
  }

  /** It is of no use to look for this peer any more. */
  forget(peerId: string): void {
    this.#targets.delete(peerId)
  }

  /** The network has changed or the machine has woken up: everything may be possible now. */
  wake(): void {
    for (const target of this.#targets.values()) {
      target.failures = 0
      this.#due(target, this.#needs.random() * jitterMs)
    }
    this.#schedule()
  }

  /** Members that we know of and are not connected to. */
  away(): string[] {
    return [...this.#targets.keys()].filter((key) => !this.#satisfied(key))
  }

  stop(): void {
    this.#stop.abort()
    this.#cancelTimer?.()
  }

  // Who comes back is seldom alone: a network was down.
  #othersMayBeBack(): void {
    const now = this.#needs.clock.now()
    if (now - this.#wokenAt < longestRetryMs) return
    this.#wokenAt = now
    this.wake()
  }

  // Whoever floods the network with names must not keep this node from hearing of members.
  #makeRoom(): boolean {
    if (this.#targets.size < maxTargets) return true
    for (const [key, target] of this.#targets) {
      if (target.met || target.peerId === undefined || target.dialling) continue
      this.#targets.delete(key)
      return true
    }
    return false
  }

  #satisfied(key: string): boolean {
    const target = this.#targets.get(key)
    return target === undefined || (target.peerId !== undefined && this.#needs.connected.has(target.peerId))
  }

  #firstDelay(peerId: string): number {
    return (this.#self < peerId ? 0 : graceMs) + this.#needs.random() * jitterMs
  }

  #due(target: Target, delayMs: number): void {
    // Whoever claims to see a member all the time must not make us dial it all the time.
    const soonest = Math.max(this.#needs.clock.now() + delayMs, target.triedAt + firstRetryMs)
    target.dueAt = Math.min(target.dueAt, soonest)
  }

  // It was heard at another address than those that are being tried in vain, for seconds. Not again soon: nobody who makes up addresses
  // shall keep this node from the right one.
  #hangUp(target: Target, delayMs: number): void {
    const now = this.#needs.clock.now()
    if (now - target.hungUpAt < hangUpEveryMs) return
    target.hungUpAt = now
    target.hangUp()
    target.dueAt = now + delayMs
  }

  // One timer for all: for the earliest target that could be dialled.
  #schedule(): void {
    if (this.#stop.signal.aborted) return
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    if (this.#dials >= maxDials) return
    let earliest = Number.POSITIVE_INFINITY
    for (const [key, target] of this.#targets) {
      if (!target.dialling && target.addresses.length > 0 && !this.#satisfied(key)) {
        earliest = Math.min(earliest, target.dueAt)
      }
    }
    if (earliest === Number.POSITIVE_INFINITY) return
    const delayMs = Math.max(0, earliest - this.#needs.clock.now())
    this.#cancelTimer = this.#needs.clock.after(delayMs, () => this.#dialDue())
  }

  #dialDue(): void {
    const now = this.#needs.clock.now()
    for (const [key, target] of this.#targets) {
      if (this.#dials >= maxDials) break
      const possible = !target.dialling && target.addresses.length > 0 && !this.#satisfied(key)
      if (!possible || target.dueAt > now) continue
      if (!target.wanted && this.#needs.connected.size >= this.#needs.maxPeers) target.dueAt = now + longestRetryMs
      else this.#dial(key, target)
    }
    this.#schedule()
  }

  #dial(key: string, target: Target): void {
    target.dialling = true
    target.wanted = false
    target.triedAt = this.#needs.clock.now()
    this.#dials += 1
    const suffix = target.peerId === undefined ? '' : `/p2p/${target.peerId}`
    const addresses = target.addresses.map((address) => multiaddr(address + suffix))
    const end = new AbortController()
    target.hangUp = () => end.abort()
    const signal = AbortSignal.any([this.#stop.signal, end.signal, AbortSignal.timeout(dialTimeoutMs)])
    this.#needs
      .dial(addresses, signal)
      .then(
        ({ peerId, address }) => this.#answered(key, target, peerId, address),
        (error: unknown) => {
          // Ended from here, and due already.
          if (!end.signal.aborted) this.#failed(key, target, error)
        },
      )
      .finally(() => {
        target.dialling = false
        this.#dials -= 1
        this.#schedule()
      })
  }

  #answered(key: string, target: Target, peerId: string, address: Multiaddr): void {
    target.failures = 0
    target.dueAt = this.#needs.clock.now() + firstRetryMs
    if (target.peerId === undefined) {
      // A seed has done its work: from now on the member that answered is the target.
      this.#targets.delete(key)
      this.found(peerId, [address], { met: true })
    }
    const member = this.#targets.get(peerId)
    if (member !== undefined) member.proven = withoutPeer(address).toString()
  }

  #failed(key: string, target: Target, error: unknown): void {
    if (this.#stop.signal.aborted) return
    target.failures += 1
    if (target.peerId !== undefined && !target.met && target.failures >= hearsayFailures) {
      this.#targets.delete(key)
      return
    }
    // The next one first next time.
    const [first, ...rest] = target.addresses
    if (first !== undefined) target.addresses = [...rest, first]
    const longestMs = longestRetryMs * Math.max(1, this.away().length / fewAway)
    const delayMs = Math.min(longestMs, firstRetryMs * 2 ** (target.failures - 1))
    target.dueAt = this.#needs.clock.now() + delayMs * (0.75 + this.#needs.random() / 4)
    if (target.peerId === undefined && target.failures === saidAfter) {
      const message = `nobody answers at ${key}: ${toShoalError(error).message}`
      this.#needs.log.info('an address of the configuration or the invitation leads nowhere', { message })
    }
    this.#needs.log.debug('dial failed', { target: key, failures: target.failures, error: toShoalError(error).message })
  }
}

function newTarget(peerId: string | undefined, addresses: string[], dueAt: number): Target {
  return {
    peerId,
    addresses,
    proven: undefined,
    failures: 0,
    dueAt,
    triedAt: Number.NEGATIVE_INFINITY,
    dialling: false,
    hangUp: () => undefined,
    hungUpAt: Number.NEGATIVE_INFINITY,
    met: false,
    wanted: false,
  }
}
