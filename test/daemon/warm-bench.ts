import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import type { TestContext } from 'node:test'
import type { Logger } from '../../src/base/log.ts'
import type { RestNeeds } from '../../src/daemon/rest.ts'
import { type ColdPlan, Warmer } from '../../src/daemon/warm.ts'
import { sourceState } from '../../src/daemon/warm-sources.ts'
import type { Invocation } from '../../src/plan/invocation.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { TestClock } from '../watch/support.ts'

/** Stands still, but for the date: files have one, too. */
class DatedClock extends TestClock {
  date = 0

  override wall(): number {
    return this.date
  }
}

interface Line {
  message: string
  fields: Record<string, unknown>
}

/** A log that can be waited for. */
class Lines {
  readonly all: Line[] = []
  #waiters: (() => void)[] = []

  get logger(): Logger {
    const add = (message: string, fields: Record<string, unknown> = {}): void => {
      this.all.push({ message, fields })
      for (const wake of this.#waiters.splice(0)) wake()
    }
    const logger: Logger = { debug: add, info: add, warn: add, error: add, child: () => logger }
    return logger
  }

  /** The fields of the n-th line with this message. */
  async until(message: string, count = 1): Promise<Record<string, unknown>> {
    for (;;) {
      const found = this.all.filter((line) => line.message === message)[count - 1]
      if (found !== undefined) return found.fields
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
    }
  }
}

export const warmed = 'incremental directory warmed'
export const left = 'incremental directory left as it is'
export const early = 'warming of an incremental directory ended early'

/** A checkout with packages that were delivered without their incremental directories, and a warmer on a still clock. */
export class WarmBench {
  readonly dir: string
  readonly clock = new DatedClock()
  readonly lines = new Lines()
  readonly machine: RestNeeds['machine'] & { busy: number; battery: boolean; free: number }
  readonly edited = new Set<string>()
  quiet = true
  #warmer: Warmer | undefined

  private constructor(dir: string) {
    this.dir = dir
    this.machine = {
      cores: 4,
      busy: 0,
      battery: false,
      free: 2 ** 33,
      busyCores() {
        return this.busy
      },
      onBattery() {
        return this.battery
      },
      freeMemoryBytes() {
        return this.free
      },
    }
  }

  static async create(t: TestContext, enabled = true): Promise<WarmBench> {
    const bench = new WarmBench(await mkdtemp(join(tmpdir(), 'shoal-warm-')))
    for (const path of [bench.deps, bench.cache]) await mkdir(path, { recursive: true })
    bench.#warmer = await Warmer.open(
      {
        clock: bench.clock,
        log: bench.lines.logger,
        machine: bench.machine,
        env: process.env,
        isQuiet: () => bench.quiet,
        isUnchanged: async ({ dependencies }) => {
          const contents = await Promise.all(dependencies.map(({ path }) => readFile(path)))
          return contents.every((bytes, at) => dependencies[at]?.cid.equals(cidOf(bytes)))
        },
        isEdited: async (dir) => bench.edited.has(dir),
      },
      { scratchDir: bench.scratch, enabled },
    )
    t.after(async () => {
      await bench.#warmer?.stop()
      await rm(bench.dir, { recursive: true, force: true, maxRetries: 5 })
    })
    return bench
  }

  get warmer(): Warmer {
    if (this.#warmer === undefined) throw new Error('not open')
    return this.#warmer
  }

  get deps(): string {
    return join(this.dir, 'target/debug/deps')
  }

  get incremental(): string {
    return join(this.dir, 'target/debug/incremental')
  }

  get cache(): string {
    return join(this.dir, 'cache')
  }

  get scratch(): string {
    return join(this.cache, 'warm')
  }

  packageDir(crate: string): string {
    return join(this.dir, crate)
  }

  /** A package; `modules` of them end up in object files of their own. */
  async write(crate: string, text: string, modules: readonly string[] = []): Promise<void> {
    const dir = this.packageDir(crate)
    await mkdir(join(dir, 'src'), { recursive: true })
    await writeFile(join(dir, 'Cargo.toml'), `[package]\nname = "${crate}"\n`)
    for (const [at, module] of modules.entries()) await writeFile(join(dir, `src/m${at}.rs`), module)
    const heads = modules.map((_, at) => `pub mod m${at};\n`).join('')
    await writeFile(join(dir, 'src/lib.rs'), heads + text)
  }

  argv(crate: string, uses: readonly string[] = []): string[] {
    const common = ['--crate-name', crate, '--edition=2021', 'src/lib.rs', '--crate-type', 'lib']
    const emit = ['--emit=dep-info,metadata,link', '-C', 'debuginfo=2', '-C', `metadata=${crate}1`]
    const externs = uses.flatMap((name) => ['--extern', `${name}=${join(this.deps, `lib${name}-1.rmeta`)}`])
    const places = ['-C', 'extra-filename=-1', '--out-dir', this.deps, '-L', `dependency=${this.deps}`]
    return [...common, ...emit, ...places, ...externs]
  }

  get withIncremental(): string[] {
    return ['-C', `incremental=${this.incremental}`]
  }

  remap(crate: string): string {
    return `--remap-path-prefix=${this.packageDir(crate)}=.`
  }

  /** rustc, as the shim would run it. */
  rustc(crate: string, args: readonly string[]): void {
    const { status, stderr } = spawnSync('rustc', [...args, this.remap(crate)], { cwd: this.packageDir(crate) })
    if (status !== 0) throw new Error(stderr.toString())
  }

  /** Tells the warmer of a package that lies compiled in `deps`. */
  async add(crate: string, { uses = [] as string[], rustc = 'rustc', dependencies = true } = {}): Promise<void> {
    const dir = this.packageDir(crate)
    const args = this.argv(crate, uses)
    const argv = [...args, ...this.withIncremental]
    const files = uses.map((name) => join(this.deps, `lib${name}-1.rmeta`))
    const contents = await Promise.all(files.map((path) => readFile(path)))
    const found = files.map((path, at) => {
      const bytes = contents[at] ?? Buffer.alloc(0)
      return { name: relative(this.deps, path), path, cid: cidOf(bytes), size: bytes.length }
    })
    const planned: ColdPlan = {
      args: parseRustcArgs(argv),
      build: undefined,
      crate,
      dependencies: found,
      incremental: this.incremental,
      reaches: dependencies ? found : undefined,
      roots: [{ name: 'out', path: this.deps }],
      source: { root: 'workspace', path: crate, dir },
    }
    const env = new Map(
      Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
    )
    env.set('CARGO_MAKEFLAGS', '-j --jobserver-fds=3,4 --jobserver-auth=3,4')
    const invocation: Invocation = {
      driver: undefined,
      rustc,
      argv,
      cwd: dir,
      env,
      remaps: [{ from: dir, to: '.' }],
      cargoPid: 1,
    }
    this.clock.date = Math.max(this.clock.date, (await sourceState(dir)).changedAt)
    this.warmer.add(planned, invocation)
  }

  /** The same for a package that is never really compiled: `script` is run in rustc's place, its arguments behind it. */
  async addStub(crate: string, script: string): Promise<void> {
    await this.write(crate, '')
    await writeFile(join(this.deps, `${crate}-1.d`), '')
    const rustc = join(this.dir, `rustc-${crate}`)
    await writeFile(rustc, `#!/bin/sh\n${script}\n`)
    await chmod(rustc, 0o755)
    await this.add(crate, { rustc })
  }

  /** Until the machine has been at rest for long enough, with a second to spare. */
  rest(): void {
    this.clock.advance(12_000)
  }

  /** A source that is newer than whatever was delivered so far. */
  async edit(path: string, text: string): Promise<void> {
    do await writeFile(path, text)
    while (statSync(path).ctimeMs <= this.clock.date)
  }

  /** Path → what lies there, for everything in the target directory but the incremental directories. */
  target(): Map<string, string> {
    const found = new Map<string, string>()
    const top = join(this.dir, 'target')
    for (const entry of readdirSync(top, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      if (!entry.isFile() || path.startsWith(this.incremental)) continue
      const { ino, mtimeMs, ctimeMs } = statSync(path)
      found.set(relative(top, path), `${ino} ${mtimeMs} ${ctimeMs} ${readFileSync(path).toString('base64')}`)
    }
    return found
  }

  /** Inodes of the object files in the newest session of a crate. */
  objects(crate: string): Set<number> {
    const sessions = readdirSync(this.incremental, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.name.endsWith('.o') && entry.parentPath.includes(`/${crate}-`))
      .map((entry) => join(entry.parentPath, entry.name))
    const newest = sessions.map((path) => dirname(path)).sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0]
    return new Set(sessions.filter((path) => dirname(path) === newest).map((path) => statSync(path).ino))
  }
}
