import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, open, readFile, rename, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { codeOf, isErrorCode, ShoalError } from '../base/errors.ts'
import type { Environment } from '../base/paths.ts'
import { answers } from './client.ts'
import type { Io } from './io.ts'
import { compiledDir } from './prepare.mjs'
import { processRuns } from './process.ts'
import { replyValue } from './reply.ts'

/** The daemon's program file: TypeScript in a checkout, JavaScript in a published package. */
export function daemonProgram(): string {
  const source = fileURLToPath(new URL('../daemon/main.ts', import.meta.url))
  return existsSync(source) ? source : fileURLToPath(new URL('../daemon/main.js', import.meta.url))
}

/**
 * For the process that runs a node. Bytes from the network are garbage soon after they came, and lie outside the heap: only a
 * collection gives them back. A small young generation is collected so often that full collections for their sake become rare;
 * a heap that may have 128 MB from the start is not looked through as a whole each time 30 MB of them have passed. That is a quarter
 * as many full collections in a build that lends and borrows, and 10 % more memory. One thread is enough for what is young: while a
 * build has all processors, waiting for others to help takes longer.
 */
export const daemonFlags: readonly string[] = [
  '--max-semi-space-size=4',
  '--initial-old-space-size=128',
  '--no-parallel-scavenge',
]

const startDeadlineMs = 15_000
const pollMs = 50
const maxLogBytes = 16 * 2 ** 20

/**
 * Starts a node that outlives this process, and waits until it answers.
 * @returns its process id
 * @throws ShoalError as the node reported it when it stops at once, ERR_DEADLINE when it does not answer in 15 s
 */
export async function startDaemon(io: Io): Promise<number> {
  const { log, socket } = io.paths
  await mkdir(dirname(log), { recursive: true, mode: 0o700 })
  await turnOver(log)
  const file = await open(log, 'a', 0o600)
  const from = (await file.stat()).size
  let child: ChildProcess
  try {
    child = spawn(process.execPath, [...daemonFlags, io.daemonProgram], {
      detached: true,
      stdio: ['ignore', file.fd, file.fd],
      env: programEnvironment(io),
      cwd: '/',
    })
    await once(child, 'spawn')
  } finally {
    await file.close()
  }
  child.unref()
  let running = false
  try {
    const deadline = AbortSignal.any([AbortSignal.timeout(startDeadlineMs), io.signal])
    while (!running && !deadline.aborted) {
      if (child.exitCode !== null || child.signalCode !== null) throw await whyItStopped(log, from, child)
      running = await answers(socket, { timeoutMs: startDeadlineMs, signal: io.signal })
      if (!running) await delay(pollMs)
    }
  } finally {
    if (!running) child.kill('SIGTERM')
  }
  if (running) return child.pid ?? 0
  throw new ShoalError('ERR_DEADLINE', `the node does not answer after ${startDeadlineMs / 1000} s`, {
    hint: `See its log: ${log}`,
  })
}

/** A log that has grown large becomes the previous one. */
async function turnOver(log: string): Promise<void> {
  try {
    if ((await stat(log)).size > maxLogBytes) await rename(log, `${log}.1`)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
}

/** Runs the node in the foreground until it ends. @returns its exit code */
export async function runDaemon(io: Io): Promise<number> {
  const child = spawn(process.execPath, [...daemonFlags, io.daemonProgram], {
    stdio: 'inherit',
    env: programEnvironment(io),
  })
  const stop = (): boolean => child.kill('SIGTERM')
  io.signal.addEventListener('abort', stop, { once: true })
  const [code] = await once(child, 'exit')
  return typeof code === 'number' ? code : 1
}

/** Waits until a process that was asked to stop is gone. @throws ShoalError ERR_DEADLINE after 15 s */
export async function waitForExit(pid: number): Promise<void> {
  const deadline = AbortSignal.timeout(startDeadlineMs)
  while (await processRuns(pid)) {
    if (deadline.aborted) throw new ShoalError('ERR_DEADLINE', `process ${pid} did not stop within 15 s`)
    await delay(pollMs)
  }
}

/** Longest answer of a one-shot run. */
const maxAnswerBytes = 1 << 20

/** What the program says before it answers; a promise is the answer to a question. */
export type OnWord = (word: unknown) => Promise<boolean> | undefined

/**
 * Lets the daemon program do one thing to the files of this node (`setUp` in `daemon/setup.ts` lists them) without a daemon. The request goes
 * through standard input: a link is a secret, and arguments are visible to every user of the machine.
 * @throws ShoalError as the program reported it
 */
export async function daemonOnce(
  io: Io,
  request: { action: string } & Record<string, unknown>,
  onWord?: OnWord,
): Promise<unknown> {
  const child = spawn(process.execPath, [io.daemonProgram, '--once', request.action], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: programEnvironment(io),
    signal: io.signal,
  })
  const exited = once(child, 'exit')
  // A program that stops before it reads says why on its output; the broken pipe adds nothing.
  child.stdin.on('error', () => undefined)
  child.stdin.write(`${JSON.stringify(request)}\n`)
  if (onWord === undefined) child.stdin.end()
  let line = ''
  let seen = 0
  try {
    for await (const next of createInterface({ input: child.stdout })) {
      seen += next.length
      if (seen > maxAnswerBytes) throw new ShoalError('ERR_DECODE', 'the answer of the daemon program is too long')
      line = next
      const agreed = next.startsWith('{"word":') ? await onWord?.(JSON.parse(next)) : undefined
      if (agreed !== undefined) child.stdin.write(agreed ? 'yes\n' : 'no\n')
    }
  } catch (error) {
    child.kill('SIGTERM')
    throw error
  }
  child.stdin.end()
  const [code] = await exited
  if (!line.startsWith('{')) throw new ShoalError('ERR_INTERNAL', `the daemon program ended with ${code} and no answer`)
  return replyValue(line, request.action)
}

const tailLines = 8

async function whyItStopped(log: string, from: number, child: ChildProcess): Promise<ShoalError> {
  const written = (await readFile(log)).subarray(from).toString('utf8').trimEnd()
  const lines = written.split('\n')
  const named = lines.map((line) => /^error\[(ERR_[A-Z_]+)\]: (.*)$/.exec(line)).findLast((match) => match !== null)
  const hint = /^\s+hint: (.*)$/.exec(lines.at(-1) ?? '')?.[1]
  if (named?.[1] !== undefined && named[2] !== undefined && isErrorCode(named[1])) {
    return new ShoalError(named[1], named[2], hint === undefined ? {} : { hint })
  }
  const how = child.signalCode ?? `exit code ${child.exitCode}`
  const tail = lines.slice(-tailLines).join('\n  ')
  return new ShoalError('ERR_DAEMON_DOWN', `the node stopped at once (${how})${tail && `:\n  ${tail}`}`, {
    hint: `See its log: ${log}`,
  })
}

const neededNames: ReadonlySet<string> = new Set([
  'PATH',
  'HOME',
  'USER',
  'LOGNAME',
  'SHELL',
  'LANG',
  'LANGUAGE',
  'TZ',
  'TMPDIR',
  'RUSTC',
  'CARGO_HOME',
  'SDKROOT',
  'DEVELOPER_DIR',
  'NO_COLOR',
])
const neededPrefixes: readonly string[] = ['LC_', 'XDG_', 'SHOAL', 'RUSTUP_']

/**
 * What of a shell's environment a node is given. It lives for weeks and starts programs; whatever else was in the shell that happened to
 * start it, keys and libraries to load among it, is none of its business. Each compile brings an environment of its own.
 */
export function daemonEnvironment(env: Environment): Record<string, string> {
  const isNeeded = (name: string): boolean =>
    neededNames.has(name) || neededPrefixes.some((prefix) => name.startsWith(prefix))
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value !== undefined && isNeeded(name) ? [[name, value]] : [])),
  )
}

/** Loading the program takes 1.6 s of processor time from a checkout, and 0.8 where Node finds what it has compiled of it before. */
function programEnvironment({ env, paths }: Io): Record<string, string> {
  const dir = compiledDir(paths.cache)
  return { ...daemonEnvironment(env), ...(dir === undefined ? {} : { NODE_COMPILE_CACHE: dir }) }
}

/** The environment for commands that should use the mesh: the wrapper, and where its node listens. */
export function wrapperEnv(env: Environment, shim: string, socket: string): Record<string, string> {
  return { RUSTC_WRAPPER: shim, SHOAL_SOCKET: socket, ...(env.SHOAL_HOME ? { SHOAL_HOME: env.SHOAL_HOME } : {}) }
}
