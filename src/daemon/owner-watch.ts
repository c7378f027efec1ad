import type { Clock } from '../base/clock.ts'
import type { OwnerLeaves } from './lender.ts'
import type { Machine } from './machine.ts'

export interface OwnerWatchInit {
  /** False: the owner's work is not looked at. */
  yields: boolean
  /** Called whenever that is something else. */
  onChange(leaves: OwnerLeaves): void
}

const lookMs = 1000
/** Looks in a row that must agree before guests have to go, and before others may come. Leaving is quicker than coming. */
const [looksToYield, looksToLend] = [2, 5]
/** Less than this is left to the owner whole: what a compile can come to need is not known. */
const leastMemory = 768 << 20
/** Of a processor: what a desktop does all the time. */
const background = 0.35
/** The battery is asked once in so many looks: on macOS that starts a program. */
const batteryEvery = 15

/**
 * How many processors the owner of this machine leaves to others, from what runs here that is not a guest. A short burst of
 * work changes nothing, and neither does a short rest.
 */
export class OwnerWatch {
  readonly #clock: Clock
  readonly #machine: Machine
  readonly #init: OwnerWatchInit
  readonly #seen: number[] = []
  #lendable: number
  #reason = ''
  #looks = 0
  #onBattery = false
  #cancel: (() => void) | undefined
  #paused = false
  #endPause: (() => void) | undefined

  constructor(clock: Clock, machine: Machine, init: OwnerWatchInit) {
    this.#clock = clock
    this.#machine = machine
    this.#init = init
    this.#lendable = machine.cores
  }

  start(): void {
    this.#init.onChange(this.leaves)
    if (!this.#init.yields) return
    this.#machine.busyCores()
    this.#arm()
  }

  stop(): void {
    this.#cancel?.()
    this.#endPause?.()
  }

  /** Lends nothing, from now on. @param ms for so long; undefined: until `resume` or the end of the daemon */
  pause(ms: number | undefined): void {
    this.#endPause?.()
    this.#endPause = ms === undefined ? undefined : this.#clock.after(ms, () => this.resume())
    this.#paused = true
    this.#init.onChange(this.leaves)
  }

  /** As before the pause; nothing when there is none. */
  resume(): void {
    this.#endPause?.()
    this.#endPause = undefined
    if (!this.#paused) return
    this.#paused = false
    this.#init.onChange(this.leaves)
  }

  /** One guest for each processor that the owner leaves. */
  get leaves(): OwnerLeaves {
    if (this.#paused) return { room: 0, onBattery: this.#onBattery, reason: 'paused' }
    if (!this.#init.yields) return { room: Number.MAX_SAFE_INTEGER, onBattery: false, reason: '' }
    return { room: this.#lendable, onBattery: this.#onBattery, reason: this.#reason }
  }

  #arm(): void {
    this.#cancel = this.#clock.after(lookMs, () => {
      this.#look()
      this.#arm()
    })
  }

  #look(): void {
    if (this.#looks++ % batteryEvery === 0) this.#onBattery = this.#machine.onBattery()
    const { left, reason } = this.#left()
    this.#seen.push(left)
    if (this.#seen.length > looksToLend) this.#seen.shift()
    const most = Math.max(...this.#seen.slice(-looksToYield))
    const least = Math.min(...this.#seen)
    const before = this.#lendable
    if (this.#seen.length >= looksToYield && most < before) this.#lendable = most
    else if (this.#seen.length >= looksToLend && least > before) this.#lendable = least
    this.#reason = this.#lendable === this.#machine.cores ? '' : reason || this.#reason
    if (this.#lendable !== before) this.#init.onChange(this.leaves)
  }

  #left(): { left: number; reason: string } {
    const { cores } = this.#machine
    const busy = this.#machine.busyCores()
    if (this.#onBattery) return { left: 0, reason: 'on battery' }
    if (this.#machine.freeMemoryBytes() < leastMemory) return { left: 0, reason: 'memory is short' }
    const left = Math.max(0, Math.min(cores, Math.floor(cores - busy + background)))
    return { left, reason: left === cores ? '' : 'its owner uses it' }
  }
}
