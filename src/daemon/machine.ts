import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { line, names } from './kernel-files.ts'
import { ownerInput } from './owner-input.ts'

/** What this machine is doing besides what we asked of it. */
export interface Machine {
  /** Processors. */
  cores: number
  /**
   * How many of them were busy on average since the last call; 0 at the first. Work of low priority does not count. Several ask the same
   * machine: who does so within a quarter of a second after another one is told the same.
   */
  busyCores(): number
  /** Memory that a program could have now, bytes. */
  freeMemoryBytes(): number
  /** False when nothing tells of a battery. */
  onBattery(): boolean
  /** Whether somebody used its keyboard, mouse or terminals since the last call, see `OwnerInput`. */
  hadInput(): boolean
}

/** The system counts in steps of 10 ms: of a shorter time it tells next to nothing. */
const leastWindowMs = 250

/** @param powerDir where Linux shows batteries and mains adapters */
export function systemMachine(platform: NodeJS.Platform, powerDir = '/sys/class/power_supply'): Machine {
  let last: Times | undefined
  let busy = 0
  const input = ownerInput(platform)
  return {
    cores: cpus().length,
    busyCores() {
      const times = processorTimes()
      const since = last ?? times
      const total = times.total - since.total
      // Less than zero: a processor was switched off, and its times with it.
      if (last !== undefined && total >= 0 && total < leastWindowMs * times.cores) return busy
      last = times
      busy = total <= 0 ? 0 : ((times.busy - since.busy) / total) * times.cores
      return busy
    },
    freeMemoryBytes: () => process.availableMemory(),
    onBattery: () => (platform === 'darwin' ? batteryByPmset() : batteryBySysfs(powerDir)),
    hadInput: () => input.had(),
  }
}

/** Names this start of the system; '' where it does not tell. */
export const bootId = (): string => line('/proc/sys/kernel/random/boot_id') ?? ''

interface Times {
  busy: number
  total: number
  cores: number
}

function processorTimes(): Times {
  const times = { busy: 0, total: 0, cores: 0 }
  for (const { times: spent } of cpus()) {
    const busy = spent.user + spent.sys + spent.irq
    times.busy += busy
    times.total += busy + spent.nice + spent.idle
    times.cores += 1
  }
  return times
}

/** A battery of a mouse (scope `Device`) does not run the machine. */
function batteryBySysfs(dir: string): boolean {
  return names(dir).some((name) => {
    const value = (file: string): string | undefined => line(join(dir, name, file))
    return value('type') === 'Battery' && value('scope') !== 'Device' && value('status') === 'Discharging'
  })
}

function batteryByPmset(): boolean {
  try {
    return execFileSync('pmset', ['-g', 'batt'], { encoding: 'utf8', timeout: 1000 }).includes("'Battery Power'")
  } catch {
    return false
  }
}
