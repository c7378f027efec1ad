import type { Clock, Random } from '../base/clock.ts'
import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { defaultLimits } from '../execute/limits.ts'
import { Rest, type RestNeeds } from './rest.ts'
import { type Case, type Rerun, tryCase, type Verdict } from './verdict.ts'

/** One action that is to be run again. */
export interface Audit {
  /** What it is about: the action, and which result of it. */
  key: string
  crate: string
  /** Everything that this node has to hold against each other; asked when it is run, because more may be known by then. */
  case(): Promise<Case | undefined>
  rerun(signal: AbortSignal): Promise<Rerun | undefined>
  settle(verdict: Verdict): Promise<void>
}

export interface AuditsNeeds extends RestNeeds {
  clock: Clock
  random: Random
  log: Logger
  guests: Guests
  /** Whether it is known what can be run here: before that nothing is tried, because nothing could be. */
  isReady(): boolean
}

/** Tasks of others that run here. */
export interface Guests {
  /** Whether its owner leaves the machine quiet: what runs here are guests or nothing. */
  areAll(): boolean
  /** Whether no more of them come; those that are there run to their end. */
  hold(isHeld: boolean): void
}

export interface AuditsInit {
  /** How long the machine has to be at rest first. Default: 3,000. */
  quietMs?: number
}

/** Whoever has a task here at all times would have nothing tried: when an audit has waited for so long, no more of them come … */
const patienceMs = 5 * 60_000
/** … until one was run: those that are there have so long to end as any task has … */
const mostGuestMs = defaultLimits.wallMs
/** … and when they have, it begins within this, or something else keeps it. */
const mostHeldMs = 60_000

const maxWaiting = 512
const maxAttempts = 5
const lookMs = 500
/** How soon to look again when what is missing is mains power or memory. */
const scarceMs = 30_000

/** Runs what others have computed once more, one after the other, when this machine has nothing else to do. */
export class Audits {
  readonly #needs: AuditsNeeds
  readonly #rest: Rest
  readonly #waiting = new Map<string, { audit: Audit; attempts: number }>()
  /** How many there were since none waited. */
  #came = 0
  #running: { abort: AbortController; ended: Promise<void> } | undefined
  #cancelLook: (() => void) | undefined
  #stopped = false
  /** Since then none was run, though one waits. */
  #idleSince = 0
  #heldUntil: number | undefined
  readonly #counts = { run: 0, agreed: 0, unsteady: 0, disagreed: 0, open: 0 }

  constructor(needs: AuditsNeeds, { quietMs = 3000 }: AuditsInit = {}) {
    this.#needs = needs
    this.#rest = new Rest(needs, { quietMs })
  }

  /** Counts since the start; for `status --json`. */
  get stats(): { waiting: number; run: number; agreed: number; unsteady: number; disagreed: number; open: number } {
    return { waiting: this.#waiting.size + (this.#running === undefined ? 0 : 1), ...this.#counts }
  }

  /**
   * Of several about one thing the latest counts. When there are too many, each that came since there was none has the same chance to
   * be among those that are tried: nobody can push out what it gave before by giving more.
   */
  add(audit: Audit): void {
    if (this.#stopped) return
    if (this.#waiting.size === 0) {
      this.#came = 0
      if (this.#running === undefined) this.#idleSince = this.#needs.clock.now()
    }
    if (!this.#waiting.delete(audit.key)) this.#came += 1
    if (this.#waiting.size >= maxWaiting) {
      const at = Math.floor(this.#needs.random() * this.#came)
      const leaves = [...this.#waiting.keys()][at]
      if (leaves === undefined) return
      this.#waiting.delete(leaves)
    }
    this.#waiting.set(audit.key, { audit, attempts: 0 })
    if (this.#cancelLook === undefined && this.#running === undefined) this.#lookAfter(lookMs)
  }

  /** A build has begun, or goes on. */
  giveWay(): void {
    this.#rest.broken()
    this.#running?.abort.abort()
    this.#letGo()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#cancelLook?.()
    this.#waiting.clear()
    this.#running?.abort.abort()
    await this.#running?.ended
    this.#letGo()
  }

  /** Makes room for one of those that wait, when others leave none. */
  #makeRoom(): void {
    const { clock, guests, isQuiet } = this.#needs
    const now = clock.now()
    // Where it is the owner that leaves no rest, nothing is gained by keeping others away.
    const areThere = guests.areAll() && !isQuiet()
    if (this.#heldUntil !== undefined) {
      if (!areThere) this.#heldUntil = Math.min(this.#heldUntil, now + mostHeldMs)
      if (now >= this.#heldUntil) this.#letGo()
    } else if (now - this.#idleSince >= patienceMs && areThere) {
      this.#heldUntil = now + mostGuestMs
      guests.hold(true)
    }
  }

  #letGo(): void {
    this.#idleSince = this.#needs.clock.now()
    if (this.#heldUntil === undefined) return
    this.#heldUntil = undefined
    this.#needs.guests.hold(false)
  }

  #lookAfter(ms: number): void {
    this.#cancelLook?.()
    this.#cancelLook = undefined
    if (this.#stopped || this.#waiting.size === 0) return
    this.#cancelLook = this.#needs.clock.after(ms, () => {
      this.#cancelLook = undefined
      this.#look()
    })
  }

  #look(): void {
    if (this.#stopped || this.#running !== undefined) return
    const state = this.#rest.look()
    if (!this.#needs.isReady()) {
      this.#lookAfter(lookMs)
      return
    }
    if (state !== 'at-rest') {
      if (state === 'busy') this.#makeRoom()
      else this.#letGo()
      this.#lookAfter(state === 'scarce' ? scarceMs : lookMs)
      return
    }
    const [first] = this.#waiting
    if (first === undefined) return
    const [key, { audit, attempts }] = first
    this.#waiting.delete(key)
    const abort = new AbortController()
    const ended = this.#run(audit, abort.signal).catch((error: unknown) => {
      const { code, message } = toShoalError(error)
      const isPutOff = abort.signal.aborted && attempts + 1 < maxAttempts
      if (!isPutOff) this.#counts.open += 1
      else if (!this.#stopped && !this.#waiting.has(key)) this.#waiting.set(key, { audit, attempts: attempts + 1 })
      this.#needs.log.info('audit not done', { crate: audit.crate, code, message })
    })
    this.#running = {
      abort,
      ended: ended.then(() => {
        this.#running = undefined
        this.#letGo()
        this.#lookAfter(0)
      }),
    }
  }

  async #run(audit: Audit, signal: AbortSignal): Promise<void> {
    const known = await audit.case()
    if (known === undefined) return
    this.#counts.run += 1
    const verdict = await tryCase(known, async () => {
      const rerun = await audit.rerun(signal)
      signal.throwIfAborted()
      return rerun
    })
    this.#counts[verdict.kind] += 1
    this.#needs.log.info('audited', { crate: audit.crate, verdict: verdict.kind })
    await audit.settle(verdict)
  }
}

/**
 * Whether a result that is about to be used is to be run again: the first ones of a member, all of one that has once said
 * something else than came out here, and a share of the others.
 */
export function isToBeAudited(
  { agreed, doubts }: { agreed: number; doubts: number },
  { share, first }: { share: number; first: number },
  random: Random,
): boolean {
  if (share === 0) return false
  return agreed < first || doubts > 0 || random() < share
}
