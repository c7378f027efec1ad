import type { ControlGroups } from './control-groups.ts'
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
  /** Whether this bubblewrap and kernel know `--disable-userns`. */
  disableUserns: boolean
}

/**
 * The options of bubblewrap for one guest: an empty root with nothing in it but what is mounted, no network, no other
 * namespace shared, no capability, nothing in the environment but `env`, and no `/proc`, which would tell of the host.
 */
export function sandboxOptions(init: SandboxInit): string[] {
  const options = [
    '--unshare-user',
    '--unshare-pid',
    '--unshare-net',
    '--unshare-ipc',
    '--unshare-uts',
    '--unshare-cgroup-try',
  ]
  if (init.disableUserns) options.push('--disable-userns')
  options.push('--die-with-parent', '--new-session', '--cap-drop', 'ALL', '--uid', '1000', '--gid', '1000')
  options.push('--hostname', 'shoal', '--clearenv')
  for (const [name, value] of init.env) options.push('--setenv', name, value)
  options.push(...init.mounts)
  for (const { from, to } of init.readOnly) options.push('--ro-bind', from, to)
  if (init.writable !== undefined) options.push('--bind', init.writable.from, init.writable.to)
  options.push('--size', `${init.tmpBytes}`, '--tmpfs', '/tmp', '--chdir', init.cwd, '--remount-ro', '/')
  return options
}

/** What guests of this machine are started with. */
export interface SandboxSetup {
  /** Absolute path. */
  bubblewrap: string
  /** Absolute path, of util-linux; a shell's `ulimit` takes its place where it is missing. */
  prlimit: string | undefined
  /** File with the system call filter. */
  filter: string
  /** Whether this bubblewrap and kernel know `--disable-userns`. */
  disableUserns: boolean
  /** As `inheritedDescriptors` found them: what a guest would otherwise be handed, too. */
  inherited: readonly number[]
  /** Undefined: limits are kept by watching alone. */
  groups: ControlGroups | undefined
  /** Whether guests get only what nobody else on this machine wants of processor and disk, and not just less. */
  background: boolean
  /** Absolute path, of util-linux; needed for `background` where there is no control group for it. */
  chrt: string | undefined
}

/**
 * The command that sets resource limits and becomes bubblewrap. Limits that hold for one process; what a guest uses in all
 * is watched from outside.
 * @param processors how many of them its threads may keep busy, for the limit on processor time
 */
export function limitCommand(setup: SandboxSetup, limits: GuestLimits, processors: number): string[] {
  const cpuSeconds = Math.ceil((limits.wallMs / 1000) * Math.max(2, processors))
  const fileBytes = Math.ceil(limits.outBytes)
  if (setup.prlimit !== undefined) {
    const set = [
      '--core=0',
      '--nofile=1024',
      `--fsize=${fileBytes}`,
      `--cpu=${cpuSeconds}`,
      `--data=${limits.memoryBytes}`,
      // Signals and timers that wait are counted for the user as a whole, and the owner needs some, too.
      '--sigpending=256',
    ]
    return [...yielding(setup), setup.prlimit, ...set, '--', setup.bubblewrap]
  }
  const blocks = Math.ceil(fileBytes / 512)
  const kib = Math.ceil(limits.memoryBytes / 1024)
  const script = `ulimit -c 0; ulimit -n 1024; ulimit -f ${blocks}; ulimit -t ${cpuSeconds}; ulimit -d ${kib}; ulimit -i 256 2>/dev/null; exec "$@"`
  return [...yielding(setup), '/bin/sh', '-c', script, 'sh', setup.bubblewrap]
}

const yielding = ({ chrt, background }: SandboxSetup): string[] =>
  chrt === undefined || !background ? [] : [chrt, '--idle', '0']
