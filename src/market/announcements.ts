import type { Builds } from './builds.ts'
import { frame, type MarketBody } from './frames.ts'
import type { OfferBook } from './offers.ts'
import type { Reservations } from './reservations.ts'

export interface AnnouncementsNeeds {
  builds: Builds
  offers: OfferBook
  reservations: Reservations
  send(peer: string, body: MarketBody): void
}

/** Who is told that something is built here: everybody at once, newcomers, and all again every few seconds. */
export class Announcements {
  readonly #needs: AnnouncementsNeeds

  constructor(needs: AnnouncementsNeeds) {
    this.#needs = needs
  }

  /** A build has begun or ended. */
  building(now: number, build: Uint8Array, active: boolean): void {
    const { builds, offers } = this.#needs
    if (!builds.set(build, active, now)) return
    for (const peer of offers.peers()) this.#send(now, peer, build, active)
  }

  /** All builds, to these. */
  tell(now: number, peers: Iterable<string>): void {
    const active = this.#needs.builds.ids()
    for (const peer of peers) for (const build of active) this.#send(now, peer, build, true)
  }

  /** All builds, to all, if it is time. */
  repeat(now: number): void {
    const { builds, offers } = this.#needs
    if (builds.announceAt > now) return
    builds.announced(now)
    this.tell(now, offers.peers())
  }

  /** Nothing is built here any more. */
  end(now: number): void {
    for (const build of this.#needs.builds.ids()) this.building(now, build, false)
  }

  #send(now: number, peer: string, build: Uint8Array, active: boolean): void {
    const { builds, reservations } = this.#needs
    if (active) reservations.announced(peer, now)
    const toolchains = active ? builds.toolchains() : []
    this.#needs.send(peer, frame('building', { build, active, toolchains }))
  }
}
