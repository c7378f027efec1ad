/** What the frames of the local protocol hold; protocols/local.md is the specification. */
export const clients = ['shim', 'cli'] as const
export const tokenStates = { released: 1, taken: 2, debt: 3 } as const
export const deliveryStates = ['metadata', 'done', 'failed'] as const
export const sources = ['file', 'text'] as const

export interface CompileFrame {
  type: 'compile'
  cwd: Uint8Array
  /** rustc as cargo named it, then its arguments; `@file` not expanded. Need not be UTF-8. */
  argv: Uint8Array[]
  /** `NAME=value`; need not be UTF-8. */
  env: Uint8Array[]
  pid: number
  ppid: number
  hasJobserver: boolean
  /** The `--remap-path-prefix` pairs that the shim adds to every run of this compile, in order; the last match wins. */
  remaps: { from: Uint8Array; to: Uint8Array }[]
}

/** A build script that cargo runs, as its launcher was started. */
export interface ScriptFrame {
  type: 'script'
  cwd: Uint8Array
  /** The script itself. */
  program: Uint8Array
  /** `NAME=value`; need not be UTF-8. */
  env: Uint8Array[]
  pid: number
  ppid: number
  umask: number
  /** A directory beside OUT_DIR, which is not there: for what the script would leave in OUT_DIR. */
  spare: Uint8Array
}

interface Ended {
  /** Exit code; negative: killed by that signal. */
  code: number
  wallMicros: number
  /** Of a processor, by the shim's children so far; 0: not known. */
  cpuMicros: number
  /** Whether stdout or stderr is only the head of what was written. */
  truncated: boolean
  stdout: Uint8Array
  /** As it was written, with the paths of the private directory. */
  stderr: Uint8Array
}

/** How rustc ended. */
export type RanFrame = Ended & { type: 'ran' }
/** How a linker ended. */
type LinkedFrame = Ended & { type: 'linked' }

export interface LinkFrame {
  type: 'link'
  /** Absolute; holds what is linked, and takes the notes of the observer. */
  dir: string
  /** '' for none. */
  observer: string
  /** A path, or a name on PATH. */
  program: string
  args: string[]
  /** Directories that come before those of PATH, absolute. */
  path: string[]
  /** How long it may take, not counting what it was stopped for. */
  seconds: number
}

/** One file of a unit that is there as a whole. */
export interface DeliveredFile {
  /** Where the bytes are: in a file, to be copied, or in `source` itself. */
  from: (typeof sources)[number]
  /** An absolute path, or the text of the file. */
  source: Uint8Array
  /** Absolute, in a directory that exists. */
  target: string
  executable: boolean
  /** What cargo is told when the file is there. */
  line: Uint8Array
  /** From its line on dependents read it, and it must never change. */
  isMetadata: boolean
}

/** How far a delivery has come. `identities`: of the files placed since the last such frame, `dev:ino:size:mtime in ns`. */
export interface DeliveredFrame {
  type: 'delivered'
  state: (typeof deliveryStates)[number]
  identities: string[]
  /** The system's number of what went wrong; 0 if nothing did. */
  errno: number
}

/** Every frame of the local protocol; protocols/local.md says who sends which when. Paths and JSON are UTF-8. */
export type LocalFrame =
  | { type: 'hello'; version: number; client: (typeof clients)[number] }
  | CompileFrame
  | RanFrame
  | LinkedFrame
  | { type: 'token'; state: keyof typeof tokenStates }
  | { type: 'request' | 'response' | 'event'; json: string }
  | { type: 'welcome'; version: number }
  | { type: 'release'; repay: boolean }
  | { type: 'stdout' | 'stderr'; data: Uint8Array }
  /** `observer` '' for none; `stripIncremental`: without `-C incremental`; `linger`: the shim ends when the stream does. */
  | { type: 'run'; privateDir: string; observer: string; stripIncremental: boolean; linger: boolean }
  | LinkFrame
  | ScriptFrame
  /** A build script is to run, observed: its notes go into `dir`, which is made for it. `wrapper`: what stands before rustc in it and is the shim. */
  | { type: 'watch'; observer: string; dir: string; wrapper: string }
  /** What the script would leave is in the spare directory, and this is what it would say. */
  | { type: 'recalled'; stdout: Uint8Array; stderr: Uint8Array }
  | { type: 'exit'; code: number }
  | { type: 'beat' }
  | { type: 'refuse'; reason: string }
  | { type: 'placed'; path: string }
  | { type: 'deliver'; files: DeliveredFile[]; stderr: Uint8Array }
  | DeliveredFrame
