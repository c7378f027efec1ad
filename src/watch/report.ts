import { type CauseEvent, type Outcome, outcomes } from './events.ts'
import type { Session } from './sessions.ts'
import type { TrafficCounts } from './traffic.ts'

/** One row of a report. */
export interface ReportUnit {
  crate: string
  kind: string
  outcome: Outcome
  where: string
  reason: string
  /** Milliseconds since the session's first unit. */
  startMs: number
  ms: number
  bytesIn: number
  bytesOut: number
  /** Error code of the way that was tried first and failed. */
  fallback?: string
  /** `name@version` of its package. */
  package?: string
  /** In what it differed from the nearest result that was kept. */
  causes?: CauseEvent[]
}

/** What another member did for a session. */
export interface ReportPeer {
  name: string
  compiled: number
  recalled: number
  /** Sum over its units, as seen from here. */
  ms: number
}

/** `shoal report --json`, version 1. Fields are added, never changed or removed. */
export interface Report {
  schema: 1
  session: string
  /** False while cargo still runs. */
  over: boolean
  cwd: string
  /** ISO 8601, UTC. */
  startedAt: string
  /** From the first unit's question to the last one's answer. */
  wallMs: number
  totals: Record<Outcome, number>
  bytesIn: number
  bytesOut: number
  /** Units for which a first way failed and another one served. */
  fallbacks: number
  /** Of the whole node meanwhile, whatever it was for; absent when unknown. */
  traffic?: TrafficCounts
  peers: ReportPeer[]
  units: ReportUnit[]
}

/** Pure: the same session gives the same report. */
export function reportOf(session: Session): Report {
  const totals = Object.fromEntries(outcomes.map((outcome) => [outcome, 0])) as Record<Outcome, number>
  const peers = new Map<string, ReportPeer>()
  const report: Report = {
    schema: 1,
    session: session.id,
    over: session.over,
    cwd: session.cwd,
    startedAt: new Date(session.startedAt).toISOString(),
    wallMs: 0,
    totals,
    bytesIn: 0,
    bytesOut: 0,
    fallbacks: 0,
    peers: [],
    units: [],
  }
  if (session.traffic !== undefined) report.traffic = session.traffic
  for (const unit of session.units) {
    const { crate, kind, outcome, where, reason, ms, bytesIn, bytesOut } = unit
    // The wall clock may be set back during a build; a unit never starts before its session.
    const startMs = Math.max(0, unit.startedAt - session.startedAt)
    report.wallMs = Math.max(report.wallMs, startMs + ms)
    totals[outcome] += 1
    report.bytesIn += bytesIn
    report.bytesOut += bytesOut
    if (unit.fallback !== undefined) report.fallbacks += 1
    const row: ReportUnit = { crate, kind, outcome, where, reason, startMs, ms, bytesIn, bytesOut }
    if (unit.fallback !== undefined) row.fallback = unit.fallback
    if (unit.package !== undefined) row.package = unit.package
    if (unit.causes !== undefined) row.causes = unit.causes
    report.units.push(row)
    if (outcome === 'compiled-mesh' || outcome === 'recalled-mesh') addToPeer(peers, where, outcome, ms)
  }
  report.peers = [...peers.values()].toSorted((a, b) => b.ms - a.ms || (a.name < b.name ? -1 : 1))
  return report
}

function addToPeer(peers: Map<string, ReportPeer>, name: string, outcome: Outcome, ms: number): void {
  const peer = peers.get(name) ?? { name, compiled: 0, recalled: 0, ms: 0 }
  if (outcome === 'compiled-mesh') peer.compiled += 1
  else peer.recalled += 1
  peer.ms += ms
  peers.set(name, peer)
}

/** One line of the list of sessions. */
export interface SessionSummary {
  session: string
  over: boolean
  cwd: string
  startedAt: string
  wallMs: number
  units: number
  totals: Record<Outcome, number>
}

export function summaryOf(session: Session): SessionSummary {
  const { session: id, over, cwd, startedAt, wallMs, totals, units } = reportOf(session)
  return { session: id, over, cwd, startedAt, wallMs, units: units.length, totals }
}
