import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeMessage, encodeString, kinds } from '../../src/daemon/bus-messages.ts'

const program = '/usr/bin/dbus-daemon'
const manager = 'org.freedesktop.login1'

/** A program on the bus, with a name of its own if it asks for one. */
export class OnTheBus {
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
    const joined = new OnTheBus(socket)
    await joined.#call('Hello')
    if (name !== undefined) await joined.#call('RequestName', 'su', [encodeString(name), Buffer.alloc(8)])
    return joined
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

/** A bus of its own, and on it what says that the machine goes to sleep. */
export class TestBus {
  readonly path: string
  readonly login: OnTheBus
  readonly #dir: string
  readonly #daemon: ChildProcess

  private constructor(dir: string, path: string, daemon: ChildProcess, login: OnTheBus) {
    this.#dir = dir
    this.path = path
    this.#daemon = daemon
    this.login = login
  }

  /** False: why it cannot be had here. */
  static readonly missing: string | false = existsSync(program) ? false : 'there is no dbus-daemon here'

  static async start(): Promise<TestBus> {
    const dir = await mkdtemp(join(tmpdir(), 'shoal-bus-'))
    const [path, config] = [join(dir, 'socket'), join(dir, 'bus.conf')]
    await writeFile(
      config,
      `<busconfig><type>session</type><listen>unix:path=${path}</listen><policy context="default">
      <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`,
    )
    const args = [`--config-file=${config}`, '--nofork', '--print-address']
    const daemon = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] })
    await once(daemon.stdout, 'data')
    return new TestBus(dir, path, daemon, await OnTheBus.join(path, manager))
  }

  async stop(): Promise<void> {
    this.login.leave()
    const gone = once(this.#daemon, 'exit')
    this.#daemon.kill()
    await gone
    await rm(this.#dir, { recursive: true })
  }
}
