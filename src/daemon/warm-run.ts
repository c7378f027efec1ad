import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync, writeFileSync } from 'node:fs'
import { mkdir, realpath, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { codeOf } from '../base/errors.ts'
import type { Environment } from '../base/paths.ts'
import type { Invocation } from '../plan/invocation.ts'

const run = promisify(execFile)
/** Before anything else is started: what a process has become later its children would not inherit for sure. */
const nicest = ['nice', '-n', '19'] as const
/** The first to go when memory runs out. */
const outOfMemoryScore = '1000'
/** What ties a process to the cargo that started it. */
const jobserver = new Set(['CARGO_MAKEFLAGS', 'MAKEFLAGS', 'MFLAGS'])
/** Of what a compile writes to standard error. */
const mostHeard = 8 << 20
/** How long standard error is listened to when the compile has ended. */
const afterwardsMs = 1000
/** Everything as it is, and nothing of it writable. */
export const asItIs = ['--ro-bind', '/', '/', '--dev-bind', '/dev', '/dev', '--unshare-pid', '--die-with-parent']

/** One compile whose incremental directory is wanted, and nothing else of it. */
export interface WarmRun {
  invocation: Invocation
  /** Where cargo has it written to; absolute. */
  outDir: string
  /** What `-C incremental` names, absolute. */
  incremental: string
  /** All crates that it is compiled against, absolute; undefined when not all are known. */
  dependencies: readonly string[] | undefined
  /** Whether rustc would start a linker. */
  links: boolean
}

export interface WarmRunInit {
  /** New directory for whatever else rustc writes; gone afterwards. */
  scratch: string
  /** As `findBubblewrap` found it. */
  bubblewrap: string | undefined
  /** Kills the compile at once. */
  signal: AbortSignal
}

/**
 * Runs rustc as cargo asked for it, at the lowest priority, with its outputs in `scratch`. The path of the out-dir is part of
 * what rustc compares when it looks for what can be used again (with debug information all object code hangs on it), so
 * `scratch` is mounted over that path, for this process alone; nothing else can be written to but the incremental directory.
 * Where nothing can be mounted rustc gets another out-dir: what it checked can be used again then, what it generated cannot.
 * @returns whether rustc succeeded; resolves when nothing of it runs any more
 */
export async function runWarm(unit: WarmRun, init: WarmRunInit): Promise<boolean> {
  const { scratch, signal } = init
  const out = join(scratch, 'out')
  const temporary = join(scratch, 'tmp')
  try {
    for (const dir of [out, temporary, unit.incremental]) await mkdir(dir, { recursive: true })
    const command = await commandOf(unit, init, out)
    return (await runNicely(command, within(unit.invocation, temporary), { signal })).succeeded
  } finally {
    await rm(scratch, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** How a compile ended. */
export interface RanBeside {
  succeeded: boolean
  /** What it wrote to standard error, up to 8 MiB. */
  stderr: Buffer
}

/**
 * Runs a compile of which all but what lies in `scratch` is only read, at the lowest priority.
 * @param init dirs: made before it begins; the temporary directory is one in `scratch` too
 * @returns what `take` makes of it while `scratch` is there; undefined when it was aborted
 */
export async function runBeside<T>(
  invocation: Invocation,
  { scratch, bubblewrap, signal, dirs }: WarmRunInit & { dirs: readonly string[] },
  take: (ran: RanBeside) => Promise<T>,
): Promise<T | undefined> {
  const temporary = join(scratch, 'tmp')
  try {
    for (const dir of [...dirs, temporary]) await mkdir(dir, { recursive: true })
    const program = [...programOf(invocation), ...invocation.argv]
    const mounts = ['--bind', scratch, scratch, '--chdir', invocation.cwd, '--']
    const command = bubblewrap === undefined ? program : [bubblewrap, ...asItIs, ...mounts, ...program]
    const ran = await runNicely(command, within(invocation, temporary), { signal, hears: ['stderr'] })
    return signal.aborted ? undefined : await take(ran)
  } finally {
    await rm(scratch, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** A program of which everything is said but how it is run. */
export interface Command {
  cwd: string
  env: Readonly<Record<string, string>>
}

export interface NicelyInit {
  /** Kills it at once, with all that it started. */
  signal: AbortSignal
  /** What it writes that is wanted. */
  hears?: readonly Heard[]
  /** What lowers its priority: a program and its arguments. */
  lowered?: readonly string[]
}

type Heard = 'stdout' | 'stderr'

/** At the lowest priority, in a group of its own. */
export async function runNicely(
  command: readonly string[],
  { cwd, env }: Command,
  { signal, hears = [], lowered = nicest }: NicelyInit,
): Promise<RanBeside & { stdout: Buffer; isCut: boolean }> {
  const silent = Buffer.alloc(0)
  if (signal.aborted) return { succeeded: false, stdout: silent, stderr: silent, isCut: false }
  const [program = '', ...options] = lowered
  const way = (stream: Heard): 'pipe' | 'ignore' => (hears.includes(stream) ? 'pipe' : 'ignore')
  const child = spawn(program, [...options, ...command], {
    cwd,
    env: { ...env },
    stdio: ['ignore', way('stdout'), way('stderr')],
    detached: true,
  })
  const heard = [hear(child.stdout), hear(child.stderr)]
  const succeeded = await endOf(child, signal)
  const [stdout = silent, stderr = silent] = await Promise.all(heard.map((rest) => rest()))
  return { succeeded, stdout, stderr, isCut: [stdout, stderr].some(({ length }) => length >= mostHeard) }
}

/** Listens to a stream. @returns to be called when the process has ended: what came */
function hear(stream: Readable | null): () => Promise<Buffer> {
  const heard: Buffer[] = []
  let room = mostHeard
  stream?.on('data', (chunk: Buffer) => {
    heard.push(chunk.subarray(0, room))
    room -= Math.min(room, chunk.length)
  })
  const closed = stream === null ? undefined : once(stream, 'close').catch(nothing)
  return async () => {
    // Something that it started may hold on to it.
    await Promise.race([closed, delay(afterwardsMs, undefined, { ref: false })])
    stream?.destroy()
    return Buffer.concat(heard)
  }
}

const nothing = (): void => undefined

/** rustc, or what takes its place, with the remaps that come before all other arguments. */
function programOf({ driver, rustc, remaps }: Invocation): string[] {
  const flags = remaps.map(({ from, to }) => `--remap-path-prefix=${from}=${to}`)
  return [...(driver === undefined ? [rustc] : [driver, rustc]), ...flags]
}

async function commandOf(unit: WarmRun, init: WarmRunInit, out: string): Promise<string[]> {
  const { cwd, argv } = unit.invocation
  const program = programOf(unit.invocation)
  // Nobody wants the program; its object code is in the incremental directory before the linker starts.
  const linker = unit.links ? ['-Clinker=true'] : []
  if (init.bubblewrap === undefined || unit.dependencies === undefined) {
    return [...program, ...withOutDir(argv, out), ...linker]
  }
  // Mount points must be real paths.
  const outDir = await realpath(unit.outDir)
  const incremental = await realpath(unit.incremental)
  const mounts = ['--bind', init.scratch, init.scratch, '--bind', out, outDir]
  for (const path of unit.dependencies) {
    const dependency = await realpath(path)
    if (dirname(dependency) === outDir) mounts.push('--ro-bind', dependency, dependency)
  }
  mounts.push('--bind', incremental, incremental)
  return [init.bubblewrap, ...asItIs, ...mounts, '--chdir', cwd, '--', ...program, ...argv, ...linker]
}

/** The same compile with another out-dir. */
export function withOutDir(argv: readonly string[], dir: string): string[] {
  return argv.map((argument, at) => {
    if (argv[at - 1] === '--out-dir') return dir
    return argument.startsWith('--out-dir=') ? `--out-dir=${dir}` : argument
  })
}

/** @param temporary where it may have files for a moment */
function within({ cwd, env }: Pick<Invocation, 'cwd' | 'env'>, temporary: string): Command {
  const kept = [...env].filter(([name]) => !jobserver.has(name))
  // As the shim does it: a cargo that is started from inside this compile is none of ours.
  return { cwd, env: { ...Object.fromEntries(kept), SHOAL: 'off', TMPDIR: temporary } }
}

async function endOf(child: ChildProcess, signal: AbortSignal): Promise<boolean> {
  const { pid } = child
  const ended = new Promise<boolean>((resolve) => {
    child.once('error', () => resolve(false))
    child.once('exit', (code) => resolve(code === 0))
  })
  if (pid === undefined) return await ended
  const kill = (): void => quietly(() => process.kill(-pid, 'SIGKILL'))
  quietly(() => writeFileSync(`/proc/${pid}/oom_score_adj`, outOfMemoryScore))
  signal.addEventListener('abort', kill, { once: true })
  if (signal.aborted) kill()
  try {
    return await ended
  } finally {
    signal.removeEventListener('abort', kill)
  }
}

/** For what is done to a process that may be gone already. */
function quietly(act: () => void): void {
  try {
    act()
  } catch (error) {
    if (!['ESRCH', 'ENOENT', 'ERR_SYSTEM_ERROR', 'EPERM'].includes(codeOf(error) ?? '')) throw error
  }
}

/** The bubblewrap of this machine, absolute; undefined when there is none or it may not mount. */
export async function findBubblewrap(env: Environment): Promise<string | undefined> {
  const directories = (env.PATH ?? '/usr/bin:/bin').split(':').filter((directory) => directory.startsWith('/'))
  const path = directories.map((dir) => join(dir, 'bwrap')).find((file) => isFile(file))
  if (path === undefined) return undefined
  try {
    await run(path, [...asItIs, '--', 'true'], { env: { PATH: env.PATH }, timeout: 10_000 })
    return path
  } catch {
    return undefined
  }
}

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false
