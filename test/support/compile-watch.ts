import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { BenchMachine } from '../bench/machines.ts'

/** One rustc that compiles a crate on some machine. */
export interface Compile {
  /** Which of the machines. */
  at: number
  crate: string
  pid: number
  /** By `performance.now`, as far as looking every now and then tells. */
  from: number
  /** Undefined: it still runs. */
  until: number | undefined
}

const everyMs = 20

/** Sees which machine compiles what and when, from outside: by the processes that run there. */
export class CompileWatch {
  readonly all: Compile[] = []
  readonly #machines: readonly BenchMachine[]
  readonly #running = new Map<number, Compile>()
  readonly #timer: NodeJS.Timeout

  constructor(machines: readonly BenchMachine[]) {
    this.#machines = machines
    this.#timer = setInterval(() => this.#look(), everyMs)
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#look()
  }

  /** What runs on a machine now. */
  at(machine: number): Compile[] {
    return this.all.filter(({ at, until }) => at === machine && until === undefined)
  }

  /** What ran there, of that crate or of any. */
  of(crate: string): Compile[] {
    return this.all.filter((compile) => compile.crate === crate)
  }

  #look(): void {
    const now = performance.now()
    const seen = new Set<number>()
    for (const [at, { freezer }] of this.#machines.entries()) {
      for (const pid of processesIn(freezer)) {
        const crate = crateOf(pid)
        if (crate === undefined) continue
        seen.add(pid)
        if (this.#running.has(pid)) continue
        const compile: Compile = { at, crate, pid, from: now, until: undefined }
        this.#running.set(pid, compile)
        this.all.push(compile)
      }
    }
    for (const [pid, compile] of this.#running) {
      if (seen.has(pid)) continue
      compile.until = now
      this.#running.delete(pid)
    }
  }
}

/** Processes of a control group. */
export function processesIn(group: string): number[] {
  return read(join(group, 'cgroup.procs')).split('\n').filter(Boolean).map(Number)
}

/** The crate that a process compiles, if it is a rustc. */
function crateOf(pid: number): string | undefined {
  const [program = '', ...args] = read(`/proc/${pid}/cmdline`).split('\0')
  if (basename(program) !== 'rustc') return undefined
  const at = args.indexOf('--crate-name')
  const crate = args[at + 1]
  return at < 0 || crate === '___' ? undefined : crate
}

/** What is gone is empty. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
