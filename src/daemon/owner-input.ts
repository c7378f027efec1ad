import { execFile } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { line, names } from './kernel-files.ts'

/** Whether somebody sits at this machine. What is typed is not looked at, and nothing here could be read to find out. */
export interface OwnerInput {
  /**
   * Whether a key, a mouse, a touchpad or a terminal was used since the last call; false where nothing tells. The first only begins.
   * To be asked every five seconds or so.
   */
  had(): boolean
}

/** Where Linux shows how often what has moved; everybody may read it. */
export interface InputPlaces {
  /** Interrupts, each with who handles it and how many there were. */
  irq: string
  /** Drivers of the I²C bus, each with links to its devices: on that bus lie the touchpads of most laptops. */
  i2c: string
  usb: string
  /** Consoles, and below `pts` the terminals of windows, of tmux and of ssh. */
  dev: string
}

const linuxPlaces: InputPlaces = {
  irq: '/sys/kernel/irq',
  i2c: '/sys/bus/i2c/drivers',
  usb: '/sys/bus/usb/devices',
  dev: '/dev',
}

/** What is plugged in is found within so many calls: a minute. */
const listEvery = 12
/** What has moved at so many calls in a row, an hour, is no person, not even one who plays: some touchpads and mice report all the time. */
const restless = 720

/** @param linux directories that stand in for those of Linux */
export function ownerInput(platform: NodeJS.Platform, linux: Partial<InputPlaces> = {}): OwnerInput {
  if (platform === 'darwin') return new IdleTime()
  return platform === 'linux' ? new Counters({ ...linuxPlaces, ...linux }) : { had: () => false }
}

/** What has a counter that moves with each input. */
interface Source {
  /** Undefined: it is gone. */
  read(): string | undefined
}

class Counters implements OwnerInput {
  readonly #places: InputPlaces
  #devices: ReadonlyMap<string, Source> = new Map()
  readonly #last = new Map<string, { reading: string; moves: number }>()
  #calls = 0

  constructor(places: InputPlaces) {
    this.#places = places
  }

  had(): boolean {
    const { irq, i2c, usb, dev } = this.#places
    if (this.#calls++ % listEvery === 0) {
      this.#devices = new Map([...interrupts(irq, i2c), ...usbDevices(usb), ...terminals(dev, /^tty\d+$/)])
    }
    let had = false
    const sources = new Map([...this.#devices, ...terminals(join(dev, 'pts'), /^\d+$/)])
    for (const name of this.#last.keys()) if (!sources.has(name)) this.#last.delete(name)
    for (const [name, source] of sources) {
      const reading = source.read()
      const last = this.#last.get(name)
      if (reading === undefined) continue
      const moves = last === undefined || last.reading === reading ? 0 : last.moves + 1
      this.#last.set(name, { reading, moves })
      had ||= moves > 0 && moves < restless
    }
    return had
  }
}

/** The keyboard controller of a PC, which serves touchpads and pointing sticks too, and what has a line of its own on the I²C bus. */
function interrupts(irqDir: string, i2cDir: string): Map<string, Source> {
  const handlers = new Set(['i8042', ...i2cInputs(i2cDir)])
  const sources = new Map<string, Source>()
  for (const number of names(irqDir)) {
    const actions = line(join(irqDir, number, 'actions'))?.split(',') ?? []
    if (!actions.some((action) => handlers.has(action))) continue
    const count = join(irqDir, number, 'per_cpu_count')
    sources.set(`irq ${number}`, { read: () => line(count) })
  }
  return sources
}

/** Their interrupts bear the names of the devices. Sensors of light and place, which use the same driver, are no input devices. */
function i2cInputs(dir: string): string[] {
  const drivers = names(dir).filter((name) => name.startsWith('i2c_hid'))
  const devices = drivers.flatMap((driver) => names(join(dir, driver)).map((device) => join(dir, driver, device)))
  const inputs = devices.filter((device) => names(device).some((hid) => names(join(device, hid)).includes('input')))
  return inputs.flatMap((device) => line(join(device, 'name')) ?? [])
}

/**
 * A keyboard or mouse, or the receiver of a wireless one, is asked for its next report once it has sent one: so many transfers, so many reports.
 * Other devices of that class, such as power supplies and headsets, do not say that they are keyboards or mice.
 */
function usbDevices(dir: string): Map<string, Source> {
  const sources = new Map<string, Source>()
  for (const name of names(dir)) {
    const [device, configured] = name.split(':')
    if (device === undefined || configured === undefined) continue
    const value = (file: string): string | undefined => line(join(dir, name, file))
    if (value('bInterfaceClass') !== '03' || !['01', '02'].includes(value('bInterfaceProtocol') ?? '')) continue
    const count = join(dir, device, 'urbnum')
    sources.set(`usb ${device}`, { read: () => line(count) })
  }
  return sources
}

/** When a program was last given what somebody typed (to eight seconds); what it prints changes another time. */
function terminals(dir: string, which: RegExp): Map<string, Source> {
  const sources = new Map<string, Source>()
  for (const name of names(dir)) {
    if (!which.test(name)) continue
    const path = join(dir, name)
    sources.set(path, { read: () => lastRead(path) })
  }
  return sources
}

function lastRead(path: string): string | undefined {
  try {
    return statSync(path).atimeMs.toString()
  } catch {
    return undefined
  }
}

/** Asking macOS starts a program: once in so many calls, a quarter of a minute. */
const askEvery = 3
const askedMs = 15_000

class IdleTime implements OwnerInput {
  #calls = 0
  #had = false

  had(): boolean {
    // The answer of the last time: nothing waits for a program to start.
    if (this.#calls++ % askEvery === 0) {
      execFile('ioreg', ['-r', '-d', '1', '-c', 'IOHIDSystem'], { timeout: 1000 }, (_error, said) => {
        this.#had = idleMs(said) < askedMs
      })
    }
    return this.#had
  }
}

/** @param said by `ioreg`; nothing when it could not be asked */
function idleMs(said: string): number {
  const nanoseconds = /"HIDIdleTime" = (\d+)/.exec(said)?.[1]
  return nanoseconds === undefined ? Number.POSITIVE_INFINITY : Number(nanoseconds) / 1e6
}
