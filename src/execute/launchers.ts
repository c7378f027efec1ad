import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, writeFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { setPriority } from 'node:os'
import { Writable } from 'node:stream'
import type { Clock } from '../base/clock.ts'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { ControlGroups, GuestGroup } from './control-groups.ts'
import type { GuestUsers } from './guest-users.ts'
import type { GuestLimits } from './limits.ts'

/** What waits to be told what to become. */
export interface Waiting {
  /** Program, absolute, and arguments. Its descriptor 3 is read from. */
  command: readonly string[]
  /** Its descriptors, up to the sixth, on which it reads to the end what it is told, in this order. */
  toldOn: readonly number[]
}

export interface LaunchersInit {
  waiting: Waiting
  /** Undefined: limits are kept by watching alone. */
  groups: ControlGroups | undefined
  /** Undefined: guests are of this process's own user. */
  users: GuestUsers | undefined
  /** Absolute path, of util-linux; needed for `background` where there is no control group for it. */
  chrt: string | undefined
  /** Whether guests get only what nobody else on this machine wants of processor and disk, and not just less. */
  background: boolean
  /** As `inheritedDescriptors` found them: what a guest would otherwise be handed, too. */
  inherited: readonly number[]
  clock: Clock
}

/** Below everything that the owner of this machine runs, and first to go when memory runs out. */
const [niceness, outOfMemoryScore] = [10, '900']
/** How many wait at most, and for how long when no guest comes any more. */
const [maxSpares, idleMs] = [16, 20_000]
/** Of the descriptors: the last one that whatever waits may use. */
const lastUsed = 6

/**
 * A process that waits, in the control group of one guest, to be told what to become. Whatever takes a process into another
 * control group makes the kernel wait for all of its processors, some ten milliseconds; done ahead, that keeps nobody
 * waiting, and a guest is inside from its first instruction on.
 */
export class Launcher {
  readonly child: ChildProcess
  readonly group: GuestGroup | undefined
  /** Who the guest is to be; undefined: whoever this process is. */
  readonly user: number | undefined
  /** Whether it takes only what nobody else wants of the processor. */
  readonly yieldsSession: boolean
  readonly #toldOn: readonly number[]
  #hasYielded = false

  constructor(
    child: ChildProcess,
    group: GuestGroup | undefined,
    user: number | undefined,
    { waiting, background }: LaunchersInit,
  ) {
    this.child = child
    this.group = group
    this.user = user
    this.yieldsSession = background
    this.#toldOn = waiting.toldOn
  }

  get isAlive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** @param told what goes to each of its `toldOn`, after which it becomes something else */
  launch(told: readonly (string | Uint8Array)[]): void {
    for (const [at, fd] of this.#toldOn.entries()) {
      const end = this.child.stdio[fd]
      // It may have been killed; then its end says so.
      end?.on('error', () => undefined)
      // Otherwise its end would be waited for as well, when the guest is gone.
      if (end instanceof Writable) end.end(told[at], () => end.destroy())
    }
  }

  /** Whether this process waits for it. */
  hold(held: boolean): void {
    const ends = [this.child, ...this.child.stdio.filter((end) => end instanceof Socket)]
    for (const end of ends) {
      if (held) end.ref()
      else end.unref()
    }
  }

  /**
   * Where Linux divides the processor among sessions first (`sched_autogroup_enabled`), niceness counts within one only, and
   * this has a session of its own. The kernel takes one such wish in a tenth of a second, so it may take several tries.
   */
  yieldSession(): void {
    if (!this.yieldsSession || this.#hasYielded || this.child.pid === undefined) return
    this.#hasYielded = yieldSession(this.child.pid)
  }
}

/** @returns false when it has to be tried again */
export function yieldSession(pid: number): boolean {
  try {
    writeFileSync(`/proc/${pid}/autogroup`, '19')
  } catch (error) {
    if (codeOf(error) === 'EAGAIN') return false
    if (!['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'EINVAL', 'EIO'].includes(codeOf(error) ?? '')) throw error
  }
  return true
}

/** Launchers of a node: as many wait as guests run, and none when none has come for a while. */
export class Launchers {
  readonly #init: LaunchersInit
  #spares: { kind: string; coming: Promise<Launcher> }[] = []
  readonly #running = new Set<Launcher>()
  readonly #removals = new Set<Promise<void>>()
  #cancelIdle: (() => void) | undefined
  #closed = false

  constructor(init: LaunchersInit) {
    this.#init = init
  }

  /** @throws ShoalError ERR_SANDBOX when it cannot be started or limited; ERR_LIMIT when there are too many */
  async take(limits: GuestLimits): Promise<Launcher> {
    this.#cancelIdle?.()
    const kind = kindOf(limits)
    const others = this.#spares.filter((spare) => spare.kind !== kind)
    this.#spares = this.#spares.filter((spare) => spare.kind === kind)
    for (const { coming } of others) this.#discard(coming)
    const spare = await this.#spares.shift()?.coming.catch(() => undefined)
    if (spare !== undefined && !spare.isAlive) this.giveBack(spare)
    const launcher = spare?.isAlive ? spare : await this.#prepare(limits)
    launcher.hold(true)
    this.#running.add(launcher)
    return launcher
  }

  /** Sees to it that the next guests need not wait. Best when this one is on its way. */
  refill(limits: GuestLimits): void {
    while (!this.#closed && this.#spares.length < Math.min(maxSpares, this.#running.size)) {
      const coming = this.#prepare(limits)
      // Whoever takes it finds out.
      coming.catch(() => undefined)
      this.#spares.push({ kind: kindOf(limits), coming })
    }
  }

  /** When nothing of the guest runs any more. */
  giveBack(launcher: Launcher): void {
    this.#running.delete(launcher)
    if (launcher.isAlive) {
      this.#discard(Promise.resolve(launcher))
      return
    }
    if (launcher.user !== undefined) this.#init.users?.giveBack(launcher.user)
    this.#track(launcher.group?.remove())
    if (this.#running.size > 0) return
    this.#cancelIdle?.()
    this.#cancelIdle = this.#init.clock.after(idleMs, () => this.#dropSpares())
  }

  /** Ends those that wait; what guests have stays until they give it back. */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancelIdle?.()
    this.#dropSpares()
    while (this.#removals.size > 0) await Promise.all(this.#removals)
  }

  #dropSpares(): void {
    for (const { coming } of this.#spares) this.#discard(coming)
    this.#spares = []
  }

  #discard(coming: Promise<Launcher>): void {
    const discarding = async (): Promise<void> => {
      const launcher = await coming.catch(() => undefined)
      if (launcher === undefined) return
      launcher.hold(true)
      await end(launcher.child)
      this.giveBack(launcher)
    }
    this.#track(discarding())
  }

  #track(removal: Promise<void> | undefined): void {
    const tracked = removal?.finally(() => this.#removals.delete(tracked ?? removal))
    if (tracked !== undefined) this.#removals.add(tracked)
  }

  async #prepare(limits: GuestLimits): Promise<Launcher> {
    const { groups, users } = this.#init
    const user = users?.take()
    let child: ChildProcess | undefined
    let group: GuestGroup | undefined
    try {
      child = this.#spawn()
      await once(child, 'spawn')
      group = await groups?.make(limits)
      const launcher = new Launcher(child, group, user, this.#init)
      launcher.yieldSession()
      if (child.pid !== undefined) await group?.enter([child.pid])
      launcher.hold(false)
      return launcher
    } catch (error) {
      if (child?.pid !== undefined) await end(child)
      await group?.remove()
      if (user !== undefined) users?.giveBack(user)
      if (error instanceof ShoalError) throw error
      const what = child?.pid === undefined ? `${child?.spawnfile} cannot be started` : 'a guest gets no control group'
      throw new ShoalError('ERR_SANDBOX', `${what}: ${codeOf(error)}`, { cause: error })
    }
  }

  #spawn(): ChildProcess {
    const { waiting, chrt, background, inherited } = this.#init
    const command = [...waiting.command]
    if (chrt !== undefined && background) command.unshift(chrt, '--idle', '0')
    const told = (fd: number): 'pipe' | 'ignore' => (waiting.toldOn.includes(fd) ? 'pipe' : 'ignore')
    const [file = '', ...rest] = command
    const nothing = openSync('/dev/null', 'r')
    try {
      // In an empty environment: whatever bubblewrap itself were given, a guest might find in its memory or in /proc.
      const child = spawn(file, rest, {
        env: {},
        cwd: '/',
        detached: true,
        stdio: [told(0), 'pipe', 'pipe', 'pipe', told(4), told(5), told(6), ...covers(inherited, nothing)],
      })
      if (child.pid !== undefined) yieldPrecedence(child.pid)
      return child
    } finally {
      closeSync(nothing)
    }
  }
}

/** What the control group is told. */
const kindOf = ({ memoryBytes, tmpBytes, tasks }: GuestLimits): string => `${memoryBytes} ${tmpBytes} ${tasks}`

/** Puts `nothing` in the place of descriptors that would be handed down; the seven below are in use anyway. */
function covers(inherited: readonly number[], nothing: number): ('ignore' | number)[] {
  const last = inherited.at(-1) ?? 0
  return Array.from({ length: Math.max(0, last - lastUsed) }, (_, at) =>
    inherited.includes(at + lastUsed + 1) ? nothing : 'ignore',
  )
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

/** As a word of a shell. */
export const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** Right after the start, so that everything started later inherits it. Both only ever ask for less. */
function yieldPrecedence(pid: number): void {
  try {
    setPriority(pid, niceness)
    writeFileSync(`/proc/${pid}/oom_score_adj`, outOfMemoryScore)
  } catch (error) {
    if (!['ESRCH', 'ENOENT', 'ERR_SYSTEM_ERROR'].includes(codeOf(error) ?? '')) throw error
  }
}
