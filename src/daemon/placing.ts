import type { Datastore } from 'interface-datastore'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { maxClaims } from '../recall/judge.ts'
import type { HeldKey } from '../recall/recall.ts'
import type { BlockStore } from '../store/blocks.ts'
import type { TrafficEvent } from '../watch/traffic.ts'
import { cidFromDigest, hexOf } from '../wire/cid.ts'
import { Builders } from './builders.ts'
import type { Inventory } from './inventory.ts'
import type { Machine } from './machine.ts'
import { Placed } from './placed.ts'
import { Placement } from './placement.ts'
import type { Supply } from './supply.ts'

export interface PlacingNeeds {
  mesh: Mesh
  clock: Clock
  log: Logger
  datastore: Datastore
  blocks: BlockStore
  supply: Pick<Supply, 'ensure'>
  inventory: Inventory
  machine: Pick<Machine, 'onBattery'>
  /** Whose word is behind a trace of this node: the claims. */
  claimsAbout(trace: Uint8Array): Promise<Uint8Array[]>
  note(event: TrafficEvent): void
  /** No cargo is at work and no unit in flight here. */
  isQuiet(): boolean
}

/** How often power and room are looked at, and how much the room must change to be told. */
const tellMs = 30_000
const tellShare = 0.05
/** The results of a maker that was away for so long become those of who keeps them: to be placed again from there. */
const makerGoneMs = 3_600_000
const maxReleases = 64

/** Both sides of placement: what this node gives to others to keep, and what it keeps for them. */
export class Placing {
  readonly placed: Placed
  readonly placement: Placement
  readonly #needs: PlacingNeeds
  readonly #builders: Builders
  readonly #told = new Map<string, { bytes: number; mains: boolean }>()
  readonly #makersSeenAt = new Map<string, number>()
  #cancelTell: () => void = () => undefined

  private constructor(needs: PlacingNeeds, builders: Builders, placed: Placed, placement: Placement) {
    this.#needs = needs
    this.#builders = builders
    this.placed = placed
    this.placement = placement
  }

  /** @param maxBytes for what others place here */
  static async open(needs: PlacingNeeds, { maxBytes }: { maxBytes: number }): Promise<Placing> {
    const { mesh, datastore, blocks, supply, inventory, clock, log } = needs
    const placed = await Placed.open(
      {
        datastore,
        blocks,
        log,
        fetch: (cid, size, from, signal) => supply.ensure(cid, size, from, signal),
        onLost: (key, peer) => mesh.send(peer, keptOf(key, false)),
      },
      { maxBytes },
    )
    const builders = new Builders(clock)
    const placement = await Placement.open({
      clock,
      log,
      datastore,
      isQuiet: () => needs.isQuiet(),
      othersBuild: () => builders.areAny,
      held: async (key) => {
        const own = await inventory.held(key)
        if (own === undefined) return await anyClaim(placed, key)
        return { ...own, claims: await needs.claimsAbout(own.trace) }
      },
      send: (peer, body) => mesh.send(peer, body),
      onPlaced: (what) => needs.note({ what }),
    })
    const placing = new Placing(needs, builders, placed, placement)
    placing.#start()
    return placing
  }

  stop(): void {
    this.#cancelTell()
    this.placement.stop()
    this.placed.stop()
  }

  #start(): void {
    const { mesh, inventory } = this.#needs
    inventory.listen({
      onHeld: (key, item) => this.placement.add(key, item),
      onGone: (key) => this.placement.gone(key),
    })
    mesh.onPeer((peer, up) => {
      this.placement.onPeer(peer, up)
      if (up) this.#tellRoom(peer, this.#roomFor(peer))
      else {
        this.#told.delete(peer)
        this.#builders.forget(peer)
      }
      this.#makersSeenAt.set(peer, this.#needs.clock.now())
    })
    mesh.onFrame((peer, body) => {
      if (body.case === 'building') this.#builders.hear(peer, body.value)
      else if (body.case === 'room') this.placement.onRoom(peer, body.value)
      else if (body.case === 'kept') this.placement.onKept(peer, body.value)
      else if (body.case === 'keep') {
        void this.placed.keep(peer, body.value).then((held) => {
          if (body.value.key.length === 32) mesh.send(peer, keptOf(Buffer.from(body.value.key).toString('hex'), held))
          if (held) this.#needs.note({ what: 'kept' })
        })
      } else if (body.case === 'release') {
        for (const key of body.value.keys.slice(0, maxReleases)) {
          void this.placed.release(peer, Buffer.from(key).toString('hex'))
        }
      }
    })
    this.#tellLater()
  }

  #roomFor(peer: string): { bytes: number; mains: boolean } {
    const bytes = this.#needs.blocks.stats().refusing ? 0 : this.placed.roomFor(peer)
    return { bytes, mains: !this.#needs.machine.onBattery() }
  }

  #tellRoom(peer: string, room: { bytes: number; mains: boolean }): void {
    this.#told.set(peer, room)
    this.#needs.mesh.send(peer, { case: 'room', value: { bytes: BigInt(room.bytes), mains: room.mains } })
  }

  #tellLater(): void {
    this.#cancelTell = this.#needs.clock.after(tellMs, () => {
      this.#tellLater()
      this.#tell()
      this.#adopt()
    })
  }

  #tell(): void {
    for (const [peer, before] of this.#told) {
      const now = this.#roomFor(peer)
      const isOther = Math.abs(now.bytes - before.bytes) > tellShare * this.placed.stats.maxBytes
      if (isOther || now.mains !== before.mains) this.#tellRoom(peer, now)
    }
  }

  #adopt(): void {
    const { clock, mesh } = this.#needs
    const now = clock.now()
    for (const { peerId, connected } of mesh.peers()) if (connected) this.#makersSeenAt.set(peerId, now)
    for (const [peer, keys] of this.placed.makers()) {
      const seenAt = this.#makersSeenAt.get(peer) ?? now
      this.#makersSeenAt.set(peer, seenAt)
      if (now - seenAt < makerGoneMs) continue
      this.#makersSeenAt.set(peer, now)
      // What it was worth is known to its maker only; but somebody paid for placing it once.
      for (const key of keys) this.placement.add(key, { costMs: Number.POSITIVE_INFINITY, bytes: 1 })
    }
  }
}

async function anyClaim(placed: Placed, key: string): ReturnType<Placed['held']> {
  for (const { peer } of await placed.claims(key)) return await placed.held(key, peer)
  return undefined
}

function keptOf(key: string, held: boolean): { case: 'kept'; value: { key: Uint8Array; held: boolean } } {
  return { case: 'kept', value: { key: Buffer.from(key, 'hex'), held } }
}

/** Adds to what this node answers for action keys what it keeps for others. */
export async function withPlaced(
  holdings: readonly HeldKey[],
  keys: readonly Uint8Array[],
  placed: Pick<Placed, 'has' | 'claims'>,
): Promise<HeldKey[]> {
  const found = new Map(holdings.map((holding) => [hexOf(cidFromDigest(holding.key)), holding]))
  for (const key of keys) {
    const hex = Buffer.from(key).toString('hex')
    if (!placed.has(hex)) continue
    const own = found.get(hex) ?? { key, traces: [], claims: [] }
    const more = await placed.claims(hex)
    const traces = distinct([...own.traces, ...more.flatMap((placement) => placement.traces)]).slice(0, maxTraces)
    const claims = distinct([...own.claims, ...more.flatMap((placement) => placement.claims)]).slice(0, maxClaims)
    if (traces.length > 0) found.set(hex, { key, traces, claims })
  }
  return [...found.values()]
}

const distinct = (all: readonly Uint8Array[]): Uint8Array[] => [
  ...new Map(all.map((bytes) => [Buffer.from(bytes).toString('base64'), bytes])).values(),
]

const maxTraces = 8
