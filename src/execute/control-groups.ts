import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { access, constants, mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { codeOf } from '../base/errors.ts'
import { type GuestLimits, ownTasks } from './limits.ts'
import { areOwn } from './own-processes.ts'

/**
 * Control groups of the kernel for guests: limits on memory and tasks that hold for all processes of a guest together and
 * at every moment, and a share of the processor that only counts when nobody else wants it. Version 2 where the group of
 * this process was delegated to it (`Delegate=yes` of systemd), version 1 where its directories can be written to.
 * Source: kernel, admin-guide/cgroup-v2 and cgroup-v1.
 */
export class ControlGroups {
  readonly #hierarchies: readonly Hierarchy[]
  readonly #background: boolean
  #made = 0

  private constructor(hierarchies: readonly Hierarchy[], background: boolean) {
    this.#hierarchies = hierarchies
    this.#background = background
  }

  /**
   * Makes the directory, in each hierarchy, below which guests get theirs, and removes what a daemon that is gone has left.
   * @param background whether guests get a processor only when nobody else wants it. That is so for what they are in together:
   *   the kernel compares groups where they part, so an idle group in one that is not is only idle among the other guests
   * @returns why there are none, in words, when memory and tasks cannot both be limited. Never throws.
   */
  static async open(background: boolean): Promise<ControlGroups | string> {
    try {
      const own = parseGroups(await readFile('/proc/self/cgroup', 'utf8'))
      const mounts = parseMounts(await readFile('/proc/self/mountinfo', 'utf8'))
      const found = (await unified(own, mounts)) ?? (await separate(own, mounts))
      if (typeof found === 'string') return found
      const name = `${prefix}${process.pid}-${randomBytes(4).toString('hex')}`
      const hierarchies = found.map((hierarchy) => ({ ...hierarchy, dir: join(hierarchy.dir, name) }))
      for (const { dir, version, controllers } of hierarchies) {
        await removeStale(dirname(dir))
        await mkdir(dir)
        if (version === 2) await writeFile(join(dir, 'cgroup.subtree_control'), enabling(controllers))
        if (background && controllers.includes('cpu')) ask(join(dir, 'cpu.idle'), '1')
      }
      return new ControlGroups(hierarchies, background)
    } catch (error) {
      return `control groups cannot be used: ${codeOf(error) ?? 'unknown'}`
    }
  }

  /**
   * A group for one guest.
   * @throws the errors of the file system, when the kernel refuses a limit on memory or tasks
   */
  async make(limits: GuestLimits): Promise<GuestGroup> {
    const group = new GuestGroup(this.#hierarchies, `guest-${this.#made++}`)
    try {
      await group.limit(limits, this.#background)
      return group
    } catch (error) {
      await group.remove()
      throw error
    }
  }

  /** When no guest runs any more. */
  async close(): Promise<void> {
    for (const { dir } of this.#hierarchies) await removeGroup(dir)
  }
}

interface Hierarchy {
  /** Where guests get their directories. */
  dir: string
  version: 1 | 2
  /** Those of it that are used. */
  controllers: readonly string[]
}

export class GuestGroup {
  readonly #hierarchies: readonly Hierarchy[]
  readonly #name: string

  constructor(hierarchies: readonly Hierarchy[], name: string) {
    this.#hierarchies = hierarchies
    this.#name = name
  }

  /** One for each hierarchy. */
  get dirs(): string[] {
    return this.#hierarchies.map(({ dir }) => join(dir, this.#name))
  }

  /** Takes processes in, and whatever they start from then on; those that are gone do not matter. */
  async enter(pids: readonly number[]): Promise<void> {
    await Promise.all(
      this.dirs.map(async (dir) => {
        for (const pid of pids) await enter(dir, pid)
      }),
    )
  }

  async limit(limits: GuestLimits, background: boolean): Promise<void> {
    // The private /tmp lies in memory and counts as such.
    const memory = `${limits.memoryBytes + limits.tmpBytes}`
    for (const { dir, version, controllers } of this.#hierarchies) {
      const at = join(dir, this.#name)
      await mkdir(at)
      const set = (controller: string, file: string, value: string): void => {
        if (controllers.includes(controller)) writeFileSync(join(at, `${controller}.${file}`), value)
      }
      if (version === 2) {
        set('memory', 'max', memory)
        ask(join(at, 'memory.swap.max'), '0')
        ask(join(at, 'memory.oom.group'), '1')
      } else {
        set('memory', 'limit_in_bytes', memory)
        ask(join(at, 'memory.memsw.limit_in_bytes'), memory)
      }
      set('pids', 'max', `${limits.tasks + ownTasks}`)
      if (background && controllers.includes('cpu')) ask(join(at, 'cpu.idle'), '1')
    }
  }

  /** What the kernel stopped it from, in words; undefined when it kept to its limits. */
  async exceeded(): Promise<string | undefined> {
    for (const { dir, version, controllers } of this.#hierarchies) {
      // Five times a second, and the kernel has it in memory: a thread takes longer than the answer.
      const count = (file: string, key: string): number => {
        const text = readFileSync(join(dir, this.#name, file), 'latin1')
        return Number(new RegExp(`^${key} (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
      }
      if (controllers.includes('memory')) {
        const file = version === 2 ? 'memory.events' : 'memory.oom_control'
        if (count(file, 'oom_kill') > 0) return 'memory: the kernel ended it'
      }
      if (controllers.includes('pids') && count('pids.events', 'max') > 0) return 'tasks: the kernel refused more'
    }
    return undefined
  }

  /** When nothing of the guest runs any more. What cannot be removed stays until the next start. */
  async remove(): Promise<void> {
    for (const dir of this.dirs) await removeGroup(dir)
  }
}

/** Nothing is lost where a kernel does not know this. */
function ask(file: string, value: string): void {
  try {
    writeFileSync(file, value)
  } catch (error) {
    if (!['ENOENT', 'EACCES', 'EINVAL', 'EOPNOTSUPP'].includes(codeOf(error) ?? '')) throw error
  }
}

const prefix = 'shoal-guests-'
/** Version 2: where the processes of the daemon's own group go. */
const leafName = 'shoal-daemon'
const enabling = (controllers: readonly string[]): string => controllers.map((name) => `+${name}`).join(' ')

interface Mount {
  /** The part of the hierarchy that is visible. */
  root: string
  at: string
  version: 1 | 2
  /** Version 1 only. */
  controllers: readonly string[]
}

/** The groups of a process by controller, `` for version 2. */
function parseGroups(text: string): Map<string, string> {
  const groups = new Map<string, string>()
  for (const line of text.split('\n')) {
    const [, names, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (path === undefined) continue
    for (const name of (names ?? '').split(',')) groups.set(name, path)
  }
  return groups
}

function parseMounts(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const [, root, at, type, options] = /^\d+ \d+ \S+ (\S+) (\S+) .*? - (cgroup2?) \S+ (\S+)$/.exec(line) ?? []
    if (root === undefined || at === undefined || options === undefined) return []
    return [{ root, at, version: type === 'cgroup2' ? 2 : 1, controllers: options.split(',') }]
  })
}

/** Where the own group lies; undefined when that part of the hierarchy is not visible here. */
function visible(mount: Mount | undefined, path: string | undefined): string | undefined {
  if (mount === undefined || path === undefined) return undefined
  const below = relative(mount.root, path)
  return below.startsWith('..') ? undefined : join(mount.at, below)
}

const wanted = ['memory', 'pids', 'cpu']

/** @returns undefined when there is no memory controller in version 2, so that the machine uses version 1 */
async function unified(own: Map<string, string>, mounts: Mount[]): Promise<Hierarchy[] | string | undefined> {
  const at = visible(
    mounts.find(({ version }) => version === 2),
    own.get(''),
  )
  if (at === undefined) return undefined
  // Another node that was started in the same group has moved this one as well.
  const dir = basename(at) === leafName ? dirname(at) : at
  const offered = (await readFile(join(dir, 'cgroup.controllers'), 'utf8')).trim().split(' ')
  const controllers = wanted.filter((name) => offered.includes(name))
  if (!controllers.includes('memory')) return undefined
  if (!controllers.includes('pids') || !(await isWritable(join(dir, 'cgroup.subtree_control')))) {
    return 'the control group of the daemon was not delegated to it'
  }
  // A group with processes in it has no groups with controllers below it. Whoever waits for the daemon to start moves along.
  const inside = await processesIn(dir)
  if (!(await areOwn(inside))) return 'there are other programs in the control group of the daemon'
  const leaf = join(dir, leafName)
  await mkdir(leaf, { recursive: true })
  for (const pid of inside) await enter(leaf, pid)
  await writeFile(join(dir, 'cgroup.subtree_control'), enabling(controllers))
  return [{ dir, version: 2, controllers }]
}

async function separate(own: Map<string, string>, mounts: Mount[]): Promise<Hierarchy[] | string> {
  const found: Hierarchy[] = []
  for (const controller of wanted) {
    const mount = mounts.find(({ version, controllers }) => version === 1 && controllers.includes(controller))
    const dir = visible(mount, own.get(controller))
    if (dir === undefined || !(await isWritable(dir))) {
      if (controller === 'cpu') continue
      return `there is no control group for ${controller} that the daemon may divide`
    }
    const together = found.find((other) => other.dir === dir)
    if (together === undefined) found.push({ dir, version: 1, controllers: [controller] })
    else together.controllers = [...together.controllers, controller]
  }
  return found
}

async function isWritable(path: string): Promise<boolean> {
  try {
    await access(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Those of daemons that do not run any more, with whatever may still run in them. */
async function removeStale(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    const pid = Number(/^shoal-guests-(\d+)-/.exec(name)?.[1] ?? process.pid)
    if (isAlive(pid)) continue
    const parent = join(dir, name)
    for (const group of await groupsIn(parent)) await endGroup(group)
    await removeGroup(parent)
  }
}

/** None when another node that has just started was quicker. */
async function groupsIn(parent: string): Promise<string[]> {
  try {
    const entries = await readdir(parent, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(parent, name))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}

/** Takes a process in, unless it is gone. */
async function enter(dir: string, pid: number): Promise<void> {
  try {
    await writeFile(join(dir, 'cgroup.procs'), `${pid}`)
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error
  }
}

/** None when the group is gone. */
async function processesIn(dir: string): Promise<number[]> {
  const inside = await readFile(join(dir, 'cgroup.procs'), 'latin1').catch(() => '')
  return inside.split('\n').filter(Boolean).map(Number)
}

async function endGroup(dir: string): Promise<void> {
  for (const pid of await processesIn(dir)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      if (codeOf(error) !== 'ESRCH' && codeOf(error) !== 'EPERM') throw error
    }
  }
  await removeGroup(dir)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) !== 'ESRCH'
  }
}

/** The kernel needs a moment after the last process of it is gone. */
async function removeGroup(dir: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await rmdir(dir)
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || attempt >= 50) return
      await delay(2)
    }
  }
}
