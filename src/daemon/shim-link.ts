import { ShoalError } from '../base/errors.ts'
import type { Invocation } from '../plan/invocation.ts'
import type { DeliveredFile, LinkFrame, RanFrame } from '../wire/local-frames.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** How a rustc, or a linker, that the shim ran as its own child ended. */
export interface Ran {
  /** Exit code; negative: killed by that signal. */
  code: number
  wallMs: number
  /** Of a processor, by what the shim has started so far; undefined: not known. */
  cpuMs: number | undefined
  /** True when standard output or error was too long to be copied whole. */
  truncated: boolean
  stdout: Uint8Array
  stderr: Uint8Array
}

/** How the shim is to run rustc. */
export interface RunOrder {
  /** rustc's out-dir, new or empty, absolute; '' runs rustc straight into the out-dir that cargo named. */
  privateDir: string
  /** The library, absolute, that notes in the private directory what the compile reads; '' for none. */
  observer: string
  /** Whether `-C incremental` is left out: without it equal inputs give equal outputs. */
  stripIncremental: boolean
  /** Whether the shim, with rustc at its end, waits for `finish`: one second at most. */
  linger: boolean
}

/** What the shim is to have linked, in a directory that holds what goes into it. */
export type LinkOrder = Omit<LinkFrame, 'type'>

/** One waiting shim, seen from the story in `compile.ts`. All calls are harmless once the shim is gone. */
export interface ShimLink {
  invocation: Invocation
  /** Aborted when the shim is gone: cargo was interrupted, or the shim gave up waiting. */
  signal: AbortSignal
  /** The unit waits or is away: cargo may start another one meanwhile. Only the first call counts. */
  yieldToken(): void
  /** Relays bytes to cargo as they are. */
  stderr(bytes: Uint8Array): void
  /** From now on this metadata lies in its final place and is announced: it must never change again. */
  placed(path: string): void
  /**
   * Everything that there is of the unit, put in place by the shim, which then ends with 0.
   * @param onPlaced told of each file in order, with its identity as `identityOf` gives it: of metadata before anybody reads it
   * @throws ShoalError ERR_DISK_FULL or ERR_STORE when a file could not be put in place; the shim waits for another answer
   */
  deliver(
    files: readonly DeliveredFile[],
    stderr: Uint8Array,
    onPlaced: (file: DeliveredFile, identity: string) => void,
  ): Promise<void>
  /**
   * rustc as the shim's child. Rejects when the shim is gone.
   * @param onStall called once when somebody stops the build (Ctrl-Z): nobody else should wait for it
   */
  run(order: RunOrder, onStall: () => void): Promise<Ran>
  /**
   * A linker as the shim's child; cargo sees nothing of it, and the shim waits for another answer. Rejects when the shim is gone.
   * @param onStall as of `run`, or when the shim says nothing of it 30 s after its time was over
   */
  link(order: LinkOrder, onStall: () => void): Promise<Ran>
  /** After `run`: whatever is to be had from the outputs is kept, and the shim need not linger. */
  finish(): void
  /** The unit is delivered: the shim ends with this code. */
  exit(code: number): void
  /** The shim runs rustc without the daemon. */
  refuse(reason: string): void
}

/**
 * Text that the shim has sent as bytes.
 * @param what in the error, such as 'a path or argument'
 * @throws ShoalError ERR_UNSUPPORTED when it is not UTF-8
 */
export function textIn(bytes: Uint8Array, what: string): string {
  try {
    return utf8.decode(bytes)
  } catch (error) {
    throw new ShoalError('ERR_UNSUPPORTED', `${what} that is not UTF-8`, { cause: error })
  }
}

/** What the shim says of an end. */
export function ranAs({ code, wallMicros, cpuMicros, truncated, stdout, stderr }: Omit<RanFrame, 'type'>): Ran {
  const ms = (micros: number): number => Math.round(micros / 1000)
  return { code, wallMs: ms(wallMicros), cpuMs: cpuMicros > 0 ? ms(cpuMicros) : undefined, truncated, stdout, stderr }
}
