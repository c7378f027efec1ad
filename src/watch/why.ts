import type { CauseEvent, Outcome, UnitEvent } from './events.ts'
import type { Session } from './sessions.ts'

/** One step from a root cause to the unit that was asked about. */
export interface WhyStep {
  crate: string
  kind: string
  cause: CauseEvent
}

/** One unit of the crate that was asked about. */
export interface WhyUnit {
  crate: string
  kind: string
  package?: string
  /** The source file that cargo named. */
  source?: string
  outcome: Outcome
  where: string
  /** Why it was passed through, or why its result was not kept: a reason code, or text. */
  reason: string
  /** What the reason code says; absent for anything else. */
  meaning?: string
  /** In what the unit itself differs from the nearest result that was kept. */
  causes: CauseEvent[]
  /**
   * From each root cause to this unit, the likeliest root first: a dependency that differs because its own unit was not
   * recalled is followed to that unit. The last step is the unit itself.
   */
  because: WhyStep[][]
}

/** `shoal why --json`, version 1. Fields are added, never changed or removed. */
export interface Why {
  schema: 1
  session: string
  /** False while cargo still runs: then more may come. */
  over: boolean
  /** What was not recalled first. */
  units: WhyUnit[]
}

const maxRoots = 4
const maxNear = 3

/**
 * Why the units of a crate were not recalled.
 * @param name a crate, or a package as `name` or `name@version`; `-` and `_` are the same
 * @param meanings of the reason codes
 */
export function whyOf(session: Session, name: string, meanings: Readonly<Record<string, string>>): Why {
  const known = new Set(session.units.map((unit) => unit.package))
  const all = session.units.map((unit) => withoutSibling(unit, known))
  const crates = all.filter(({ crate }) => plain(crate) === plain(name))
  const others = all.filter((unit) => !crates.includes(unit) && isOf(unit, name))
  const missed = new MissedUnits(all)
  const units = [...crates, ...others].map((unit) => explained(unit, missed, meanings))
  const rank = ({ outcome }: WhyUnit): number => (isRecalled(outcome) ? 1 : 0)
  return { schema: 1, session: session.id, over: session.over, units: units.toSorted((a, b) => rank(a) - rank(b)) }
}

/** Names of crates in a build that are spelt almost like this one, the nearest first. */
export function nearNames({ units }: Session, name: string): string[] {
  const wanted = plain(name)
  const distances = new Map<string, number>()
  for (const { crate } of units) {
    const known = plain(crate)
    const within = wanted.length > 2 && (known.includes(wanted) || wanted.includes(known))
    const distance = Math.min(editDistance(known, wanted), within ? 1 : Number.POSITIVE_INFINITY)
    if (distance <= Math.max(1, Math.floor(wanted.length / 3))) distances.set(crate, distance)
  }
  return [...distances]
    .toSorted((a, b) => a[1] - b[1])
    .slice(0, maxNear)
    .map(([crate]) => crate)
}

const plain = (name: string): string => name.replaceAll('-', '_')

function isOf(unit: UnitEvent, name: string): boolean {
  if (unit.package === undefined) return false
  return plain(unit.package) === plain(name) || plain(unit.package.split('@')[0] ?? '') === plain(name)
}

/** Of two versions of a package in one build neither is what the other one was before. */
function withoutSibling(unit: UnitEvent, packages: ReadonlySet<string | undefined>): UnitEvent {
  const version = unit.causes?.find(({ what }) => what === 'version')
  if (version === undefined || !packages.has(`${version.name}@${version.recorded}`)) return unit
  return { ...unit, causes: [{ what: 'first-time', name: unit.crate, recorded: null, here: null }] }
}

const isRecalled = (outcome: Outcome): boolean => outcome === 'recalled-here' || outcome === 'recalled-mesh'

function explained(unit: UnitEvent, missed: MissedUnits, meanings: Readonly<Record<string, string>>): WhyUnit {
  const { crate, kind, outcome, where, reason } = unit
  const meaning = Object.hasOwn(meanings, reason) ? meanings[reason] : undefined
  const causes = isRecalled(outcome) ? [] : (unit.causes ?? [])
  return {
    crate,
    kind,
    outcome,
    where,
    reason,
    ...(unit.package === undefined ? {} : { package: unit.package }),
    ...(unit.source === undefined ? {} : { source: unit.source }),
    ...(meaning === undefined ? {} : { meaning }),
    causes,
    because: isRecalled(outcome) ? [] : rootsOf(unit, missed),
  }
}

/**
 * What differs in the unit itself comes first; then what it is built upon, in the order in which that was compiled; then
 * what these brought along, and what only differs from the result that was compared with: it was recalled as well. Each unit
 * on the way is entered once, over the fewest steps.
 */
function rootsOf(unit: UnitEvent, missed: MissedUnits): WhyStep[][] {
  const own: WhyStep[][] = []
  const brought: WhyStep[][] = []
  const followed: { at: number; way: WhyStep[] }[] = []
  const entered = new Set([unit])
  const open: { unit: UnitEvent; way: WhyStep[] }[] = [{ unit, way: [] }]
  for (const { unit: at, way } of open) {
    for (const cause of at.causes ?? []) {
      const longer = [{ crate: at.crate, kind: at.kind, cause }, ...way]
      const origin = missed.originOf(cause, at)
      if (origin !== undefined) {
        if (!entered.has(origin)) open.push({ unit: origin, way: longer })
        entered.add(origin)
      } else if (missed.isSettled(cause)) brought.push(longer)
      else if (at !== unit) followed.push({ at: at.startedAt, way: longer })
      else (open.length === 1 ? own : brought).push(longer)
    }
  }
  // Units that name nothing but each other: a history that no build writes, but that can be read.
  if (own.length + followed.length + brought.length === 0) {
    own.push(...(unit.causes ?? []).map((cause) => [{ crate: unit.crate, kind: unit.kind, cause }]))
  }
  const ways = [...own, ...followed.toSorted((a, b) => a.at - b.at).map(({ way }) => way), ...brought]
  // The same flag or variable in everything that the unit is built upon is one cause.
  const roots = new Map<string, WhyStep[]>()
  for (const way of ways) {
    const root = way[0]?.cause
    const key = JSON.stringify([root?.what, root?.name, root?.recorded, root?.here])
    if (!roots.has(key)) roots.set(key, way)
  }
  return [...roots.values()].slice(0, maxRoots)
}

/** The units of a build that were compiled anew and for which something that changed is to blame. */
class MissedUnits {
  readonly #byStem = new Map<string, UnitEvent>()
  readonly #scripts = new Map<string, UnitEvent>()
  readonly #runs = new Map<string, UnitEvent>()
  readonly #recalled = new Set<string>()

  constructor(units: readonly UnitEvent[]) {
    for (const unit of units) {
      const first = unit.causes?.[0]
      if (isRecalled(unit.outcome) && unit.stem !== undefined) this.#recalled.add(unit.stem)
      // One that was never seen before explains nothing: then whoever uses it uses another one.
      if (isRecalled(unit.outcome) || first === undefined || first.what === 'first-time') continue
      if (unit.stem !== undefined) this.#byStem.set(unit.stem, unit)
      if (unit.package === undefined) continue
      if (unit.kind === 'build-script') this.#scripts.set(unit.package, unit)
      if (unit.kind === 'build-script-run') this.#runs.set(unit.package, unit)
    }
  }

  /** A dependency whose own unit was recalled: what it holds now has been seen before. */
  isSettled({ what, recorded, unit }: CauseEvent): boolean {
    return what === 'dependency' && recorded !== null && unit !== undefined && this.#recalled.has(unit)
  }

  /** The unit whose being compiled anew explains a cause. */
  originOf(cause: CauseEvent, { package: package_ }: UnitEvent): UnitEvent | undefined {
    if (cause.what === 'dependency' && cause.recorded !== null && cause.unit !== undefined) {
      return this.#byStem.get(cause.unit)
    }
    if (package_ === undefined) return undefined
    if (cause.what === 'program' && cause.name === 'build script') return this.#scripts.get(package_)
    return cause.what === 'out-dir' ? (this.#runs.get(package_) ?? this.#scripts.get(package_)) : undefined
  }
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1]
    for (const [j, other] of [...b].entries()) {
      const substituted = (row[j] ?? 0) + (letter === other ? 0 : 1)
      next.push(Math.min(substituted, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row.at(-1) ?? 0
}
