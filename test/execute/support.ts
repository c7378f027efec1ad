import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { systemClock } from '../../src/base/clock.ts'
import { codeOf } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import type { Blocks } from '../../src/execute/blocks.ts'
import { Executor } from '../../src/execute/executor.ts'
import type { GuestLimits } from '../../src/execute/limits.ts'
import type { EarlyMetadata, Outcome } from '../../src/execute/runner.ts'
import { type Action, encodeTree, type Inputs, type RootName, type Tree } from '../../src/plan/action.ts'
import { placeRoots, type Root } from '../../src/plan/roots.ts'
import { StatMemo } from '../../src/plan/stat-memo.ts'
import { type Toolchain, Toolchains } from '../../src/plan/toolchain.ts'
import { type BlockStore, createBlockStore } from '../../src/store/blocks.ts'
import { dagCborCodec } from '../../src/wire/cid.ts'

export interface Files {
  [path: string]: string | Uint8Array
}

export interface Unit {
  crate: string
  /** Under the root `workspace`. */
  files: Files
  deps?: Files
  build?: Files
  /** More arguments, roots by name. */
  argv?: string[]
  env?: [string, string][]
  /** Default: dep-info, metadata and link. */
  emit?: string
}

export interface Prepared {
  action: Action
  inputs: Inputs
  unit: Unit
}

const remaps: [RootName, string][] = [
  ['workspace', '.'],
  ['build', '/cargo/build-dir/build'],
]

/** A lender in a temporary directory, with the installed toolchain and real blocks. */
export class Lender {
  readonly dir = mkdtempSync(join(tmpdir(), 'shoal-execute-'))
  readonly store: BlockStore
  readonly executor: Executor
  #toolchain: Toolchain | undefined

  constructor(init: { background?: boolean; platform?: string; seatbelt?: string } = {}) {
    this.store = createBlockStore({
      dir: join(this.dir, 'store'),
      log: silentLogger,
      maxBytes: 4 * 1024 ** 3,
      minFreeBytes: 0,
    })
    const needs = { blocks: this.store, clock: systemClock, log: silentLogger, env: process.env }
    this.executor = new Executor(needs, { workDir: join(this.dir, 'work'), processors: 2, ...init })
  }

  async start(): Promise<void> {
    await this.store.start()
    await this.executor.start()
    const memo = await StatMemo.open(join(this.dir, 'toolchains.json'), () => Date.now())
    const sysroot = realpathSync(execFileSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).trim())
    this.#toolchain = await new Toolchains({ memo, clock: systemClock }).identify(sysroot)
  }

  async stop(): Promise<void> {
    await this.executor.stop()
    await this.store.stop()
    rmSync(this.dir, { recursive: true, force: true })
  }

  get toolchain(): Toolchain {
    if (this.#toolchain === undefined) throw new Error('not started')
    return this.#toolchain
  }

  get blocks(): Blocks {
    return this.store
  }

  async bytes(cid: CID): Promise<Uint8Array> {
    const bytes = await this.store.get(cid)
    if (bytes === undefined) throw new Error(`no block ${cid}`)
    return bytes
  }

  async prepare(unit: Unit): Promise<Prepared> {
    const [tree, deps, build] = [
      await this.#tree(unit.files),
      await this.#files(unit.deps ?? {}),
      unit.build && (await this.#tree(unit.build)),
    ]
    const emit = unit.emit ?? 'dep-info,metadata,link'
    const stem = `${unit.crate}-0123456789abcdef`
    const outputs: Action['outputs'] = []
    if (emit.includes('dep-info')) outputs.push([`${stem}.d`, 'dep-info'])
    if (emit.includes('metadata')) outputs.push([`lib${stem}.rmeta`, 'metadata'])
    if (emit.includes('link')) outputs.push([`lib${stem}.rlib`, 'link'])
    const extern = Object.keys(unit.deps ?? {}).flatMap((name) => {
      const [, crate] = /^lib(\w+)-/.exec(name) ?? []
      return ['--extern', `${crate}=\0deps\0/${name}`]
    })
    const argv = [
      ...['--crate-name', unit.crate, '--edition', '2021', '--error-format', 'json'],
      ...['--json', 'diagnostic-rendered-ansi,artifacts,future-incompat', '--crate-type', 'lib', '--emit', emit],
      ...['-C', 'embed-bitcode=no', '-C', 'debuginfo=2', '-C', 'metadata=0123456789abcdef'],
      ...['-C', 'extra-filename=-0123456789abcdef', '--out-dir', '\0out\0', '-L', 'dependency=\0deps\0', ...extern],
      ...(unit.argv ?? []),
      'src/lib.rs',
    ]
    const env: [string, string][] = [
      ['CARGO_PKG_NAME', unit.crate],
      ['CARGO_MANIFEST_DIR', '\0workspace\0'],
      ...(unit.env ?? []),
    ]
    if (unit.build) env.push(['OUT_DIR', '\0build\0'])
    return {
      unit,
      action: {
        v: 2,
        salt: 'test',
        toolchain: this.toolchain.digest,
        driver: null,
        target: this.toolchain.target,
        crate: unit.crate,
        argv,
        env,
        cwd: '\0workspace\0',
        remaps,
        deps: deps.map(({ path, cid }) => [path, cid]),
        build: build ?? null,
        outputs,
      },
      inputs: {
        v: 1,
        trees: [
          { root: 'workspace', path: '', tree },
          ...(build ? [{ root: 'build' as const, path: '' as const, tree: build }] : []),
        ],
        files: deps.map((file) => ({ root: 'deps' as const, ...file })),
      },
    }
  }

  /** Runs a prepared unit in the sandbox. */
  run(
    prepared: Prepared,
    options: { signal?: AbortSignal; limits?: Partial<GuestLimits>; onRmeta?: (rmeta: EarlyMetadata) => void } = {},
  ): Promise<Outcome> {
    const { action, inputs } = prepared
    return this.executor.run({
      action,
      inputs,
      toolchain: this.toolchain,
      signal: options.signal ?? new AbortController().signal,
      onRmeta: options.onRmeta ?? (() => undefined),
      ...(options.limits ? { limits: options.limits } : {}),
    })
  }

  /** Compiles the same unit with rustc outside, under other paths and the same remap targets. */
  here({ action, unit }: Prepared): {
    dir: string
    status: number | null
    stderr: string
    outputs: Map<string, Uint8Array>
  } {
    const dir = mkdtempSync(join(this.dir, 'here-'))
    const roots: Root[] = [
      { name: 'workspace', path: join(dir, 'some/where') },
      { name: 'deps', path: join(dir, 'target/deps') },
      { name: 'build', path: join(dir, 'target/build/out') },
      { name: 'out', path: join(dir, 'target/out') },
    ]
    for (const { path } of roots) mkdirSync(path, { recursive: true })
    const path = (name: RootName): string => roots.find((root) => root.name === name)?.path ?? ''
    writeAll(path('workspace'), unit.files)
    writeAll(path('deps'), unit.deps ?? {})
    writeAll(path('build'), unit.build ?? {})
    const place = (text: string): string => placeRoots(text, roots)
    const argv = action.argv.map(place)
    for (const [root, target] of action.remaps) argv.push('--remap-path-prefix', `${path(root)}=${target}`)
    const env = {
      PATH: process.env.PATH,
      ...Object.fromEntries(action.env.map(([name, value]) => [name, place(value)])),
    }
    const ended = spawnSync(join(this.toolchain.sysroot, 'bin/rustc'), argv, {
      cwd: path('workspace'),
      env,
      encoding: 'utf8',
    })
    const outputs = new Map<string, Uint8Array>()
    if (ended.status === 0)
      for (const [name] of action.outputs) outputs.set(name, readFileSync(join(path('out'), name)))
    return { dir, status: ended.status, stderr: ended.stderr, outputs }
  }

  /** A proc-macro library, linked here. */
  procMacro(crate: string, source: string): Files {
    const dir = mkdtempSync(join(this.dir, 'macro-'))
    writeFileSync(join(dir, 'lib.rs'), source)
    const name = `lib${crate}-feedfeedfeedfeed.so`
    const rustc = join(this.toolchain.sysroot, 'bin/rustc')
    execFileSync(
      rustc,
      [
        ...['--crate-name', crate, '--edition', '2021', '--crate-type', 'proc-macro', '--extern', 'proc_macro'],
        ...['-o', join(dir, name), join(dir, 'lib.rs')],
      ],
      { env: { PATH: process.env.PATH }, stdio: ['ignore', 'ignore', 'inherit'] },
    )
    return { [name]: readFileSync(join(dir, name)) }
  }

  async #tree(files: Files): Promise<CID> {
    const tree: Tree = { v: 1, files: await this.#files(files) }
    return await this.store.put(encodeTree(tree).bytes, dagCborCodec)
  }

  async #files(files: Files): Promise<{ path: string; cid: CID; size: number }[]> {
    const entries = Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1))
    return await Promise.all(
      entries.map(async ([path, content]) => {
        const bytes = Buffer.from(content)
        return { path, cid: await this.store.put(bytes), size: bytes.length }
      }),
    )
  }
}

function writeAll(dir: string, files: Files): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true })
    writeFileSync(join(dir, path), content)
  }
}

/** What a test needs to know when the outcome is not the expected one. */
export function okResult(outcome: Outcome) {
  if (outcome.kind === 'ok') return outcome.result
  throw new Error(`rustc failed with ${outcome.status}: ${outcome.stderr}`)
}

/** A guest that took more than it may: it was stopped, or was refused so much that it gave up, where only the latter is seen. */
export async function assertStopped(guest: Promise<Outcome>, { executor }: Lender): Promise<void> {
  const end = await guest.catch((error: unknown) => error)
  if (end instanceof Error) assert.equal(codeOf(end), 'ERR_LIMIT', end.message)
  else assert.ok(executor.tier === 'watched' && (end as Outcome).kind === 'failed', 'it was not stopped')
}
