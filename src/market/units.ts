import type { Attempt, Unit } from './unit.ts'

/** The units that are not settled, and who is at them. */
export class Units {
  readonly #byId = new Map<string, Unit>()

  get size(): number {
    return this.#byId.size
  }
  /** How many somebody is at. */
  get away(): number {
    let away = 0
    for (const { attempts } of this.#byId.values()) if (attempts.length > 0) away += 1
    return away
  }

  get(id: string): Unit | undefined {
    return this.#byId.get(id)
  }
  has(id: string): boolean {
    return this.#byId.has(id)
  }
  add(unit: Unit): void {
    this.#byId.set(unit.id, unit)
  }
  remove({ id }: Unit): void {
    this.#byId.delete(id)
  }
  values(): IterableIterator<Unit> {
    return this.#byId.values()
  }

  /** Epoch of the attempt that this peer has of this unit. */
  leased(id: string, peer: string): number | undefined {
    return this.#byId.get(id)?.attempts.find((attempt) => attempt.peer === peer)?.epoch
  }

  /** The unit that this peer has under a lease of this epoch, and the lease. */
  attemptOf(peer: string, id: string, epoch: number): [Unit, Attempt] | undefined {
    const unit = this.#byId.get(id)
    const attempt = unit?.attempts.find((one) => one.peer === peer && one.epoch === epoch)
    return unit && attempt && [unit, attempt]
  }

  awayAt(peer: string): [Unit, Attempt][] {
    return [...this.#byId.values()].flatMap((unit) => {
      return unit.attempts.flatMap((attempt): [Unit, Attempt][] => (attempt.peer === peer ? [[unit, attempt]] : []))
    })
  }

  /** When the next attempt is to be looked at. */
  nextDue(): number {
    let next = Number.POSITIVE_INFINITY
    for (const { attempts } of this.#byId.values()) {
      for (const { leaseUntil, deadline, judgeAt } of attempts) next = Math.min(next, leaseUntil, deadline, judgeAt)
    }
    return next
  }
}
