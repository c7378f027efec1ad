import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { setTimeout as delay, setImmediate } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { codeOf, ShoalError } from '../base/errors.ts'
import { handOver } from './guest-users.ts'
import { type Launcher, yieldSession } from './launchers.ts'
import type { GuestLimits } from './limits.ts'
import { launchOf, type SandboxInit, type SandboxSetup } from './sandbox.ts'
import type { Standstill } from './standstill.ts'
import { noRoom, overLimit, overLimitAlone, processesOf } from './watchdog.ts'
import { isDead, Written } from './written.ts'

export interface GuestInit {
  inside: SandboxInit
  /** The program inside and its arguments. */
  program: readonly string[]
  setup: SandboxSetup
  /** Whether the program may start others that lie inside. Default: it may not. */
  startsPrograms?: boolean
  /** A path to be the file with the options of the sandbox; others are made whose names begin so. */
  optionsFile: string
  /** Becomes the guest's own, with what is in it, and is watched for its size. */
  outDir: string | undefined
  limits: GuestLimits
  /** What the kernel keeps, where it does. Default: `limits`. */
  groupLimits?: GuestLimits
  /** How many processors its threads may keep busy, for the limit on processor time. Default: 1. */
  processors?: number
  clock: Clock
  signal: AbortSignal
  /** What may let it stand still. */
  standstill?: Standstill | undefined
  /** Called before it starts, with the user whose files it makes. */
  onUser?(user: number): void
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

/** How often a guest is looked at. */
const watchMs = 200
/** Those that wait for the next guests are started when this one is at work: until then it needs the processors itself. */
const refillMs = 5
/** How long bubblewrap may take to name its child before it is killed without. */
const startMs = 5000
/** The later ones are a millisecond apart. */
const [quickLooks, maxLooks] = [30, 5000]

/**
 * Runs a program in the sandbox to its end; when this settles, nothing of it runs any more.
 * @throws ShoalError ERR_DEADLINE, ERR_LIMIT, ERR_DISK_FULL, or ERR_SANDBOX when it was never started; the signal's reason when aborted
 */
export async function runGuest(init: GuestInit): Promise<GuestEnd> {
  init.signal.throwIfAborted()
  await init.standstill?.pass(init.signal)
  const started = init.clock.now()
  const { launchers } = init.setup
  const launcher = await launchers.take(init.groupLimits ?? init.limits)
  try {
    init.signal.throwIfAborted()
    const ended: Promise<[number | null, NodeJS.Signals | null]> = once(launcher.child, 'close') as Promise<never>
    const guest = start(launcher, init)
    try {
      const [code, signal] = await ended
      const exceeded = code === 0 ? undefined : await guest.exceeded()
      const end = guest.finish(code, signal, exceeded)
      return { ...end, wallMs: Math.round(init.clock.now() - started) }
    } finally {
      await guest.gone()
    }
  } finally {
    launchers.giveBack(launcher)
  }
}

function start(launcher: Launcher, init: GuestInit): Guest {
  const { outDir, startsPrograms = false, processors = 1 } = init
  const { user } = launcher
  if (outDir !== undefined && user !== undefined) handOver(outDir, user)
  init.onUser?.(user ?? process.getuid?.() ?? 0)
  const told = launchOf({ ...init, startsPrograms, processors, user })
  const guest = new Guest(launcher, init)
  launcher.launch(told)
  return guest
}

class Guest {
  readonly #launcher: Launcher
  readonly #init: GuestInit
  readonly #stdout: Buffer[] = []
  readonly #read = { stdout: 0, stderr: 0 }
  readonly #timers = new Set<() => void>()
  readonly #written = new Written()
  #hasYielded = false
  #hasRefilled = false
  #statusText = ''
  /** Process 1 inside, as numbered outside; under seatbelt the guest itself. */
  #firstPid: number | undefined
  #looking: Promise<void> = Promise.resolve()
  #failure: unknown
  #dying = false
  #over = false

  constructor(launcher: Launcher, init: GuestInit) {
    this.#launcher = launcher
    this.#init = init
    const { child } = launcher
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

  /** What the end of the launcher means, and what the kernel ended it for. */
  finish(code: number | null, signal: NodeJS.Signals | null, exceeded: string | undefined): Omit<GuestEnd, 'wallMs'> {
    if (this.#failure !== undefined) throw this.#failure
    if (exceeded !== undefined) throw new ShoalError('ERR_LIMIT', exceeded)
    const status = this.#isAlone ? this.#statusAlone(code, signal) : this.#statusTold()
    if (status === undefined)
      throw new ShoalError('ERR_SANDBOX', `the sandbox ended with ${code ?? signal} before the guest`)
    return { status, stdout: Buffer.concat(this.#stdout) }
  }

  /** Whether the guest is what the launcher has become, and nothing else. */
  get #isAlone(): boolean {
    return this.#init.setup.kind === 'seatbelt'
  }

  #statusTold(): number | undefined {
    const status = /"exit-code":\s*(\d+)/.exec(this.#statusText)?.[1]
    return status === undefined ? undefined : Number(status)
  }

  #statusAlone(code: number | null, signal: NodeJS.Signals | null): number | undefined {
    if (this.#firstPid === undefined) return undefined
    return code ?? (signal === null ? undefined : 128 + constants.signals[signal])
  }

  /** Stops watching and waits until the process namespace is empty: then nobody writes to the outputs any more. */
  async gone(): Promise<void> {
    this.#over = true
    this.#init.standstill?.remove(this)
    this.#init.signal.removeEventListener('abort', this.#onAbort)
    for (const cancel of this.#timers) cancel()
    if (this.#firstPid !== undefined) this.#refill()
    try {
      await this.#ended()
    } finally {
      await this.#looking
    }
  }

  /** All that runs inside but the first process, which only waits. */
  stand(still: boolean): void {
    if (this.#firstPid === undefined || this.#over) return
    if (this.#isAlone) {
      signalTo(this.#firstPid, still ? 'SIGSTOP' : 'SIGCONT')
      return
    }
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
    return await this.#launcher.group?.exceeded()
  }

  async #ended(): Promise<void> {
    // The end of the launcher was its own.
    if (this.#firstPid === undefined || this.#isAlone) return
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
    this.#after(refillMs, () => this.#refill())
  }

  /** Once. */
  #refill(): void {
    if (this.#hasRefilled) return
    this.#hasRefilled = true
    this.#init.setup.launchers.refill(this.#init.groupLimits ?? this.#init.limits)
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
    for (const pid of [this.#firstPid, this.#launcher.child.pid]) if (pid !== undefined) signalTo(pid, 'SIGKILL')
  }

  #watch(): void {
    this.#after(watchMs, async () => {
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
      const over = this.#isAlone
        ? await overLimitAlone(firstPid, outDir, limits)
        : ((await this.#launcher.group?.exceeded()) ??
          overLimit(await processesOf(firstPid), this.#init, this.#written))
      if (over !== undefined) this.#kill(new ShoalError(over === noRoom ? 'ERR_DISK_FULL' : 'ERR_LIMIT', over))
    } catch (error) {
      // What cannot be watched must not run.
      this.#kill(new ShoalError('ERR_SANDBOX', 'the guest cannot be watched', { cause: error }))
    }
  }

  /** Niceness counts within one session only, see `Launcher`, and what runs inside has one of its own. */
  #yieldSession(): void {
    this.#launcher.yieldSession()
    if (!this.#launcher.yieldsSession || this.#hasYielded || this.#firstPid === undefined) return
    this.#hasYielded = yieldSession(this.#firstPid)
  }

  #after(ms: number, run: () => void): void {
    const cancel = this.#init.clock.after(ms, () => {
      this.#timers.delete(cancel)
      run()
    })
    this.#timers.add(cancel)
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
