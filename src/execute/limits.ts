/** What one guest may use. */
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

/** Bubblewrap's own two, and what becomes them. */
export const ownTasks = 4
