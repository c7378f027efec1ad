import type { EntryArch } from './entry-program.ts'
import { type Launchers, quoted } from './launchers.ts'
import type { GuestLimits } from './limits.ts'

/** A directory of the host and where it appears inside. */
export interface Mount {
  from: string
  to: string
}

export interface SandboxInit {
  /** Options that mount the program and its libraries. */
  mounts: readonly string[]
  readOnly: readonly Mount[]
  /** The one directory that can be written to, besides `/tmp`. */
  writable: Mount | undefined
  /** Working directory inside. */
  cwd: string
  env: readonly (readonly [string, string])[]
  /** Size of the private `/tmp`, which lies in memory. */
  tmpBytes: number
}

/**
 * The options of bubblewrap for one guest: an empty root with nothing in it but what is mounted, no network, no other
 * namespace shared, no capability, nothing in the environment but `env`, and no `/proc`, which would tell of the host.
 */
export function sandboxOptions(init: SandboxInit, { disableUserns, asRoot }: SandboxSetup): string[] {
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
export interface SandboxSetup {
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

export interface LaunchInit {
  setup: SandboxSetup
  limits: GuestLimits
  /** How many processors the guest's threads may keep busy, for the limit on processor time. */
  processors: number
  /** File with the options of bubblewrap. */
  optionsFile: string
  startsPrograms: boolean
  /** The program inside and its arguments. */
  program: readonly string[]
}

/**
 * What a launcher does: it sets limits that hold for one process and becomes bubblewrap. What a guest uses in all is limited by
 * its control group, and watched from outside.
 */
export function launchScript(init: LaunchInit): string {
  const { setup, limits, processors, optionsFile, startsPrograms, program } = init
  const cpuSeconds = Math.ceil((limits.wallMs / 1000) * Math.max(2, processors))
  const blocks = Math.ceil(limits.outBytes / 512)
  const kib = Math.ceil(limits.memoryBytes / 1024)
  const options = ['--json-status-fd', '3', '--args', '4', '--seccomp', '5', '--', ...program]
  const filter = startsPrograms ? `${setup.filter}-starting` : setup.filter
  // Bubblewrap reads from where a descriptor stands: each guest has its own.
  return [
    'set -e',
    `ulimit -c 0; ulimit -n 1024; ulimit -f ${blocks}; ulimit -t ${cpuSeconds}; ulimit -d ${kib}; ulimit -i 256 2>/dev/null || :`,
    `exec ${[setup.bubblewrap, ...options].map(quoted).join(' ')} 4<${quoted(optionsFile)} 5<${quoted(filter)} </dev/null`,
    '',
  ].join('\n')
}
