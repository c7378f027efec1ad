import { realpathSync, writeFileSync } from 'node:fs'
import { type EntryArch, entryProgram, type Limit } from './entry-program.ts'
import { type Launchers, quoted, type Waiting } from './launchers.ts'
import { type GuestLimits, ownTasks } from './limits.ts'
import { seatbeltOptions, seatbeltProfile } from './seatbelt.ts'

/** A directory of the host and where it appears inside. */
export interface Mount {
  from: string
  to: string
}

/** What a guest finds. Where nothing can be mounted (seatbelt), everything appears where it lies. */
export interface SandboxInit {
  /** Options of bubblewrap that mount the program and its libraries. */
  mounts: readonly string[]
  readOnly: readonly Mount[]
  /** The one directory that can be written to, besides `/tmp`. */
  writable: Mount | undefined
  /** Working directory inside. */
  cwd: string
  env: readonly (readonly [string, string])[]
  /** Size of the private `/tmp`, which lies in memory; under seatbelt there is none. */
  tmpBytes: number
}

/** Without it bubblewrap refuses the name of a host that it is given, and that before it starts anything. */
const lastOption = '--unshare-uts'

type Isolation = Pick<BubblewrapSetup, 'disableUserns' | 'asRoot' | 'unshare'>

/**
 * What bubblewrap shuts every guest off from, with `lastOption`: no network, no other namespace shared, no capability, nothing in the
 * environment.
 */
function isolation({ disableUserns, asRoot, unshare }: Isolation): string[] {
  const options = ['--unshare-pid', '--unshare-cgroup-try']
  if (unshare === undefined) options.push('--unshare-net', '--unshare-ipc')
  if (asRoot) {
    // The first process inside stays bubblewrap's own, root's and without any right: the kernel ends it with this node, and with
    // it all others, and only one that is root's lets itself be ended so. The guest has become another user, with the three
    // rights that this takes, before the program is started that it is to run.
    options.push('--cap-drop', 'ALL')
    for (const right of ['SETUID', 'SETGID', 'SETPCAP']) options.push('--cap-add', `CAP_${right}`)
  } else {
    options.push('--unshare-user', '--uid', '1000', '--gid', '1000', '--cap-drop', 'ALL')
    if (disableUserns) options.push('--disable-userns')
  }
  options.push('--die-with-parent', '--new-session', '--hostname', 'shoal', '--clearenv')
  return options
}

/**
 * What one guest finds: an empty root with nothing in it but what is mounted, nothing in the environment but `env`, and no
 * `/proc`, which would tell of the host.
 * @param entry options that put the first program there
 */
function inventory(init: SandboxInit, entry: readonly string[]): string[] {
  const options: string[] = []
  for (const [name, value] of init.env) options.push('--setenv', name, value)
  const mounts = [...init.mounts]
  for (const { from, to } of init.readOnly) mounts.push('--ro-bind', from, to)
  if (init.writable !== undefined) mounts.push('--bind', init.writable.from, init.writable.to)
  for (const dir of directoriesAbove(mounts)) options.push('--dir', dir)
  options.push(...mounts)
  options.push('--perms', '1777', '--size', `${init.tmpBytes}`, '--tmpfs', '/tmp')
  options.push('--chdir', init.cwd, ...entry, '--remount-ro', '/', lastOption)
  return options
}

/** How many words each of them takes; the last one is where it appears inside. */
const words: Readonly<Record<string, number>> = { '--ro-bind': 3, '--bind': 3, '--symlink': 3, '--dir': 2 }

/** Above what is mounted, the upper ones first. Those that bubblewrap makes unasked, nobody but its own user may enter. */
function directoriesAbove(mounts: readonly string[]): Set<string> {
  const above = new Set<string>()
  for (let at = 0; at < mounts.length; at += words[mounts[at] ?? ''] ?? mounts.length) {
    const place = mounts[at + (words[mounts[at] ?? ''] ?? 0) - 1] ?? ''
    for (let end = place.indexOf('/', 1); end > 0; end = place.indexOf('/', end + 1)) above.add(place.slice(0, end))
  }
  return above
}

/** What guests of this machine are started with. */
export type SandboxSetup = BubblewrapSetup | SeatbeltSetup

export interface BubblewrapSetup {
  kind: 'bubblewrap'
  /** Absolute path. */
  bubblewrap: string
  /** The system call filters, as bubblewrap reads them: of guests that may start no program, and of those that may. */
  filters: Filters
  /** Whether this bubblewrap and kernel know `--disable-userns`. */
  disableUserns: boolean
  /** Whether this process is root, and its guests are other users. */
  asRoot: boolean
  /**
   * Absolute path, of util-linux: makes the namespaces of network and IPC in which bubblewrap then waits, because to make them takes
   * half a millisecond. Undefined: bubblewrap makes them.
   */
  unshare: string | undefined
  /** For which processor the first program inside is made; undefined: there is none, and a shell waits for guests instead of bubblewrap. */
  entry: EntryArch | undefined
  /** Of this kernel. */
  lastCapability: number
  launchers: Launchers
}

export interface Filters {
  alone: Uint8Array
  starting: Uint8Array
}

/** Of macOS: a single process, which may start none and load nothing that came with a task. */
export interface SeatbeltSetup {
  kind: 'seatbelt'
  /** `sandbox-exec`, absolute path. */
  seatbelt: string
  launchers: Launchers
}

export interface LaunchInit {
  inside: SandboxInit
  setup: SandboxSetup
  limits: GuestLimits
  /** How many processors the guest's threads may keep busy, for the limit on processor time. */
  processors: number
  /** A path to be the file with bubblewrap's options, or the profile of seatbelt; others are made whose names begin so. */
  optionsFile: string
  startsPrograms: boolean
  /** The program inside and its arguments. */
  program: readonly string[]
  /** Who the guest is to be; undefined: whoever this process is. */
  user: number | undefined
}

/** What a guest starts as. */
const entryInside = '/shoal-entry'
/** Through which of its descriptors a shell is told what to do; and bubblewrap, its options, its filter and the first program. */
const shellTold = [0]
const bubblewrapTold = [4, 5, 6]

/** A shell that waits to be told what to become. */
export const waitingShell = (prlimit: string | undefined): Waiting => ({
  // Signals and timers that wait are counted for the user as a whole, and the owner needs some, too. Not every shell can say so.
  command: [...(prlimit === undefined ? [] : [prlimit, '--sigpending=256', '--']), '/bin/sh', '-s'],
  toldOn: shellTold,
})

/**
 * Bubblewrap itself, which does nothing before it has read its options to their end. Without the last of them it ends at once: a process
 * that it had started would wait for ever for one that ends because nobody reads its status. Without the whole filter and program it runs nothing.
 */
export const waitingBubblewrap = (setup: Pick<BubblewrapSetup, 'bubblewrap'> & Isolation): Waiting => ({
  command: [
    ...(setup.unshare === undefined ? [] : [setup.unshare, '--net', '--ipc', '--']),
    ...[setup.bubblewrap, ...isolation(setup), '--json-status-fd', '3'],
    ...['--args', '4', '--seccomp', '5', '--', entryInside],
  ],
  toldOn: bubblewrapTold,
})

/**
 * What a launcher is told, to become the sandbox and then the guest. With it go limits that hold for one process; what a guest uses in
 * all is limited by its control group, and watched from outside.
 * @returns as `Launcher.launch` takes it
 */
export function launchOf(init: LaunchInit): (string | Uint8Array)[] {
  const { setup } = init
  if (setup.kind === 'seatbelt') return [writeScript(init, seatbeltCommand(init, setup))]
  if (setup.entry === undefined) return [writeScript(init, bubblewrapCommand(init, setup))]
  const { user, startsPrograms, program, inside } = init
  const become = user === undefined ? {} : { become: { user, lastCapability: setup.lastCapability } }
  const options = inventory(inside, ['--perms', '0555', '--file', '6', entryInside])
  return [
    `${options.join('\0')}\0`,
    startsPrograms ? setup.filters.starting : setup.filters.alone,
    entryProgram(setup.entry, { limits: processLimits(init), ...become, program }),
  ]
}

function processLimits({ limits, processors }: LaunchInit): Limit[] {
  const cpuSeconds = Math.ceil((limits.wallMs / 1000) * Math.max(2, processors))
  return [
    { of: 'core', value: 0 },
    { of: 'files', value: 1024 },
    { of: 'fileSize', value: limits.outBytes },
    { of: 'cpu', value: cpuSeconds },
    { of: 'data', value: limits.memoryBytes },
    { of: 'signals', value: 256, isOptional: true },
    { of: 'tasks', value: limits.tasks + ownTasks },
  ]
}

/** @returns what a shell is told */
function writeScript(init: LaunchInit, command: string): string {
  const of = new Map(processLimits(init).map((limit) => [limit.of, limit.value]))
  const [blocks, kib] = [(of.get('fileSize') ?? 0) / 512, (of.get('data') ?? 0) / 1024].map(Math.ceil)
  const lines = [
    'set -e',
    `ulimit -c 0; ulimit -n ${of.get('files')}; ulimit -f ${blocks}; ulimit -t ${of.get('cpu')}; ulimit -d ${kib}; ulimit -i ${of.get('signals')} 2>/dev/null || :`,
    command,
    '',
  ]
  const script = `${init.optionsFile}-script`
  writeFileSync(script, lines.join('\n'), { mode: 0o600 })
  return `. ${quoted(script)}\n`
}

/** Bubblewrap reads from where a descriptor stands: each guest has files of its own. */
function bubblewrapCommand(
  { inside, optionsFile, startsPrograms, program }: LaunchInit,
  setup: BubblewrapSetup,
): string {
  const options = [...isolation(setup), ...inventory(inside, [])]
  const filter = `${optionsFile}-filter`
  writeFileSync(filter, startsPrograms ? setup.filters.starting : setup.filters.alone, { mode: 0o600 })
  writeFileSync(optionsFile, `${options.join('\0')}\0`, { mode: 0o600 })
  const command = [setup.bubblewrap, '--json-status-fd', '3', '--args', '4', '--seccomp', '5', '--', ...program]
  return `exec ${command.map(quoted).join(' ')} 4<${quoted(optionsFile)} 5<${quoted(filter)} </dev/null`
}

/** The shell is the guest in the end, so its number is known ahead; it says so as bubblewrap does. */
function seatbeltCommand({ inside, optionsFile, program }: LaunchInit, { seatbelt }: SeatbeltSetup): string {
  const real = (path: string): string => realpathSync(path)
  const profile = seatbeltProfile({
    program: real(program[0] ?? ''),
    readOnly: inside.readOnly.map(({ from }) => real(from)),
    writable: inside.writable === undefined ? [] : [real(inside.writable.from)],
  })
  writeFileSync(optionsFile, profile.text, { mode: 0o600 })
  const variables = inside.env.map(([name, value]) => `${name}=${value}`)
  const command = ['/usr/bin/env', '-i', ...variables, seatbelt, ...seatbeltOptions(profile, optionsFile), ...program]
  return [
    `cd ${quoted(inside.cwd)}`,
    `printf '{ "child-pid": %d }\\n' $$ >&3`,
    `exec ${command.map(quoted).join(' ')} 3>&- </dev/null`,
  ].join('\n')
}
