import type { Report } from '../shapes.ts'

/** What the demo sets out to show. */
export const wanted = {
  /** Of the lib units of a cold build: compiled by the other nodes. */
  awayShare: 0.3,
  /** Of all units of the same build elsewhere: recalled. */
  recalledShare: 0.9,
} as const

export interface Share {
  count: number
  of: number
  share: number
}

export interface Verdict {
  away: Share
  recalled: Share
  holds: boolean
}

/** Pure: the two reports → whether they show it. A build without units shows nothing. Only libraries are compiled away. */
export function verdictOf(cold: Pick<Report, 'units'>, elsewhere: Pick<Report, 'units'>): Verdict {
  const libraries = cold.units.filter(({ kind }) => kind === 'lib')
  const away = shareOf(libraries, ({ outcome }) => outcome === 'compiled-mesh')
  const recalled = shareOf(elsewhere.units, ({ outcome }) => /^recalled-/.test(outcome))
  return { away, recalled, holds: away.share >= wanted.awayShare && recalled.share >= wanted.recalledShare }
}

function shareOf(units: Report['units'], counts: (unit: Report['units'][number]) => boolean): Share {
  const count = units.filter(counts).length
  return { count, of: units.length, share: units.length === 0 ? 0 : count / units.length }
}
