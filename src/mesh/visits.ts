import { ShoalError } from '../base/errors.ts'
import { fullest, type Origin, originOf } from './crowd.ts'

/** A newcomer that is being served. */
export interface Visit {
  /** From here on nobody takes its place: something is about to be used up for it. */
  keep(): void
  /** It was served. */
  leave(): void
}

interface Place extends Origin {
  isKept: boolean
  evict(reason: ShoalError): void
}

/** Newcomers that are served at once. */
const maxVisits = 16

/**
 * Places at a desk, for whoever has shown that it knows what to ask. One more than there are, and the one goes that has been there for
 * longest, of the network that has the most, and there of the host that has: whoever fills the places is in its own way.
 */
export class Visits {
  /** The longest here first. */
  readonly #places = new Set<Place>()

  /**
   * @param host where the newcomer comes from
   * @param evict ends its connection
   * @throws ShoalError ERR_LIMIT when no place can be had
   */
  enter(host: string, evict: (reason: ShoalError) => void): Visit {
    if (this.#places.size >= maxVisits) this.#makeRoom()
    const place: Place = { ...originOf(host), isKept: false, evict }
    this.#places.add(place)
    return {
      keep: () => {
        place.isKept = true
      },
      leave: () => void this.#places.delete(place),
    }
  }

  #makeRoom(): void {
    const longest = fullest(this.#places).find(({ isKept }) => !isKept)
    if (longest === undefined) throw new ShoalError('ERR_LIMIT', 'too many newcomers at once')
    this.#places.delete(longest)
    longest.evict(new ShoalError('ERR_LIMIT', 'too many newcomers at once'))
  }
}
