import { chmodSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { type EntryArch, entryProgram } from './entry-program.ts'
import { type Launchers, quoted } from './launchers.ts'
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

/**
 * The options of bubblewrap for one guest: an empty root with nothing in it but what is mounted, no network, no other
 * namespace shared, no capability, nothing in the environment but `env`, and no `/proc`, which would tell of the host.
 */
function bubblewrapOptions(init: SandboxInit, { disableUserns, asRoot }: BubblewrapSetup): string[] {
  const options = ['--unshare-pid', '--unshare-net', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try']
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
  for (const [name, value] of init.env) options.push('--setenv', name, value)
  const mounts = [...init.mounts]
  for (const { from, to } of init.readOnly) mounts.push('--ro-bind', from, to)
  if (init.writable !== undefined) mounts.push('--bind', init.writable.from, init.writable.to)
  for (const dir of directoriesAbove(mounts)) options.push('--dir', dir)
  options.push(...mounts)
  options.push('--perms', '1777', '--size', `${init.tmpBytes}`, '--tmpfs', '/tmp')
  options.push('--chdir', init.cwd, '--remount-ro', '/')
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
  /** File with the system call filter; beside it, with `-starting` in its name, that of guests that may start programs. */
  filter: string
  /** Whether this bubblewrap and kernel know `--disable-userns`. */
  disableUserns: boolean
  /** Whether this process is root, and its guests are other users. */
  asRoot: boolean
  /** For which processor the first program inside is made; undefined: there is none. */
  entry: EntryArch | undefined
  /** Of this kernel. */
  lastCapability: number
  launchers: Launchers
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

/**
 * Writes down what a launcher does: it sets limits that hold for one process and becomes the sandbox. What a guest uses in all is
 * limited by its control group, and watched from outside.
 * @returns path of the script
 */
export function writeLaunch(init: LaunchInit): string {
  const { setup, limits, processors, optionsFile } = init
  const cpuSeconds = Math.ceil((limits.wallMs / 1000) * Math.max(2, processors))
  const blocks = Math.ceil(limits.outBytes / 512)
  const kib = Math.ceil(limits.memoryBytes / 1024)
  const lines = [
    'set -e',
    `ulimit -c 0; ulimit -n 1024; ulimit -f ${blocks}; ulimit -t ${cpuSeconds}; ulimit -d ${kib}; ulimit -i 256 2>/dev/null || :`,
    setup.kind === 'bubblewrap' ? bubblewrapCommand(init, setup) : seatbeltCommand(init, setup),
    '',
  ]
  const script = `${optionsFile}-script`
  writeFileSync(script, lines.join('\n'), { mode: 0o600 })
  return script
}

/** What a guest starts as. */
const entryInside = '/shoal-entry'

function bubblewrapCommand(init: LaunchInit, setup: BubblewrapSetup): string {
  const { inside, limits, optionsFile, startsPrograms, user } = init
  const options = bubblewrapOptions(inside, setup)
  const program = [...init.program]
  if (setup.entry !== undefined) {
    const become = user === undefined ? {} : { become: { user, lastCapability: setup.lastCapability } }
    const entry = `${optionsFile}-entry`
    // Nobody may write to the one that another guest had before.
    rmSync(entry, { force: true })
    writeFileSync(entry, entryProgram(setup.entry, { tasks: limits.tasks + ownTasks, ...become }))
    chmodSync(entry, 0o555)
    options.unshift('--ro-bind', entry, entryInside)
    program.unshift(entryInside)
  }
  writeFileSync(optionsFile, `${options.join('\0')}\0`, { mode: 0o600 })
  const filter = startsPrograms ? `${setup.filter}-starting` : setup.filter
  const command = [setup.bubblewrap, '--json-status-fd', '3', '--args', '4', '--seccomp', '5', '--', ...program]
  // Bubblewrap reads from where a descriptor stands: each guest has its own.
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
