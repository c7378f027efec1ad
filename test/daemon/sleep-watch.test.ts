import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { BusReader, encodeMessage, encodeString, kinds } from '../../src/daemon/bus-messages.ts'
import { watchSleep } from '../../src/daemon/sleep-watch.ts'

const daemon = '/usr/bin/dbus-daemon'
const manager = 'org.freedesktop.login1'

/** A program on the bus, with a name of its own if it asks for one. */
class OnTheBus {
  readonly #socket: Socket
  #serial = 1

  private constructor(socket: Socket) {
    this.#socket = socket
  }

  static async join(path: string, name?: string): Promise<OnTheBus> {
    const socket = connect(path)
    await once(socket, 'connect')
    socket.write(`\0AUTH EXTERNAL ${Buffer.from(String(process.getuid?.())).toString('hex')}\r\n`)
    await once(socket, 'data')
    socket.write('BEGIN\r\n')
    const program = new OnTheBus(socket)
    await program.#call('Hello')
    if (name !== undefined) await program.#call('RequestName', 'su', [encodeString(name), Buffer.alloc(8)])
    return program
  }

  async #call(member: string, signature?: string, parts: Buffer[] = []): Promise<void> {
    const bus = 'org.freedesktop.DBus'
    const body = Buffer.concat(parts)
    // A number stands at a multiple of four.
    const padded = signature === 'su' ? body.subarray(0, Math.ceil((body.length - 8) / 4) * 4 + 4) : body
    const call = { kind: kinds.call, path: '/org/freedesktop/DBus', interface: bus, member, destination: bus }
    this.#socket.write(encodeMessage(signature ? { ...call, signature } : call, this.#serial++, padded))
    await once(this.#socket, 'data')
  }

  prepareForSleep(isAsleep: boolean): void {
    const body = Buffer.alloc(4)
    body.writeUInt32LE(isAsleep ? 1 : 0)
    const signal = {
      kind: kinds.signal,
      path: '/org/freedesktop/login1',
      interface: `${manager}.Manager`,
      member: 'PrepareForSleep',
      signature: 'b',
    }
    this.#socket.write(encodeMessage(signal, this.#serial++, body))
  }

  leave(): void {
    this.#socket.destroy()
  }
}

describe('a machine that goes to sleep', { skip: existsSync(daemon) ? false : 'there is no dbus-daemon here' }, () => {
  let dir: string
  let path: string
  let bus: ChildProcess
  let login: OnTheBus
  let watching: (() => void) | undefined
  const heard: string[] = []
  let next = Promise.withResolvers<void>()

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'shoal-bus-'))
    path = join(dir, 'socket')
    await writeFile(
      join(dir, 'bus.conf'),
      `<busconfig><type>session</type><listen>unix:path=${path}</listen><policy context="default">
      <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`,
    )
    bus = spawn(daemon, [`--config-file=${join(dir, 'bus.conf')}`, '--nofork', '--print-address'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    await once(bus.stdout ?? bus, 'data')
    login = await OnTheBus.join(path, manager)
    const note = (what: string) => () => {
      heard.push(what)
      next.resolve()
    }
    watching = watchSleep({
      clock: systemClock,
      log: silentLogger,
      env: { DBUS_SYSTEM_BUS_ADDRESS: `unix:guid=00,path=${path}` },
      market: { leave: note('leave'), comeBack: note('come back') },
    })
  })
  after(async () => {
    watching?.()
    login.leave()
    const gone = once(bus, 'exit')
    bus.kill()
    await gone
    await rm(dir, { recursive: true })
  })

  const nextHeard = async (): Promise<string[]> => {
    await next.promise
    next = Promise.withResolvers()
    return heard.splice(0)
  }

  test('is heard of from the login manager, and when it is awake', async () => {
    // It may not have asked for that yet.
    const calling = setInterval(() => login.prepareForSleep(true), 20)
    assert.equal((await nextHeard())[0], 'leave')
    clearInterval(calling)
    login.prepareForSleep(false)
    for (;;) if ((await nextHeard()).includes('come back')) break
  })

  test('is believed from nobody else', async () => {
    const other = await OnTheBus.join(path, 'org.example.other')
    other.prepareForSleep(true)
    // Whoever asks the bus for something afterwards is answered afterwards.
    await OnTheBus.join(path).then((program) => program.leave())
    login.prepareForSleep(false)
    assert.deepEqual(await nextHeard(), ['come back'])
    other.leave()
  })
})

test('what comes over the bus in pieces is put together, and what is no message ends it', () => {
  const whole = encodeMessage(
    { kind: kinds.signal, member: 'Some', interface: 'a.b', signature: 's' },
    7,
    encodeString('x'),
  )
  const reader = new BusReader()
  const found = [...whole, ...whole].flatMap((byte) => reader.push(Uint8Array.of(byte)))
  assert.deepEqual(
    found.map(({ message }) => message),
    Array(2).fill({ kind: 4, interface: 'a.b', member: 'Some', signature: 's' }),
  )
  assert.deepEqual(found[0]?.body, encodeString('x'))
  assert.throws(() => new BusReader().push(Buffer.alloc(16, 'x')), { code: 'ERR_DECODE' })
  const long = Buffer.from(whole)
  long.writeUInt32LE(1 << 30, 4)
  assert.throws(() => new BusReader().push(long), { code: 'ERR_DECODE' })
})
