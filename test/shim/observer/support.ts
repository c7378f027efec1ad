import { execFileSync, spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, realpath, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Observation,
  type Observations,
  observationBytes,
  observationFile,
  readObservations,
} from '../../../src/plan/observation.ts'
import { keptObserver } from '../../support/programs.ts'
import { rustc } from '../support.ts'

/** For tests of node:test: whether to skip, and why. */
export const onlyWhereItRuns = {
  skip: !(process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch)) && 'no observer for this platform',
}

export const fixture = (name: string): string => join(import.meta.dirname, name)

export interface Ended {
  code: number | null
  signal: string | null
  stdout: string
  stderr: string
}

export interface Ran extends Ended, Observations {
  /** The observer's file. */
  file: string
}

export interface RunOptions {
  cwd?: string
  /** Besides PATH. */
  env?: Record<string, string>
  /** Size of the observer's file. */
  bytes?: number
  /** Whether it is observed as a build script, with so many hashes. */
  script?: number
}

/** A directory, the observer and the probe. */
export class Watch {
  readonly dir: string
  readonly library: string
  readonly probe: string
  #count = 0

  private constructor(dir: string, library: string) {
    this.dir = dir
    this.library = library
    this.probe = join(dir, 'probe')
  }

  static async make(): Promise<Watch> {
    const dir = await realpath(await mkdtemp(join(tmpdir(), 'shoal-observer-')))
    const built = await keptObserver(rustc, join(dir, 'bin'))
    if (built === undefined) throw new Error('no observer for this platform')
    const watch = new Watch(dir, built.path)
    execFileSync(rustc, ['--edition=2021', '-O', fixture('probe.rs'), '-o', watch.probe])
    return watch
  }

  async remove(): Promise<void> {
    await rm(this.dir, { recursive: true })
  }

  /** A directory of its own. */
  async empty(): Promise<string> {
    this.#count += 1
    const at = join(this.dir, `${this.#count}`)
    await mkdir(at)
    return at
  }

  async newFile(bytes = observationBytes, script?: number): Promise<string> {
    const file = join(await this.empty(), observationFile)
    const header = Buffer.alloc(64)
    header.writeBigUInt64LE(BigInt(script ?? 0), 40)
    header.writeBigUInt64LE(script === undefined ? 0n : 1n, 48)
    await writeFile(file, header)
    await truncate(file, bytes)
    return file
  }

  /** The environment in which a program is observed. */
  env(file: string, more: Record<string, string> = {}): Record<string, string> {
    return { ...basicEnv, ...more, LD_PRELOAD: this.library, SHOAL_OBSERVE: file }
  }

  async observe(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
    const file = await this.newFile(options.bytes, options.script)
    const ended = run(program, args, { ...options, env: this.env(file, options.env) })
    return { ...ended, file, ...readObservations(file) }
  }
}

const basicEnv = { PATH: process.env.PATH ?? '' }

export function run(program: string, args: readonly string[], { cwd, env }: RunOptions = {}): Ended {
  const options = { env: { ...basicEnv, ...env }, encoding: 'utf8', maxBuffer: 1 << 26 } as const
  const { status, signal, stdout, stderr } = spawnSync(program, args, cwd === undefined ? options : { ...options, cwd })
  return { code: status, signal, stdout, stderr }
}

export const shown = ({ kind, path, errno }: Observation): string => `${kind} ${errno} ${path}`
