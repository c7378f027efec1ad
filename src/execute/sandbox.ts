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

export interface GuestLimits {
  /** Wall clock from start to end. Default 30 min. */
  wallMs: number
  /** Memory of all its processes. Default 4 GiB. */
  memoryBytes: number
  /** All that it may write to its output directory. Default 2 GiB. */
  outBytes: number
  /** Default 256 MiB. */
  tmpBytes: number
  /** Each of standard output and standard error. Default 8 MiB. */
  stdioBytes: number
  /** Processes and threads. Default 256. */
  tasks: number
  /** What it may read besides the toolchain. Default 4 GiB in 65,536 files. */
  inputBytes: number
  inputFiles: number
}

export const defaultLimits: GuestLimits = {
  wallMs: 30 * 60_000,
  memoryBytes: 4 * 1024 ** 3,
  outBytes: 2 * 1024 ** 3,
  tmpBytes: 256 << 20,
  stdioBytes: 8 << 20,
  tasks: 256,
  inputBytes: 4 * 1024 ** 3,
  inputFiles: 65_536,
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
}

/**
 * The command that sets resource limits and becomes bubblewrap. Limits that hold for one process; what a guest uses in all
 * is watched from outside.
 * @param processors how many of them its threads may keep busy, for the limit on processor time
 */
export function limitCommand(setup: SandboxSetup, limits: GuestLimits, processors: number): [string, ...string[]] {
  const cpuSeconds = Math.ceil((limits.wallMs / 1000) * Math.max(2, processors))
  const fileBytes = Math.ceil(limits.outBytes)
  if (setup.prlimit !== undefined) {
    const set = [
      '--core=0',
      '--nofile=1024',
      `--fsize=${fileBytes}`,
      `--cpu=${cpuSeconds}`,
      `--data=${limits.memoryBytes}`,
    ]
    return [setup.prlimit, ...set, '--', setup.bubblewrap]
  }
  const blocks = Math.ceil(fileBytes / 512)
  const kib = Math.ceil(limits.memoryBytes / 1024)
  const script = `ulimit -c 0; ulimit -n 1024; ulimit -f ${blocks}; ulimit -t ${cpuSeconds}; ulimit -d ${kib}; exec "$@"`
  return ['/bin/sh', '-c', script, 'sh', setup.bubblewrap]
}
