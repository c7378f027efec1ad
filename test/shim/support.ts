import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { encodeLocalFrame, FrameReader, localVersion } from '../../src/wire/local.ts'
import type { CompileFrame, LocalFrame, RanFrame } from '../../src/wire/local-frames.ts'
import { keptShim } from '../support/programs.ts'

/** The directory of the real rustc: no rustup proxy in between, so that HOME can be anything. */
export const toolchain = join(execFileSync('rustc', ['--print=sysroot'], { encoding: 'utf8' }).trim(), 'bin')
export const rustc = join(toolchain, 'rustc')

export type RunFrame = Extract<LocalFrame, { type: 'run' }>

export const runFrame = (privateDir = '', more: Partial<RunFrame> = {}): RunFrame => {
  return { type: 'run', privateDir, observer: '', stripIncremental: false, linger: false, ...more }
}

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: Buffer
  stderr: Buffer
}

export interface Started {
  pid: number
  ended: Promise<Ended>
  /** Resolves when stderr holds the text. */
  shows(text: string): Promise<void>
}

export interface StartOptions {
  cwd?: string
  env?: Record<string, string>
  input?: string
  /** Descriptors that the child has as 3, 4, … */
  fds?: number[]
}

/** A home, a workspace and a socket path of their own, and the shim. */
export class Bench {
  readonly dir: string
  readonly shim: string
  readonly workspace: string
  readonly out: string
  readonly socket: string
  readonly cargoHome: string
  readonly #daemons: TestDaemon[] = []

  private constructor(dir: string, shim: string) {
    this.dir = dir
    this.shim = shim
    this.workspace = join(dir, 'ws')
    this.out = join(dir, 'ws/target/debug/deps')
    this.socket = join(dir, 'shoal/run/shoal.sock')
    this.cargoHome = join(dir, 'cargo home')
  }

  static async create(): Promise<Bench> {
    const dir = await realpath(await mkdtemp(join(tmpdir(), 'shoal-shim-')))
    const { path } = await keptShim(rustc, join(dir, 'bin'))
    const bench = new Bench(dir, path)
    await mkdir(dirname(bench.socket), { recursive: true })
    await bench.reset()
    return bench
  }

  /** Empties the workspace, stops the daemons, removes the announcement. */
  async reset(): Promise<void> {
    await Promise.all(this.#daemons.splice(0).map((daemon) => daemon.close()))
    await Promise.all(
      [this.socket, this.announcement, this.hangMark, this.workspace].map((path) =>
        rm(path, { recursive: true, force: true }),
      ),
    )
    await mkdir(this.out, { recursive: true })
  }

  async remove(): Promise<void> {
    await this.reset()
    await rm(this.dir, { recursive: true })
  }

  get announcement(): string {
    return join(dirname(this.socket), 'announce')
  }

  /** Left by a shim that waited in vain. */
  get hangMark(): string {
    return join(dirname(this.socket), 'hung')
  }

  async announce(...lines: string[]): Promise<void> {
    await writeFile(this.announcement, `${['shoal 1', ...lines].join('\n')}\n`)
  }

  async listen(socket = this.socket): Promise<TestDaemon> {
    const daemon = await TestDaemon.listen(socket)
    this.#daemons.push(daemon)
    return daemon
  }

  async write(path: string, text: string): Promise<string> {
    const file = join(this.workspace, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, text)
    return file
  }

  /** An executable named rustc that is this shell script. */
  async script(body: string): Promise<string> {
    const file = await this.write('fake/rustc', `#!/bin/sh\n${body}\n`)
    await chmod(file, 0o755)
    return file
  }

  /** A lib of the workspace, as cargo has it compiled. */
  lib(source = 'src/lib.rs', outDir = this.out): string[] {
    return [
      ...['--crate-name', 'demo', '--edition=2021', source, '--error-format=json'],
      ...['--json=diagnostic-rendered-ansi,artifacts,future-incompat', '--diagnostic-width=120', '--crate-type', 'lib'],
      ...['--emit=dep-info,metadata,link', '-C', 'embed-bitcode=no', '-C', 'debuginfo=2', '-C', 'metadata=9d0e6d1c8f'],
      ...['-C', 'extra-filename=-9d0e6d1c8f', '--out-dir', outDir, '-L', `dependency=${outDir}`],
    ]
  }

  /** Runs `rustc args` behind the shim. */
  start(args: string[], options: StartOptions & { program?: string } = {}): Started {
    return this.spawn(this.shim, [options.program ?? rustc, ...args], options)
  }

  /** Runs rustc itself, in the same place and environment. */
  plain(args: string[], options: StartOptions & { program?: string } = {}): Promise<Ended> {
    return this.spawn(options.program ?? rustc, args, options).ended
  }

  spawn(program: string, args: string[], options: StartOptions): Started {
    const { cwd = this.workspace, env = {}, input, fds = [] } = options
    const base = {
      PATH: process.env.PATH ?? '',
      HOME: this.dir,
      CARGO_HOME: this.cargoHome,
      SHOAL_HOME: join(this.dir, 'shoal'),
    }
    const stdin = input === undefined ? 'ignore' : 'pipe'
    const child = spawn(program, args, { cwd, env: { ...base, ...env }, stdio: [stdin, 'pipe', 'pipe', ...fds] })
    child.stdin?.end(input)
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk))
    const ended = once(child, 'close').then(([code, signal]) => {
      return { code, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr) }
    })
    const shows = (text: string): Promise<void> => {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const look = () => Buffer.concat(stderr).includes(text) && resolve()
      child.stderr?.on('data', look)
      look()
      void ended.then(() => reject(new Error(`ended without: ${text}`)))
      return promise
    }
    return { pid: child.pid ?? 0, ended, shows }
  }

  /** Every file under a directory, by relative path. */
  /** But for the mark that a private directory gets when rustc has ended. */
  async files(dir = this.out): Promise<Record<string, Buffer>> {
    const entries = await readdir(dir, { recursive: true, withFileTypes: true })
    const paths = entries
      .filter((entry) => !entry.isDirectory() && !(dir !== this.out && entry.name === '.shoal-done'))
      .map((entry) => join(entry.parentPath, entry.name))
    const pairs = paths.sort().map(async (path) => [path.slice(dir.length + 1), await readFile(path)] as const)
    return Object.fromEntries(await Promise.all(pairs))
  }

  /** What rustc itself makes of the arguments: how it ended, and its files, which are taken away again. */
  async expected(args: string[], options: StartOptions = {}): Promise<{ ended: Ended; files: Record<string, Buffer> }> {
    const ended = await this.plain(args, options)
    const files = await this.files()
    await rm(this.out, { recursive: true })
    await mkdir(this.out)
    return { ended, files }
  }

  /** The flags the shim adds for a lib of the workspace. */
  remaps(): string[] {
    return [
      `--remap-path-prefix=${this.cargoHome}/registry/src=/cargo/registry/src`,
      `--remap-path-prefix=${this.cargoHome}/git/checkouts=/cargo/git/checkouts`,
      `--remap-path-prefix=${this.workspace}=.`,
    ]
  }

  /** Puts a file in place as a daemon does. */
  async place(path: string, bytes: Buffer): Promise<void> {
    await writeFile(`${path}.tmp`, bytes)
    await rename(`${path}.tmp`, path)
  }
}

export class TestDaemon {
  readonly #server: Server
  readonly #waiting: Peer[] = []
  readonly #sockets = new Set<Socket>()
  #wanted: ((peer: Peer) => void)[] = []
  accepted = 0

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket) => {
      this.accepted++
      this.#sockets.add(socket)
      const peer = new Peer(socket)
      const wanted = this.#wanted.shift()
      if (wanted) wanted(peer)
      else this.#waiting.push(peer)
    })
  }

  static async listen(path: string): Promise<TestDaemon> {
    const server = createServer()
    const daemon = new TestDaemon(server)
    server.listen(path)
    await once(server, 'listening')
    return daemon
  }

  accept(): Promise<Peer> {
    const peer = this.#waiting.shift()
    if (peer) return Promise.resolve(peer)
    const { promise, resolve } = Promise.withResolvers<Peer>()
    this.#wanted.push(resolve)
    return promise
  }

  /** Accepts a shim and welcomes it. */
  async greet(): Promise<{ peer: Peer; compile: CompileFrame }> {
    const peer = await this.accept()
    await peer.expect('hello')
    const compile = await peer.expect('compile')
    peer.send({ type: 'welcome', version: localVersion })
    return { peer, compile }
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

/** One shim at the other end of a connection. */
export class Peer {
  readonly socket: Socket
  readonly #reader = new FrameReader()
  readonly #frames: LocalFrame[] = []
  #ended = false
  #wake = Promise.withResolvers<void>()

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => {
      if (typeof chunk !== 'string') this.#frames.push(...this.#reader.push(chunk))
      this.#rouse()
    })
    socket.on('error', () => this.#rouse())
    socket.on('close', () => {
      this.#ended = true
      this.#rouse()
    })
  }

  #rouse(): void {
    this.#wake.resolve()
    this.#wake = Promise.withResolvers<void>()
  }

  /** The next frame; undefined once the shim is gone. */
  async next(): Promise<LocalFrame | undefined> {
    while (this.#frames.length === 0 && !this.#ended) await this.#wake.promise
    return this.#frames.shift()
  }

  async expect<T extends LocalFrame['type']>(type: T): Promise<Extract<LocalFrame, { type: T }>> {
    const frame = await this.next()
    if (frame?.type !== type) throw new Error(`expected ${type}, got ${frame?.type ?? 'the end'}`)
    return frame as Extract<LocalFrame, { type: T }>
  }

  send(...frames: LocalFrame[]): void {
    for (const frame of frames) this.socket.write(encodeLocalFrame(frame))
  }

  /** Has rustc run at the shim's and takes its report. */
  async run(privateDir = '', more: Partial<RunFrame> = {}): Promise<RanFrame> {
    this.send(runFrame(privateDir, more))
    return this.expect('ran')
  }

  leave(): void {
    this.socket.destroy()
  }
}
