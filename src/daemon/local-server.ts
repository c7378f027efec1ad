import { existsSync, rmSync } from 'node:fs'
import { chmod, lstat, mkdir, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { codeOf, errorTable, ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { checkOwnSocket } from '../base/private-path.ts'
import { encodeLocalFrame, FrameReader, localVersion } from '../wire/local.ts'
import type { LocalFrame, ScriptFrame } from '../wire/local-frames.ts'
import { readScriptCall, ScriptConnection, type ScriptLink } from './script-connection.ts'
import { readInvocation, ShimConnection, TokenDebts } from './shim-connection.ts'
import type { ShimLink } from './shim-link.ts'

export interface LocalServerNeeds {
  /** The story of one rustc call; whatever it throws ends in rustc on the shim's side. */
  compile(shim: ShimLink): Promise<void>
  /** The story of one run of a build script; whatever it throws ends in the script on the launcher's side. */
  script(link: ScriptLink): Promise<void>
  /** One command of the CLI: method and parameters → value. */
  command(method: string, params: unknown): Promise<unknown>
  /** Something was wrong with what a client sent. */
  onTrouble(error: ShoalError): void
  log: Logger
}

/** Who has not said hello by then is not one of ours. */
const helloMs = 5000
/** Left beside the socket by a shim that has waited in vain; the others do not even ask while it is there. */
const hangMark = 'hung'
/** unix(7): `sun_path` holds 108 bytes with its end. */
const maxSocketPath = 107

/** Listens on the local socket for shims and commands. Only the user who owns the directory can reach it. */
export class LocalServer {
  readonly #needs: LocalServerNeeds
  readonly #path: string
  readonly #debts = new TokenDebts()
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined

  constructor(needs: LocalServerNeeds, path: string) {
    this.#needs = needs
    this.#path = path
  }

  /**
   * The store's lock has already made sure that no other daemon of this node lives, so a socket that is there is a
   * left-over.
   * @throws ShoalError ERR_CONFIG when the directory belongs to somebody else, or others can write to it, when something else than a socket
   *   lies there, or the path is too long
   */
  async start(): Promise<void> {
    if (Buffer.byteLength(this.#path) > maxSocketPath) {
      throw new ShoalError('ERR_CONFIG', `the socket path is longer than ${maxSocketPath} bytes: ${this.#path}`, {
        hint: 'Set SHOAL_HOME or XDG_RUNTIME_DIR to a shorter directory.',
      })
    }
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 })
    // Before anything is changed or removed there.
    await checkOwnSocket(this.#path)
    await makePrivate(dirname(this.#path))
    await rm(this.#path, { force: true })
    this.#live()
    const server = createServer((socket) => this.#accept(socket))
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#path, resolve)
    })
    await chmod(this.#path, 0o600)
    this.#server = server
  }

  /** Stops listening and drops every client: their shims go on by themselves. */
  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    for (const socket of this.#sockets) socket.destroy()
    await closed
    await rm(this.#path, { force: true })
    this.#live()
  }

  /** Whatever a shim had to wait for, the event loop turns. */
  #live(): void {
    const mark = join(dirname(this.#path), hangMark)
    try {
      if (existsSync(mark)) rmSync(mark, { force: true })
    } catch (error) {
      this.#needs.log.warn('builds go without this node', { code: codeOf(error), mark })
    }
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket)
    const reader = new FrameReader()
    const client = new Client(socket, this.#needs, this.#debts)
    const late = setTimeout(() => socket.destroy(), helloMs)
    late.unref()
    socket.on('error', (error) => this.#needs.log.debug('local client lost', { message: error.message }))
    socket.once('close', () => {
      clearTimeout(late)
      this.#sockets.delete(socket)
      // Who gave up has left its mark before it closed.
      this.#live()
    })
    socket.on('data', (chunk) => {
      if (client.turnedAway) return
      try {
        for (const frame of reader.push(chunk)) {
          client.receive(frame)
          if (client.turnedAway) return
          clearTimeout(late)
        }
      } catch (error) {
        this.#needs.onTrouble(toShoalError(error, 'ERR_FRAME'))
        socket.destroy()
      }
    })
  }
}

const welcome = encodeLocalFrame({ type: 'welcome', version: localVersion })

/** One connection: hello first, then either one compile or any number of requests. */
class Client {
  readonly #socket: Socket
  readonly #needs: LocalServerNeeds
  readonly #debts: TokenDebts
  /** It speaks another version: what else it sends means nothing here. */
  turnedAway = false
  #kind: 'new' | 'shim' | 'cli' = 'new'
  #shim: ShimConnection | ScriptConnection | undefined
  #asked = false

  constructor(socket: Socket, needs: LocalServerNeeds, debts: TokenDebts) {
    this.#socket = socket
    this.#needs = needs
    this.#debts = debts
  }

  receive(frame: LocalFrame): void {
    if (this.#kind === 'new') {
      if (frame.type !== 'hello') throw new ShoalError('ERR_FRAME', 'no hello')
      this.#kind = frame.client
      // A shim has said already what it wants, and is welcomed together with the first thing that it is told.
      if (frame.version === localVersion && frame.client === 'shim') return
      this.#socket.write(welcome)
      if (frame.version === localVersion) return
      this.turnedAway = true
      this.#socket.end()
      return
    }
    if (this.#shim !== undefined) {
      this.#shim.receive(frame)
      return
    }
    if (this.#kind === 'shim' && frame.type === 'compile' && !this.#asked) {
      this.#asked = true
      void this.#compile(frame)
      return
    }
    if (this.#kind === 'shim' && frame.type === 'script' && !this.#asked) {
      this.#asked = true
      void this.#script(frame)
      return
    }
    if (this.#kind === 'cli' && frame.type === 'request') {
      void this.#answer(frame.json)
      return
    }
    throw new ShoalError('ERR_FRAME', `unexpected frame ${frame.type}`)
  }

  async #compile(frame: LocalFrame & { type: 'compile' }): Promise<void> {
    try {
      const invocation = await readInvocation(frame)
      const shim = new ShimConnection(this.#socket, invocation, frame.pid, this.#debts, welcome)
      this.#shim = shim
      await this.#needs.compile(shim)
    } catch (error) {
      this.#refuse(error)
    }
  }

  async #script(frame: ScriptFrame): Promise<void> {
    try {
      const link = new ScriptConnection(this.#socket, readScriptCall(frame), welcome)
      this.#shim = link
      await this.#needs.script(link)
    } catch (error) {
      this.#refuse(error)
    }
  }

  #refuse(error: unknown): void {
    const failure = toShoalError(error)
    if (!this.#socket.destroyed) this.#needs.onTrouble(failure)
    if (!this.#socket.writable) return
    if (this.#shim !== undefined) this.#shim.refuse(failure.message)
    else this.#socket.end(Buffer.concat([welcome, encodeLocalFrame({ type: 'refuse', reason: failure.message })]))
  }

  async #answer(json: string): Promise<void> {
    let reply: unknown
    try {
      const request: unknown = JSON.parse(json)
      if (typeof request !== 'object' || request === null || !('method' in request)) {
        throw new ShoalError('ERR_USAGE', 'a request needs a method')
      }
      const params = 'params' in request ? request.params : {}
      reply = { ok: true, value: await this.#needs.command(String(request.method), params) }
    } catch (error) {
      const { code, message, hint } = error instanceof SyntaxError ? notJson : toShoalError(error)
      reply = { ok: false, error: { code, message, hint } }
    }
    if (this.#socket.writable) this.#socket.write(encodeLocalFrame({ type: 'response', json: JSON.stringify(reply) }))
  }
}

const notJson = { code: 'ERR_USAGE', message: 'a request must be JSON', hint: errorTable.ERR_USAGE.hint }

/** @throws ShoalError ERR_CONFIG */
async function makePrivate(dir: string): Promise<void> {
  if (((await lstat(dir)).mode & 0o077) === 0) return
  try {
    await chmod(dir, 0o700)
  } catch (error) {
    throw new ShoalError('ERR_CONFIG', `${dir} cannot be made private (${codeOf(error)})`, { cause: error })
  }
}
