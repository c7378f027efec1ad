import { connect, type Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Environment } from '../base/paths.ts'
import { type BusMessage, BusReader, encodeMessage, encodeString, kinds } from './bus-messages.ts'

export interface SleepWatchNeeds {
  clock: Clock
  log: Logger
  env: Environment
  market: {
    /** The machine is about to sleep: others are told. */
    leave(): void
    comeBack(): void
  }
  lender: {
    /** The machine is awake: its sandbox may be another one than before. */
    tryAgain(): Promise<unknown>
  }
}

const usualAddress = 'unix:path=/run/dbus/system_bus_socket'
/** Whoever has that name on the system's bus is the login manager: only root may. */
const manager = 'org.freedesktop.login1'
const rule = `type='signal',sender='${manager}',interface='${manager}.Manager',member='PrepareForSleep'`
/** Awake for so long after it was to sleep: it has not, or nobody said that it woke up. The clock stands still while it sleeps. */
const awakeMs = 20_000
const againMs = 60_000
const greetingBytes = 512

/**
 * Listens on the system's bus for the machine going to sleep (a closed lid), and says goodbye to all members before it does. Nobody
 * waits for that: it takes a few milliseconds, and systemd needs longer to begin. Where there is no such bus, members notice by the
 * silence. @returns ends it
 */
export function watchSleep(needs: SleepWatchNeeds): () => void {
  const { clock, log, market, lender } = needs
  let socket: Socket | undefined
  let cancelWake: (() => void) | undefined
  let cancelRetry: (() => void) | undefined
  let isOver = false

  const wakes = (): void => {
    market.comeBack()
    void lender.tryAgain()
  }
  const sleeps = (isAsleep: boolean): void => {
    cancelWake?.()
    cancelWake = isAsleep ? clock.after(awakeMs, wakes) : undefined
    log.info(isAsleep ? 'the machine goes to sleep' : 'the machine is awake')
    if (isAsleep) market.leave()
    else wakes()
  }
  const listen = (): void => {
    const path = socketOf(needs.env.DBUS_SYSTEM_BUS_ADDRESS ?? usualAddress)
    if (path === undefined) return
    const current = connect(path)
    // Nothing here keeps the process alive.
    current.unref()
    socket = current
    current.on('error', (error) => log.debug('no bus', { code: codeOf(error) }))
    current.on('close', () => {
      if (!isOver) cancelRetry = clock.after(againMs, listen)
    })
    greet(current, (message, body) => {
      if (isPreparing(message)) sleeps(body[0] === 1)
    })
  }
  listen()
  return () => {
    isOver = true
    cancelWake?.()
    cancelRetry?.()
    socket?.destroy()
  }
}

function isPreparing({ kind, interface: of, member, signature }: BusMessage): boolean {
  return kind === kinds.signal && of === `${manager}.Manager` && member === 'PrepareForSleep' && signature === 'b'
}

/** Says who we are, then what we want to hear. What cannot be read ends the connection. */
function greet(socket: Socket, heard: (message: BusMessage, body: Buffer) => void): void {
  const reader = new BusReader()
  let greeting: Buffer | undefined = Buffer.alloc(0)
  const begin = (said: Buffer): Buffer | undefined => {
    const end = said.indexOf('\r\n')
    if (end < 0 && said.length < greetingBytes) return undefined
    if (!said.subarray(0, Math.max(0, end)).toString('latin1').startsWith('OK ')) {
      throw new ShoalError('ERR_DECODE', 'the bus does not let us in')
    }
    socket.write('BEGIN\r\n')
    socket.write(encodeMessage(asking('Hello'), 1))
    socket.write(encodeMessage({ ...asking('AddMatch'), signature: 's' }, 2, encodeString(rule)))
    return said.subarray(end + 2)
  }
  socket.once('connect', () => {
    const user = Buffer.from(String(process.getuid?.() ?? 0)).toString('hex')
    socket.write(`\0AUTH EXTERNAL ${user}\r\n`)
  })
  socket.on('data', (chunk: Buffer) => {
    try {
      let bytes: Buffer | undefined = chunk
      if (greeting !== undefined) {
        greeting = Buffer.concat([greeting, chunk])
        bytes = begin(greeting)
        if (bytes === undefined) return
        greeting = undefined
      }
      for (const { message, body } of reader.push(bytes)) heard(message, body)
    } catch (error) {
      socket.destroy(toShoalError(error))
    }
  })
}

const asking = (member: string): BusMessage => ({
  kind: kinds.call,
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
  member,
  destination: 'org.freedesktop.DBus',
})

/** Of the first address that is a socket in the file system. */
function socketOf(addresses: string): string | undefined {
  for (const address of addresses.split(';')) {
    const path = /^unix:(?:.*,)?path=([^,]+)/.exec(address)?.[1]
    if (path === undefined) continue
    return path.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  }
  return undefined
}
