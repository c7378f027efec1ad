import type { Clock, Random } from '../base/clock.ts'
import type { SessionRecord, UnitEvent } from './events.ts'
import type { History } from './history.ts'
import type { ProcessTable } from './processes.ts'
import type { Traffic, TrafficCounts } from './traffic.ts'

/** One cargo process and the units it asked for. */
export interface Session {
  /** Sorts by time; unique on this node. */
  id: string
  /** Process id of cargo. */
  pid: number
  /** Where the first unit was compiled from. */
  cwd: string
  /** Milliseconds since the Unix epoch: its first unit. */
  startedAt: number
  over: boolean
  /** Of the whole node, whatever it was for, from the first unit until cargo had ended, so far while it runs; absent when unknown. */
  traffic?: TrafficCounts
  /** In the order in which they finished. */
  units: UnitEvent[]
}

/** What the daemon knows when a unit is answered; the session fills in the rest. */
export type UnitFacts = Omit<UnitEvent, 'session' | 'startedAt' | 'ms'>

/** A unit between the shim's question and its answer. */
export interface OpenUnit {
  session: string
  /** To be called once, when the unit is answered and its result is stored. Later calls do nothing. */
  finish(facts: UnitFacts): void
  /** The shim went away before an answer: counts as nothing. */
  abandon(): void
}

export interface SessionsNeeds {
  clock: Clock
  random: Random
  processes: ProcessTable
  history: History
  traffic: Pick<Traffic, 'counts' | 'since'>
  /** Called once for each session whose cargo has ended. */
  onEnd?: (session: Session) => void
}

export interface SessionsInit {
  /** Older ones are forgotten. Default 100. */
  maxSessions?: number
  /** Over all sessions that are remembered; the oldest are forgotten first. Default 25,000. */
  maxUnits?: number
}

interface OpenSession {
  session: Session
  identity: string | undefined
  trafficBefore: TrafficCounts
  inFlight: number
  waiters: (() => void)[]
  cancelCheck: (() => void) | undefined
}

/** How often an idle session's cargo is looked for. */
const idleCheckMs = 2000
/** Longest wait for results that are being stored. */
const storeMs = 10_000

/** Groups units by the cargo process that asked for them, and remembers the last builds over restarts. */
export class Sessions {
  readonly #needs: SessionsNeeds
  readonly #maxSessions: number
  readonly #maxUnits: number
  readonly #open = new Map<number, OpenSession>()
  /** Oldest first; holds the open ones too. */
  #sessions: Session[] = []

  constructor(needs: SessionsNeeds, init: SessionsInit = {}) {
    this.#needs = needs
    this.#maxSessions = init.maxSessions ?? 100
    this.#maxUnits = init.maxUnits ?? 25_000
  }

  /** Reads the history; to be called once, before `begin`. What was open when the node stopped counts as over. */
  async load(): Promise<void> {
    this.#sessions = sessionsOf(await this.#needs.history.load())
    this.#forget()
  }

  /** A unit of the cargo process `pid` starts now. */
  begin(pid: number, cwd: string): OpenUnit {
    const open = this.#openSession(pid, cwd)
    const { clock } = this.#needs
    const startedAt = clock.wall()
    const from = clock.now()
    open.inFlight += 1
    let done = false
    const leave = (facts: UnitFacts | undefined): void => {
      if (done) return
      done = true
      if (facts !== undefined) {
        this.#record(open, { ...facts, session: open.session.id, startedAt, ms: Math.round(clock.now() - from) })
      }
      open.inFlight -= 1
      this.#idle(open)
    }
    return { session: open.session.id, finish: leave, abandon: () => leave(undefined) }
  }

  /**
   * The session of a cargo process that has exited, once its last unit is answered and stored. undefined when that
   * process asked for nothing.
   */
  async settle(pid: number): Promise<Session | undefined> {
    const open = this.#open.get(pid)
    if (open === undefined) return this.#sessions.findLast((session) => session.pid === pid)
    if (open.inFlight > 0) await new Promise<void>((resolve) => open.waiters.push(resolve))
    this.#end(open)
    await this.#needs.history.flush()
    return open.session
  }

  /**
   * Settles once what cargos asked for that have ended is stored, at the latest after ten seconds: cargo does not wait for that, but
   * whoever asks right after it what became of its units wants to hear of all of them.
   */
  async stored(): Promise<void> {
    const { clock, processes } = this.#needs
    const ended = [...this.#open.values()].filter(
      ({ inFlight, identity, session }) => inFlight > 0 && processes.identify(session.pid) !== identity,
    )
    if (ended.length === 0) return
    const late = Promise.withResolvers<void>()
    const cancel = clock.after(storeMs, late.resolve)
    const all = ended.map((open) => new Promise<void>((resolve) => open.waiters.push(resolve)))
    await Promise.race([Promise.all(all), late.promise])
    cancel()
  }

  /** Newest first. */
  list(): readonly Session[] {
    return this.#sessions.toReversed()
  }

  /** @param id a session's id, the beginning of exactly one, or `last` */
  find(id: string): Session | undefined {
    for (const { session, trafficBefore } of this.#open.values()) {
      session.traffic = this.#needs.traffic.since(trafficBefore)
    }
    if (id === 'last') return this.#sessions.findLast((session) => session.units.length > 0)
    const matches = this.#sessions.filter((session) => session.id.startsWith(id))
    return matches.find((session) => session.id === id) ?? (matches.length === 1 ? matches[0] : undefined)
  }

  /** Writes what is known and stops looking for cargo processes. */
  async close(): Promise<void> {
    for (const open of [...this.#open.values()]) this.#end(open)
    await this.#needs.history.flush()
  }

  #openSession(pid: number, cwd: string): OpenSession {
    const known = this.#open.get(pid)
    // cargo's id may have gone to another cargo, but not while the first one waits for a unit.
    if (known !== undefined && known.inFlight > 0) return known
    const identity = this.#needs.processes.identify(pid)
    if (known !== undefined) {
      if (known.identity === identity) {
        known.cancelCheck?.()
        known.cancelCheck = undefined
        return known
      }
      this.#end(known)
    }
    const startedAt = this.#needs.clock.wall()
    const session: Session = { id: this.#newId(startedAt), pid, cwd, startedAt, over: false, units: [] }
    const trafficBefore = this.#needs.traffic.counts()
    const open: OpenSession = { session, identity, trafficBefore, inFlight: 0, waiters: [], cancelCheck: undefined }
    this.#open.set(pid, open)
    this.#sessions.push(session)
    this.#needs.history.append({ type: 'started', id: session.id, pid, cwd: clip(cwd), startedAt })
    this.#forget()
    return open
  }

  #record(open: OpenSession, unit: UnitEvent): void {
    const kept = { ...unit, crate: clip(unit.crate), where: clip(unit.where), reason: clip(unit.reason) }
    if (unit.package !== undefined) kept.package = clip(unit.package)
    if (unit.stem !== undefined) kept.stem = clip(unit.stem)
    open.session.units.push(kept)
    this.#needs.history.append({ type: 'unit', unit: kept })
  }

  #idle(open: OpenSession): void {
    if (open.inFlight > 0) return
    for (const resolve of open.waiters.splice(0)) resolve()
    this.#checkLater(open)
  }

  #checkLater(open: OpenSession): void {
    open.cancelCheck?.()
    if (open.session.over) return
    open.cancelCheck = this.#needs.clock.after(idleCheckMs, () => {
      if (open.inFlight > 0 || open.session.over) return
      if (this.#needs.processes.identify(open.session.pid) === open.identity && open.identity !== undefined) {
        this.#checkLater(open)
      } else {
        this.#end(open)
      }
    })
  }

  #end(open: OpenSession): void {
    if (open.session.over) return
    open.cancelCheck?.()
    open.session.over = true
    const traffic = this.#needs.traffic.since(open.trafficBefore)
    open.session.traffic = traffic
    if (this.#open.get(open.session.pid) === open) this.#open.delete(open.session.pid)
    this.#needs.history.append({ type: 'ended', id: open.session.id, traffic })
    this.#needs.onEnd?.(open.session)
    this.#forget()
    if (this.#needs.history.full) void this.#needs.history.rewrite(recordsOf(this.#sessions))
  }

  #forget(): void {
    let units = this.#sessions.reduce((sum, session) => sum + session.units.length, 0)
    let drop = Math.max(0, this.#sessions.length - this.#maxSessions)
    for (const [index, session] of this.#sessions.entries()) {
      if (index >= drop && units <= this.#maxUnits) break
      // The newest stays whatever its size, or a large build could never be reported.
      if (index === this.#sessions.length - 1) break
      units -= session.units.length
      drop = Math.max(drop, index + 1)
    }
    if (drop > 0) this.#sessions = this.#sessions.slice(drop)
  }

  #newId(at: number): string {
    const time = new Date(at).toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-')
    for (;;) {
      const tail = Math.floor(this.#needs.random() * 36 ** 4)
      const id = `${time}-${tail.toString(36).padStart(4, '0')}`
      if (!this.#sessions.some((session) => session.id === id)) return id
    }
  }
}

const clip = (text: string): string => (text.length > 1024 ? `${text.slice(0, 1023)}…` : text)

function sessionsOf(records: readonly SessionRecord[]): Session[] {
  const byId = new Map<string, Session>()
  for (const record of records) {
    if (record.type === 'started') {
      const { id, pid, cwd, startedAt } = record
      byId.set(id, { id, pid, cwd, startedAt, over: true, units: [] })
    } else if (record.type === 'unit') {
      byId.get(record.unit.session)?.units.push(record.unit)
    } else {
      const session = byId.get(record.id)
      if (session !== undefined && record.traffic !== undefined) session.traffic = record.traffic
    }
  }
  return [...byId.values()]
}

function* recordsOf(sessions: readonly Session[]): Generator<SessionRecord> {
  for (const { id, pid, cwd, startedAt, over, units, traffic } of sessions) {
    yield { type: 'started', id, pid, cwd: clip(cwd), startedAt }
    for (const unit of units) yield { type: 'unit', unit }
    if (over) yield { type: 'ended', id, ...(traffic === undefined ? {} : { traffic }) }
  }
}
