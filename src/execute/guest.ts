import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { setTimeout as delay, setImmediate } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { GuestGroup } from './control-groups.ts'
import type { GuestLimits } from './limits.ts'
import type { SandboxSetup } from './sandbox.ts'
import type { Standstill } from './standstill.ts'
import { overLimit, processesOf } from './watchdog.ts'

export interface GuestInit {
  /** What becomes bubblewrap. */
  command: readonly string[]
  /** Bubblewrap's options. */
  options: readonly string[]
  /** The program inside and its arguments. */
  program: readonly string[]
  setup: SandboxSetup
  /** Whether the program may start others that lie inside. Default: it may not. */
  startsPrograms?: boolean
  /** A path to be, for a moment, the file with the options. */
  optionsFile: string
  /** Watched for its size. */
  outDir: string | undefined
  limits: GuestLimits
  /** What the kernel keeps, where it does. Default: `limits`. */
  groupLimits?: GuestLimits
  /** How often it is looked at, and after how long it comes into its control group. Default: 200. */
  watchMs?: number
  clock: Clock
  signal: AbortSignal
  /** What may let it stand still. */
  standstill?: Standstill | undefined
  /** Called with the number of process 1 inside, as numbered outside. */
  onStarted?(pid: number): void
  /** Called with standard error as it comes. */
  onStderr(chunk: Buffer): void
}

export interface GuestEnd {
  /** Exit status of the program inside; 128 + n after signal n. */
  status: number
  stdout: Buffer
  wallMs: number
}

const defaultWatchMs = 200
/** How long bubblewrap may take to name its child before it is killed without. */
const startMs = 5000
/** The later ones are a millisecond apart. */
const [quickLooks, maxLooks] = [30, 5000]
/** Below everything that the owner of this machine runs, and first to go when memory runs out. */
const [niceness, outOfMemoryScore] = [10, '900']

/**
 * Runs a program in bubblewrap to its end; when this settles, nothing of it runs any more.
 * @throws ShoalError ERR_DEADLINE, ERR_LIMIT, or ERR_SANDBOX when it was never started; the signal's reason when aborted
 */
export async function runGuest(init: GuestInit): Promise<GuestEnd> {
  init.signal.throwIfAborted()
  await init.standstill?.pass(init.signal)
  const started = init.clock.now()
  const child = start(init)
  const guest = new Guest(child, init)
  try {
    const [code] = await once(child, 'close', {})
    const exceeded = code === 0 ? undefined : await guest.exceeded()
    const end = guest.finish(typeof code === 'number' ? code : undefined, exceeded)
    return { ...end, wallMs: Math.round(init.clock.now() - started) }
  } catch (error) {
    if (codeOf(error) !== undefined && !(error instanceof ShoalError) && child.pid === undefined) {
      throw new ShoalError('ERR_SANDBOX', `${child.spawnfile} cannot be started: ${codeOf(error)}`, { cause: error })
    }
    throw error
  } finally {
    await guest.gone()
  }
}

function start(init: GuestInit): ChildProcess {
  const [file = '', ...rest] = init.command
  writeFileSync(init.optionsFile, `${init.options.join('\0')}\0`, { mode: 0o600 })
  // Bubblewrap reads from where a descriptor stands: each guest needs its own.
  const opened: number[] = []
  const opening = (path: string): number => {
    const fd = openSync(path, 'r')
    opened.push(fd)
    return fd
  }
  try {
    const descriptors = [
      opening(init.optionsFile),
      opening(init.startsPrograms === true ? `${init.setup.filter}-starting` : init.setup.filter),
    ]
    // In an empty environment: whatever bubblewrap itself were given, a guest might find in its memory or in /proc.
    return spawn(file, [...rest, '--json-status-fd', '3', '--args', '4', '--seccomp', '5', '--', ...init.program], {
      env: {},
      cwd: '/',
      detached: true,
      stdio: [
        'ignore',
        'pipe',
        'pipe',
        'pipe',
        ...descriptors,
        ...covers(init.setup.inherited, () => opening('/dev/null')),
      ],
    })
  } finally {
    for (const fd of opened) closeSync(fd)
  }
}

const firstFreeFd = 6

/** Puts `/dev/null` in the place of descriptors that would be handed down; the six below are in use anyway. */
function covers(inherited: readonly number[], nothing: () => number): ('ignore' | number)[] {
  const last = inherited.at(-1) ?? 0
  if (last < firstFreeFd) return []
  const fd = nothing()
  return Array.from({ length: last - firstFreeFd + 1 }, (_, at) =>
    inherited.includes(at + firstFreeFd) ? fd : 'ignore',
  )
}

class Guest {
  readonly #child: ChildProcess
  readonly #init: GuestInit
  readonly #stdout: Buffer[] = []
  readonly #read = { stdout: 0, stderr: 0 }
  readonly #timers = new Set<() => void>()
  readonly #yielded = new Set<number>()
  /** From the first look on. */
  #group: GuestGroup | undefined
  #statusText = ''
  /** Process 1 inside, as numbered outside. */
  #firstPid: number | undefined
  #looking: Promise<void> = Promise.resolve()
  #failure: unknown
  #dying = false
  #over = false

  constructor(child: ChildProcess, init: GuestInit) {
    this.#child = child
    this.#init = init
    if (child.pid !== undefined) yieldPrecedence(child.pid)
    this.#yieldSession()
    child.stdout?.on('data', (chunk: Buffer) => this.#receive('stdout', chunk))
    child.stderr?.on('data', (chunk: Buffer) => this.#receive('stderr', chunk))
    child.stdio[3]?.on('data', (chunk: Buffer) => this.#readStatus(chunk))
    this.#after(init.limits.wallMs, () =>
      this.#kill(new ShoalError('ERR_DEADLINE', `no end after ${init.limits.wallMs} ms`)),
    )
    this.#watch()
    init.standstill?.add(this)
    init.signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** What the end of bubblewrap means, and what the kernel ended it for. */
  finish(code: number | undefined, exceeded: string | undefined): Omit<GuestEnd, 'wallMs'> {
    if (this.#failure !== undefined) throw this.#failure
    if (exceeded !== undefined) throw new ShoalError('ERR_LIMIT', exceeded)
    const status = /"exit-code":\s*(\d+)/.exec(this.#statusText)?.[1]
    if (status === undefined)
      throw new ShoalError('ERR_SANDBOX', `bubblewrap ended with ${code ?? 'a signal'} before the guest`)
    return { status: Number(status), stdout: Buffer.concat(this.#stdout) }
  }

  /** Stops watching and waits until the process namespace is empty: then nobody writes to the outputs any more. */
  async gone(): Promise<void> {
    this.#over = true
    this.#init.standstill?.remove(this)
    this.#init.signal.removeEventListener('abort', this.#onAbort)
    for (const cancel of this.#timers) cancel()
    try {
      await this.#ended()
    } finally {
      await this.#looking
      await this.#group?.remove()
    }
  }

  /** All that runs inside but the first process, which only waits. */
  stand(still: boolean): void {
    if (this.#firstPid === undefined || this.#over) return
    // Those that stand still first start nothing after that.
    const queue = childrenOf(this.#firstPid)
    for (let pid = queue.pop(); pid !== undefined; pid = queue.pop()) {
      signalTo(pid, still ? 'SIGSTOP' : 'SIGCONT')
      if (this.#init.startsPrograms === true) queue.push(...childrenOf(pid))
    }
  }

  /** What the kernel stopped it from; undefined where it does not. */
  async exceeded(): Promise<string | undefined> {
    await this.#looking
    return await this.#group?.exceeded()
  }

  async #ended(): Promise<void> {
    if (this.#firstPid === undefined) return
    // The kernel needs microseconds for it, so the first looks are quick.
    for (let look = 0; !isDead(this.#firstPid); look++) {
      if (look > maxLooks) throw new ShoalError('ERR_SANDBOX', 'a guest does not end')
      await (look < quickLooks ? setImmediate() : delay(1))
    }
  }

  readonly #onAbort = (): void => this.#kill(this.#init.signal.reason)

  #receive(stream: 'stdout' | 'stderr', chunk: Buffer): void {
    if (this.#dying) return
    this.#read[stream] += chunk.length
    if (this.#read[stream] > this.#init.limits.stdioBytes) {
      this.#kill(new ShoalError('ERR_LIMIT', `more than ${this.#init.limits.stdioBytes} bytes on ${stream}`))
    } else if (stream === 'stdout') this.#stdout.push(chunk)
    else this.#init.onStderr(chunk)
  }

  #readStatus(chunk: Buffer): void {
    if (this.#statusText.length < 4096) this.#statusText += chunk.toString('latin1')
    const pid = /"child-pid":\s*(\d+)/.exec(this.#statusText)?.[1]
    if (pid === undefined || this.#firstPid !== undefined) return
    this.#firstPid = Number(pid)
    this.#init.onStarted?.(this.#firstPid)
    if (this.#dying) this.#killNow()
  }

  #kill(reason: unknown): void {
    if (this.#dying || this.#over) return
    this.#failure = reason
    this.#dying = true
    // Until bubblewrap has named its child, killing it could leave the child behind, waiting for its parent for ever.
    if (this.#firstPid === undefined) this.#after(startMs, () => this.#killNow())
    else this.#killNow()
  }

  #killNow(): void {
    for (const pid of [this.#firstPid, this.#child.pid]) if (pid !== undefined) signalTo(pid, 'SIGKILL')
  }

  #watch(): void {
    this.#after(this.#init.watchMs ?? defaultWatchMs, async () => {
      if (this.#firstPid !== undefined) {
        this.#looking = this.#look(this.#firstPid)
        await this.#looking
      }
      if (!this.#over && !this.#dying) this.#watch()
    })
  }

  async #look(firstPid: number): Promise<void> {
    this.#yieldSession()
    // It may have begun since.
    if (this.#init.standstill?.isHeld) this.stand(true)
    const { outDir, limits } = this.#init
    try {
      const pids = await processesOf(firstPid)
      await this.#enter(firstPid, pids)
      const over = await overLimit(pids, outDir, limits)
      if (over !== undefined) this.#kill(new ShoalError('ERR_LIMIT', over))
    } catch (error) {
      // What cannot be watched must not run.
      if (codeOf(error) === 'ERR_LIMIT') this.#kill(error)
      else this.#kill(new ShoalError('ERR_SANDBOX', 'the guest cannot be watched', { cause: error }))
    }
  }

  /**
   * Whatever takes a process into another control group makes the kernel wait for all of its processors, some ten milliseconds: so
   * only guests get there that last. What they have taken by then is not charged to the group, but is seen by the watch.
   */
  async #enter(firstPid: number, pids: readonly number[]): Promise<void> {
    const { setup, limits, groupLimits = limits, startsPrograms } = this.#init
    if (setup.groups === undefined || this.#over) return
    if (this.#group === undefined) {
      this.#group = await setup.groups.make(groupLimits, setup.background)
      await this.#group.enter(this.#child.pid === undefined ? pids : [this.#child.pid, ...pids])
    }
    // At each look: one whose parent ends at the right moment is in no list of that moment.
    if (startsPrograms === true) await this.#group.enterAll(() => processesOf(firstPid))
  }

  /**
   * Where Linux divides the processor among sessions first (`sched_autogroup_enabled`), niceness counts within one only, and
   * a guest has sessions of its own. The kernel takes one such wish in a tenth of a second, hence again at each watch.
   */
  #yieldSession(): void {
    if (!this.#init.setup.background) return
    for (const pid of [this.#child.pid, this.#firstPid]) {
      if (pid === undefined || this.#yielded.has(pid)) continue
      try {
        writeFileSync(`/proc/${pid}/autogroup`, '19')
        this.#yielded.add(pid)
      } catch (error) {
        if (codeOf(error) === 'EAGAIN') continue
        if (!['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'EINVAL', 'EIO'].includes(codeOf(error) ?? '')) throw error
        this.#yielded.add(pid)
      }
    }
  }

  #after(ms: number, run: () => void): void {
    const cancel = this.#init.clock.after(ms, () => {
      this.#timers.delete(cancel)
      run()
    })
    this.#timers.add(cancel)
  }
}

/** Right after the start, so that everything started later inherits it. Both only ever ask for less. */
function yieldPrecedence(pid: number): void {
  try {
    setPriority(pid, niceness)
    writeFileSync(`/proc/${pid}/oom_score_adj`, outOfMemoryScore)
  } catch (error) {
    if (!['ESRCH', 'ENOENT', 'ERR_SYSTEM_ERROR'].includes(codeOf(error) ?? '')) throw error
  }
}

/** It may have ended meanwhile. */
function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error
  }
}

/** Of all its threads; none of one that has ended. */
function childrenOf(pid: number): number[] {
  const looked = <T>(look: () => T[]): T[] => {
    try {
      return look()
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return []
      throw error
    }
  }
  const threads = looked(() => readdirSync(`/proc/${pid}/task`))
  const children = threads.flatMap((thread) =>
    looked(() => readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1').split(' ')),
  )
  return children.filter((text) => text !== '').map(Number)
}

/** Absent, or a zombie: the kernel lets the first process of a namespace become one when all others in it are gone. */
function isDead(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return /^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2))
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return true
    throw error
  }
}
