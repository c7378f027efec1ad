import type { Report } from '../shapes.ts'

/** What the demo sets out to show. */
export const wanted = {
  /** Of the lib units of a cold build: compiled by the other nodes. */
  awayShare: 0.3,
  /** Of the lib units of the same build elsewhere: recalled. */
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

/** Pure: the two reports → whether they show it. A build without lib units shows nothing. */
export function verdictOf(cold: Pick<Report, 'units'>, elsewhere: Pick<Report, 'units'>): Verdict {
  const away = shareOf(cold, (outcome) => outcome === 'compiled-mesh')
  const recalled = shareOf(elsewhere, (outcome) => outcome === 'recalled-here' || outcome === 'recalled-mesh')
  return { away, recalled, holds: away.share >= wanted.awayShare && recalled.share >= wanted.recalledShare }
}

function shareOf({ units }: Pick<Report, 'units'>, counts: (outcome: string) => boolean): Share {
  const libs = units.filter((unit) => unit.kind === 'lib')
  const count = libs.filter((unit) => counts(unit.outcome)).length
  return { count, of: libs.length, share: libs.length === 0 ? 0 : count / libs.length }
}
