import type { Readable, Writable } from 'node:stream'
import { printable } from '../base/errors.ts'
import type { Environment, ShoalPaths } from '../base/paths.ts'

/** What a command has of the world; handed in, so that a test can be the world. */
export interface Io {
  /** Results, and nothing but results. */
  stdout: Writable
  /** Progress, notes and errors. */
  stderr: Writable
  stdin: Readable
  env: Environment
  paths: ShoalPaths
  /** The program of the long-lived node. */
  daemonProgram: string
  /** Colour and live views only when true. */
  interactive: boolean
  /** Ends when the person presses Ctrl-C or the process is asked to stop. */
  signal: AbortSignal
}

/** A line for people. It may hold names that other machines chose, so nothing in it can steer the terminal. */
export function print(io: Io, line: string): void {
  io.stdout.write(`${printable(line)}\n`)
}

export function note(io: Io, text: string): void {
  io.stderr.write(`${text}\n`)
}

/** The one shape of all `--json` output: an object with its schema number first. */
export function printJson(io: Io, value: object): void {
  io.stdout.write(`${JSON.stringify({ schema: 1, ...value }, null, 2)}\n`)
}
