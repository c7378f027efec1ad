import type { Clock } from '../base/clock.ts'
import type { OwnerLeaves } from './lender.ts'
import type { Machine } from './machine.ts'

export interface OwnerWatchInit {
  /** False: the owner's work is not looked at. */
  yields: boolean
  /** Processors that are lent at most while somebody sits here. Default: half of them, at least one. */
  inUse?: number | undefined
  /** Called whenever what is left to others, or why, is something else. */
  onChange(leaves: OwnerLeaves): void
}

const lookMs = 1000
/** Looks in a row that must agree before guests have to go, and before others may come. Leaving is quicker than coming. */
const [looksToYield, looksToLend] = [2, 5]
/** Less than this is left to the owner whole: what a compile can come to need is not known. */
const leastMemory = 768 << 20
/** Of a processor: what a desktop does all the time. */
const background = 0.35
/** Keyboard, mouse and terminals are looked at once in so many looks. */
const inputEvery = 5
/** Somebody sits here who has used them at two of three such looks: who knocks against the table has not. */
const [inputsOfSomebody, inputsKept] = [2, 3]
/** Nobody sits here any more who has not used them for so many looks: three minutes. */
const looksUntilAway = 180
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
  readonly #inUse: number
  readonly #inputs: boolean[] = []
  /** Looks that are left until nobody sits here; 0: nobody does. */
  #attended = 0
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
    this.#inUse = init.inUse ?? Math.max(1, Math.floor(machine.cores / 2))
  }

  start(): void {
    this.#init.onChange(this.leaves)
    if (!this.#init.yields) return
    this.#machine.busyCores()
    this.#machine.hadInput()
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
    if (this.#looks % batteryEvery === 0) this.#onBattery = this.#machine.onBattery()
    this.#attended = Math.max(0, this.#attended - 1)
    if (this.#looks % inputEvery === 0) this.#lookForInput()
    this.#looks += 1
    const { left, reason } = this.#left()
    this.#seen.push(left)
    if (this.#seen.length > looksToLend) this.#seen.shift()
    const most = Math.max(...this.#seen.slice(-looksToYield))
    const least = Math.min(...this.#seen)
    const [before, reasonBefore] = [this.#lendable, this.#reason]
    if (this.#seen.length >= looksToYield && most < before) this.#lendable = most
    else if (this.#seen.length >= looksToLend && least > before) this.#lendable = least
    this.#reason = this.#lendable === this.#machine.cores ? '' : reason || this.#reason
    if (this.#lendable !== before || this.#reason !== reasonBefore) this.#init.onChange(this.leaves)
  }

  #lookForInput(): void {
    const had = this.#machine.hadInput()
    this.#inputs.push(had)
    if (this.#inputs.length > inputsKept) this.#inputs.shift()
    const isSomebody = this.#attended > 0 || this.#inputs.filter(Boolean).length >= inputsOfSomebody
    if (had && isSomebody) this.#attended = looksUntilAway
  }

  #left(): { left: number; reason: string } {
    const { cores } = this.#machine
    const busy = this.#machine.busyCores()
    if (this.#onBattery) return { left: 0, reason: 'on battery' }
    if (this.#machine.freeMemoryBytes() < leastMemory) return { left: 0, reason: 'memory is short' }
    const left = Math.max(0, Math.min(cores, Math.floor(cores - busy + background)))
    if (this.#attended > 0 && this.#inUse < left) return { left: this.#inUse, reason: 'its owner is at the keyboard' }
    return { left, reason: left === cores ? '' : 'its owner uses it' }
  }
}
