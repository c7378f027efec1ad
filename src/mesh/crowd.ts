import { networkOf } from './addresses.ts'

/** Where somebody comes from who takes up a place. */
export interface Origin {
  /** IP address. */
  host: string
  network: string
}

export function originOf(host: string): Origin {
  return { host, network: networkOf(host) }
}

/**
 * Those who take up places, in the order in which they have to go: first of the network that has the most, and in it of the address that has
 * the most, and of these whoever came first. So who has all addresses of a network is in the way of that network only, and who has one
 * address in its own.
 * @param places in the order in which they came
 */
export function fullest<T extends Origin>(places: Iterable<T>): T[] {
  return largest(places, ({ network }) => network).flatMap((near) => largest(near, ({ host }) => host).flat())
}

function largest<T>(places: Iterable<T>, nameOf: (place: T) => string): T[][] {
  return [...Map.groupBy(places, nameOf).values()].toSorted((a, b) => b.length - a.length)
}
