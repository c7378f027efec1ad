import { type Datastore, Key } from 'interface-datastore'
import type { Clock } from '../base/clock.ts'
import { codeOf, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { ControlMessage } from '../mesh/control.ts'
import { byDistance } from '../mesh/nearest.ts'
import { cidFromDigest } from '../wire/cid.ts'
import type { Kept, Room } from '../wire/generated/placement_pb.ts'
import type { Held } from './inventory.ts'

/** What a member is given to keep. */
type Given = Pick<Held, 'trace' | 'blocks' | 'bytes'> & { claims: Uint8Array[] }

export interface PlacementNeeds {
  clock: Clock
  log: Logger
  datastore: Datastore
  /** No cargo is at work and no unit in flight here: uploading disturbs nobody. */
  isQuiet(): boolean
  /** Some member builds: whoever lends to it, and whoever it asks to keep something, has a processor that it waits for. */
  othersBuild(): boolean
  /** What this node has of an action key (hex); undefined when it has gone since. */
  held(key: string): Promise<Given | undefined>
  send(peer: string, body: ControlMessage): boolean
  /** A member keeps a result; or it does so instead of another one. */
  onPlaced?(what: 'placed' | 'moved'): void
}

interface Waiting {
  key: string
  /** Milliseconds of compiling that each byte saves. */
  worth: number
}

interface Member {
  roomBytes: number
  mains: boolean
  connected: boolean
  /** When it was last connected; by `Clock.now`. */
  seenAt: number
}

interface Pending {
  resolve(held: boolean): void
}

/** Members that keep a result besides those that made it. */
const copies = 2
/** Fetching half a gigabit a second must be faster than compiling, or nobody is helped. */
const leastWorthMsPerByte = 1 / 65_536
const lookMs = 1000
/** How long this node has to be at rest first. */
const quietMs = 2000
/** Somebody may build all day: nothing waits for that for longer. */
const maxPatienceMs = 600_000
/** What others fetch from here for this, on average, while it goes on. */
const bytesPerMs = 24_000
const maxUnderWay = 6
const leastAnswerMs = 40_000
const leastFetchBytesPerMs = 250
const maxWaiting = 50_000
/** A member that was away for so long is not counted upon any more. */
const goneAfterMs = 3_600_000
/** A member that has been here for so long gets what it is nearest to. */
const settledAfterMs = 600_000
const sweepMs = 60_000
/** How often members that would not take something are asked again. */
const askAgainMs = 600_000
const prefix = '/placements/'

/**
 * Puts results on the two members nearest to their key that have room and mains power, in the background, so that a node
 * that is switched off takes nothing with it. The most expensive for their size go first.
 */
export class Placement {
  readonly #needs: PlacementNeeds
  readonly #members = new Map<string, Member>()
  readonly #waiting = new Map<string, Waiting>()
  /** Action key → members that keep it. */
  readonly #keepers = new Map<string, Set<string>>()
  /** `key/peer` → who waits for the answer. */
  readonly #pending = new Map<string, Pending>()
  /** Members that would not take a key, until they say that they have room again. */
  readonly #refused = new Map<string, Set<string>>()
  /** Had too few takers: again when a member has room. */
  readonly #short = new Map<string, Waiting>()
  /** Members whose arrival was seen to already. */
  readonly #settled = new Set<string>()
  /** The most worthwhile last; undefined when something has been added since it was made. */
  #order: Waiting[] | undefined
  #underWay = 0
  /** No traffic before; by `Clock.now`. */
  #restUntil = 0
  #quietSince: number | undefined
  /** How long there has been something to place; by `Clock.now`. */
  #waitingSince = 0
  #cancelLook: (() => void) | undefined
  #cancelSweep: () => void = () => undefined
  #stopped = false
  #placed = 0
  #placedBytes = 0
  #askedAgainAt = 0

  private constructor(needs: PlacementNeeds) {
    this.#needs = needs
    this.#askedAgainAt = needs.clock.now()
  }

  static async open(needs: PlacementNeeds): Promise<Placement> {
    const placement = new Placement(needs)
    for await (const { key, value } of needs.datastore.query({ prefix })) {
      const keepers = Buffer.from(value).toString('utf8').split(' ').filter(Boolean)
      placement.#keepers.set(key.toString().slice(prefix.length), new Set(keepers))
      for (const peer of keepers) placement.#memberOf(peer)
    }
    placement.#sweepLater()
    return placement
  }

  get stats(): { waiting: number; placed: number; placedBytes: number } {
    return { waiting: this.#waiting.size + this.#underWay, placed: this.#placed, placedBytes: this.#placedBytes }
  }

  stop(): void {
    this.#stopped = true
    this.#cancelLook?.()
    this.#cancelSweep()
    for (const { resolve } of this.#pending.values()) resolve(false)
  }

  /** This node has a result that is worth keeping, unless it is too cheap to make again. */
  add(key: string, { costMs, bytes }: { costMs: number; bytes: number }): void {
    const worth = costMs / Math.max(1, bytes)
    const keepers = this.#keepers.get(key)?.size ?? 0
    if (this.#stopped || keepers >= copies || worth < leastWorthMsPerByte || this.#waiting.size >= maxWaiting) return
    this.#await({ key, worth })
    this.#lookLater()
  }

  /** Nothing of it is here any more: those that keep it go on, but nobody is given it from here. */
  gone(key: string): void {
    this.#short.delete(key)
    if (this.#waiting.delete(key)) this.#order = undefined
  }

  onPeer(peer: string, up: boolean): void {
    const member = this.#memberOf(peer)
    member.connected = up
    member.seenAt = this.#needs.clock.now()
    if (up) return
    for (const [name, { resolve }] of this.#pending) if (name.endsWith(`/${peer}`)) resolve(false)
    member.roomBytes = 0
  }

  /** A member says what it would keep. */
  onRoom(peer: string, { bytes, mains }: Room): void {
    const member = this.#memberOf(peer)
    member.roomBytes = Number(bytes)
    member.mains = mains
    this.#refused.delete(peer)
    if (member.mains && member.roomBytes > 0) this.#retryShort()
  }

  #retryShort(): void {
    for (const waiting of this.#short.values()) this.#await(waiting)
    this.#short.clear()
    if (this.#waiting.size > 0) this.#lookLater()
  }

  /** A member has answered, or had to let go of what it kept. */
  onKept(peer: string, { key: bytes, held }: Kept): void {
    const key = Buffer.from(bytes).toString('hex')
    const pending = this.#pending.get(`${key}/${peer}`)
    if (pending !== undefined) pending.resolve(held)
    else if (!held) void this.#lost(key, peer)
  }

  #memberOf(peer: string): Member {
    let member = this.#members.get(peer)
    if (member === undefined) {
      member = { roomBytes: 0, mains: false, connected: false, seenAt: this.#needs.clock.now() }
      this.#members.set(peer, member)
    }
    return member
  }

  #lookLater(): void {
    if (this.#cancelLook !== undefined || this.#stopped) return
    this.#cancelLook = this.#needs.clock.after(lookMs, () => {
      this.#cancelLook = undefined
      this.#look()
    })
  }

  #await(waiting: Waiting): void {
    if (this.#waiting.size === 0) this.#waitingSince = this.#needs.clock.now()
    this.#waiting.set(waiting.key, waiting)
    this.#order = undefined
  }

  /** A node that lends has pauses of seconds in the midst of a build, and what it then sends to others keeps that build waiting. */
  #isCalm(): boolean {
    if (!this.#needs.isQuiet()) return false
    return !this.#needs.othersBuild() || this.#needs.clock.now() - this.#waitingSince >= maxPatienceMs
  }

  #look(): void {
    const now = this.#needs.clock.now()
    if (!this.#isCalm()) this.#quietSince = undefined
    else this.#quietSince ??= now
    if (this.#quietSince !== undefined && now - this.#quietSince >= quietMs) this.#placeSome()
    // Without anybody who could take more, a word from a member starts it again.
    if (this.#waiting.size > 0 && this.#candidates().length > 0) this.#lookLater()
  }

  #placeSome(): void {
    if (this.#candidates().length === 0) return
    while (this.#underWay < maxUnderWay && this.#needs.clock.now() >= this.#restUntil) {
      const next = this.#next()
      if (next === undefined) return
      this.#underWay += 1
      this.#placeOne(next)
        .catch((error: unknown) => {
          const { code, message } = toShoalError(error)
          this.#needs.log.info('result not placed', { code, message, key: next.key })
        })
        .finally(() => {
          this.#underWay -= 1
          if (this.#stopped || !this.#isCalm()) this.#lookLater()
          else if (this.#needs.clock.now() >= this.#restUntil) this.#placeSome()
          if (this.#waiting.size > 0) this.#lookLater()
        })
    }
  }

  #next(): Waiting | undefined {
    this.#order ??= [...this.#waiting.values()].sort((a, b) => a.worth - b.worth)
    const next = this.#order.pop()
    if (next !== undefined) this.#waiting.delete(next.key)
    return next
  }

  /** Members that keep things for others. */
  #candidates(): string[] {
    const able = [...this.#members].filter(([, member]) => member.connected && member.mains && member.roomBytes > 0)
    return able.map(([peer]) => peer)
  }

  async #placeOne(waiting: Waiting): Promise<void> {
    const { key } = waiting
    const held = await this.#needs.held(key)
    // Without anybody's word nobody could use it.
    if (held === undefined || held.claims.length === 0) return
    const keepers = new Set(this.#keepers.get(key))
    const before = keepers.size
    const name = cidFromDigest(Buffer.from(key, 'hex'))
    for (const peer of byDistance(name, this.#candidates())) {
      if (keepers.size >= copies || this.#stopped) break
      const size = held.bytes + held.trace.length
      if (keepers.has(peer) || this.#refused.get(peer)?.has(key)) continue
      if ((this.#members.get(peer)?.roomBytes ?? 0) < size) continue
      this.#restUntil = Math.max(this.#restUntil, this.#needs.clock.now()) + size / bytesPerMs
      if (await this.#ask(peer, key, held)) {
        keepers.add(peer)
        this.#placed += 1
        this.#needs.onPlaced?.('placed')
        this.#memberOf(peer).roomBytes -= size
        this.#placedBytes += size
      } else if (this.#members.get(peer)?.connected) {
        this.#refused.set(peer, (this.#refused.get(peer) ?? new Set()).add(key))
      }
    }
    if (keepers.size < copies && this.#short.size < maxWaiting) this.#short.set(key, waiting)
    if (keepers.size > before) await this.#remember(key, keepers)
  }

  /** @returns whether `peer` keeps it */
  async #ask(peer: string, key: string, held: Given): Promise<boolean> {
    const blocks = held.blocks.map(({ cid, size }) => ({ cid: cid.bytes, size: BigInt(size) }))
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const name = `${key}/${peer}`
    this.#pending.set(name, { resolve })
    const answerMs = leastAnswerMs + held.bytes / leastFetchBytesPerMs
    const cancel = this.#needs.clock.after(answerMs, () => resolve(false))
    try {
      const value = { key: Buffer.from(key, 'hex'), trace: held.trace, blocks, claims: held.claims }
      if (!this.#needs.send(peer, { case: 'keep', value })) return false
      return await promise
    } finally {
      cancel()
      this.#pending.delete(name)
    }
  }

  async #lost(key: string, peer: string): Promise<void> {
    const keepers = this.#keepers.get(key)
    if (!keepers?.delete(peer)) return
    await this.#remember(key, keepers)
    await this.#again(key)
  }

  async #again(key: string): Promise<void> {
    const held = await this.#needs.held(key)
    if (held !== undefined) this.add(key, { bytes: held.bytes, costMs: Number.POSITIVE_INFINITY })
  }

  async #remember(key: string, keepers: Set<string>): Promise<void> {
    this.#keepers.set(key, keepers)
    try {
      await this.#needs.datastore.put(new Key(`${prefix}${key}`, false), Buffer.from([...keepers].join(' ')))
    } catch (error) {
      this.#needs.log.warn('placement not written down', { code: 'ERR_STORE', reason: codeOf(error) })
    }
  }

  #sweepLater(): void {
    this.#cancelSweep = this.#needs.clock.after(sweepMs, () => {
      this.#sweep().catch((error: unknown) => {
        this.#needs.log.info('placements not looked over', { message: toShoalError(error).message })
      })
      this.#sweepLater()
    })
  }

  /** Members come and go for good: what they keep, or should, goes to where it belongs now. */
  async #sweep(): Promise<void> {
    const now = this.#needs.clock.now()
    if (now - this.#askedAgainAt >= askAgainMs) {
      this.#askedAgainAt = now
      this.#refused.clear()
      this.#retryShort()
    }
    for (const [peer, member] of this.#members) {
      if (!member.connected && now - member.seenAt >= goneAfterMs) await this.#forgetMember(peer)
      else if (member.connected && now - member.seenAt >= settledAfterMs && !this.#settled.has(peer)) {
        this.#settled.add(peer)
        await this.#moveTo(peer)
      }
    }
  }

  async #forgetMember(peer: string): Promise<void> {
    this.#members.delete(peer)
    this.#settled.delete(peer)
    this.#refused.delete(peer)
    for (const [key, keepers] of [...this.#keepers]) if (keepers.has(peer)) await this.#lost(key, peer)
  }

  /** A new member is nearer to some keys than one that keeps them: that one lets go once the new one has it. */
  async #moveTo(peer: string): Promise<void> {
    for (const [key, keepers] of [...this.#keepers]) {
      const order = byDistance(cidFromDigest(Buffer.from(key, 'hex')), [...keepers, peer])
      if (keepers.has(peer) || keepers.size < copies || order.indexOf(peer) >= copies) continue
      const farthest = order.at(-1)
      const held = await this.#needs.held(key)
      if (held === undefined || farthest === undefined || this.#stopped) continue
      if (!(await this.#ask(peer, key, held))) continue
      await new Promise<void>((resolve) => this.#needs.clock.after(held.bytes / bytesPerMs, resolve))
      const released = this.#needs.send(farthest, { case: 'release', value: { keys: [Buffer.from(key, 'hex')] } })
      if (released) keepers.delete(farthest)
      this.#needs.onPlaced?.('moved')
      await this.#remember(key, keepers.add(peer))
    }
  }
}
