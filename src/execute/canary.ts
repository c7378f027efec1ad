import { once } from 'node:events'
import { readlinkSync } from 'node:fs'
import { mkdir, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { ShoalError } from '../base/errors.ts'
import { runGuest } from './guest.ts'
import { letRead } from './guest-users.ts'
import { defaultLimits, type GuestLimits } from './limits.ts'
import { removeTree } from './remove-tree.ts'
import { prepareRuntime } from './runtime.ts'
import type { SandboxInit, SandboxSetup } from './sandbox.ts'

export interface CanaryInit {
  dir: string
  setup: SandboxSetup
  /** The program to try with: this very Node.js, which can do everything that a guest must not. */
  node: string
  clock: Clock
  signal: AbortSignal
}

const canaryLimits: GuestLimits = { ...defaultLimits, wallMs: 30_000 }

/** Much more than it may. */
const takeOn = 'for (let n = 0; n < 200; n++) take(); process.exit(0)'

/** What must work inside, so that a failure of the canary itself is not taken for confinement. Under seatbelt `/tmp` is everybody's. */
const mustWork = {
  bubblewrap: ['read-input', 'write-output', 'write-tmp'],
  seatbelt: ['read-input', 'write-output'],
} as const

/** Where a guest finds what it is given. */
interface Places {
  input: string
  output: string
  node: string
}

/**
 * Tries from inside a sandbox everything that a guest must not be able to do, against real files and sockets outside.
 * @returns what was possible and must not be, or impossible and must be; empty when the sandbox holds
 */
export async function canary(init: CanaryInit): Promise<string[]> {
  const dir = join(init.dir, 'canary')
  const secret = join(init.dir, 'canary-secret')
  const socket = join(init.dir, 'canary-socket')
  const listeners: Server[] = []
  try {
    await writeFile(secret, 'outside')
    const tcp = await listen(listeners, { host: '127.0.0.1', port: 0 })
    await listen(listeners, { path: socket })
    const port = typeof tcp === 'object' && tcp !== null ? tcp.port : 0
    const outside = { secret, socket, port }
    const shared: string[] = []
    const { end, stderr } = await runCanary(
      { ...init, dir },
      (places) => script(places, outside),
      canaryLimits,
      (pid) => shared.push(...sharedNamespaces(pid, init.setup)),
    )
    const answer = /^\{.*\}$/m.exec(end.stdout.toString('utf8'))?.[0]
    if (answer === undefined) return [`canary ended with ${end.status}: ${stderr.slice(0, 300)}`]
    const untouched = (await readFile(secret, 'utf8')) === 'outside'
    return [...judge(JSON.parse(answer), mustWork[init.setup.kind], untouched), ...shared]
  } finally {
    for (const listener of listeners) listener.close()
    await rm(secret, { force: true })
  }
}

/**
 * Whether the kernel keeps the limits of a control group: a guest that takes more memory, and one that starts more
 * threads than it may, must both be stopped by it and not by whoever watches.
 * @returns what was possible and must not be; undefined when the limits hold
 */
export async function limitsCanary(init: CanaryInit): Promise<string | undefined> {
  const memory = { ...defaultLimits, memoryBytes: 160 << 20, tmpBytes: 1 << 20 }
  const tasks = { ...defaultLimits, tasks: 8 }
  for (const [groupLimits, take] of [
    [memory, 'const all = []; const take = () => all.push(Buffer.alloc(4 << 20, 1))'],
    [tasks, `const { Worker } = require('worker_threads'); const take = () => new Worker('', { eval: true })`],
  ] as const) {
    try {
      await runCanary({ ...init, dir: join(init.dir, 'canary') }, () => `${take}; ${takeOn}`, groupLimits)
      return 'a guest took more than its control group allows'
    } catch (error) {
      if (!(error instanceof ShoalError)) throw error
      if (error.code !== 'ERR_LIMIT' || !error.message.includes('the kernel'))
        return `control groups keep no limits: ${error.message}`
    }
  }
  return undefined
}

/**
 * Which namespaces a guest has in common with this process. Bubblewrap itself gives up when it cannot make one; but that those made for it are
 * others a guest cannot find out, because the system call filter is in its way first.
 */
function sharedNamespaces(pid: number, setup: SandboxSetup): string[] {
  if (setup.kind !== 'bubblewrap' || setup.unshare === undefined) return []
  const isOwn = (name: string): boolean => {
    try {
      return readlinkSync(`/proc/${pid}/ns/${name}`) === readlinkSync(`/proc/self/ns/${name}`)
    } catch {
      // What cannot be told counts as shared.
      return true
    }
  }
  return ['ipc', 'mnt', 'net', 'pid', 'uts'].filter(isOwn).map((name) => `namespace-${name}`)
}

/** `groupLimits`: those of the control group, when not those that are watched. */
async function runCanary(
  init: CanaryInit,
  program: (places: Places) => string,
  groupLimits = canaryLimits,
  onStarted: (pid: number) => void = () => undefined,
) {
  const { dir, setup, clock, signal } = init
  await removeTree(dir)
  await mkdir(join(dir, 'in'), { recursive: true, mode: 0o700 })
  await mkdir(join(dir, 'out'))
  try {
    await writeFile(join(dir, 'in/given'), 'inside')
    for (const path of ['in', 'in/given']) letRead(join(dir, path))
    const told: Buffer[] = []
    const inside = setup.kind === 'bubblewrap' ? await mounted(init) : await inPlace(init)
    const end = await runGuest({
      inside: { ...inside, env: [], tmpBytes: 1 << 20 },
      program: [inside.node, '-e', program(inside)],
      setup,
      optionsFile: join(dir, 'options'),
      outDir: join(dir, 'out'),
      limits: canaryLimits,
      groupLimits,
      clock,
      signal,
      onStarted,
      onStderr: (chunk) => told.push(chunk),
    })
    return { end, stderr: Buffer.concat(told).toString('utf8') }
  } finally {
    await removeTree(dir)
  }
}

type Given = Places & Pick<SandboxInit, 'mounts' | 'readOnly' | 'writable' | 'cwd'>

async function mounted({ dir, node }: CanaryInit): Promise<Given> {
  const runtime = await prepareRuntime(node, join(dir, 'runtime'))
  const [input, output, inside] = ['/canary/in', '/canary/out', '/canary/node']
  return {
    ...{ input, output, node: inside, cwd: input },
    mounts: [...runtime.mounts, '--ro-bind', node, inside],
    readOnly: [{ from: join(dir, 'in'), to: input }],
    writable: { from: join(dir, 'out'), to: output },
  }
}

/** Nothing can be mounted: everything lies where it lies, and the guest needs what is installed beside Node.js. */
async function inPlace({ dir, node }: CanaryInit): Promise<Given> {
  const [input, output, program] = [join(dir, 'in'), join(dir, 'out'), await realpath(node)]
  const installed = dirname(dirname(program))
  return {
    ...{ input, output, node: program, cwd: input },
    mounts: [],
    readOnly: [input, installed].map((path) => ({ from: path, to: path })),
    writable: { from: output, to: output },
  }
}

function judge(answer: unknown, mustWork: readonly string[], untouched: boolean): string[] {
  if (typeof answer !== 'object' || answer === null) return ['canary gave no answer']
  const outcomes = new Map(Object.entries(answer))
  const wrong = [...outcomes].filter(([name, worked]) => worked !== mustWork.includes(name)).map(([name]) => name)
  for (const name of mustWork) if (!outcomes.has(name)) wrong.push(name)
  if (!untouched) wrong.push('changed a file outside')
  return wrong
}

async function listen(listeners: Server[], options: { host?: string; port?: number; path?: string }) {
  const server = createServer((socket) => socket.destroy())
  listeners.push(server)
  server.unref()
  server.listen(options)
  await once(server, 'listening')
  return server.address()
}

/** Runs inside. Prints one line of JSON: what was tried, and whether it worked. */
function script(places: Places, outside: { secret: string; socket: string; port: number }): string {
  const [secret, socket, input, output, node] = [
    ...[outside.secret, outside.socket],
    ...[places.input, places.output, places.node],
  ].map((path) => JSON.stringify(path))
  return `
const fs = require('fs'), net = require('net'), { spawnSync } = require('child_process')
const found = {}
const attempt = (name, run) => { try { run(); found[name] = true } catch { found[name] = false } }
const make = (name, dir, bytes) => {
  const path = dir + '/shoal-canary-' + process.pid
  attempt(name, () => fs.writeFileSync(path, Buffer.alloc(bytes)))
  // Where the sandbox does not hold, nothing is left lying about.
  try { fs.unlinkSync(path) } catch {}
}
attempt('read-input', () => fs.readFileSync(${input} + '/given'))
attempt('write-output', () => fs.writeFileSync(${output} + '/made', 'x'))
make('write-tmp', '/tmp', 1)
attempt('read-outside', () => fs.readFileSync(${secret}))
attempt('write-outside', () => fs.writeFileSync(${secret}, 'changed'))
attempt('read-passwd', () => fs.readFileSync('/etc/passwd'))
attempt('read-proc', () => fs.readFileSync('/proc/1/environ'))
make('write-root', '', 1)
attempt('write-input', () => fs.writeFileSync(${input} + '/given', 'x'))
make('fill-tmp', '/tmp', 2 << 20)
attempt('link', () => fs.symlinkSync('/etc/passwd', ${output} + '/link'))
attempt('set-user-id', () => fs.chmodSync(${output} + '/made', 0o4755))
const starts = (program) => spawnSync(program, ['-v']).error === undefined
found.fork = starts(${node}) || starts(process.execPath)
found['be-root'] = process.getuid() === 0
found.environment = Object.keys(process.env).some((name) => name !== 'PWD')
const connect = (name, to) => new Promise((done) => {
  const finish = (worked) => { found[name] = worked; done() }
  try { net.connect(to).once('connect', () => finish(true)).once('error', () => finish(false)) } catch { finish(false) }
})
Promise.all([
  connect('connect-tcp', { host: '127.0.0.1', port: ${outside.port} }),
  connect('connect-unix', { path: ${socket} }),
]).then(() => console.log(JSON.stringify(found)))
`
}
