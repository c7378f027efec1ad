import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { capture, type Ran, type TestNode, type UnitRow } from './cluster.ts'
import { packageManifest, writeFiles } from './fixture.ts'
import { writeRemapWrapper } from './plain.ts'
import { settled } from './settled.ts'

/** What one rustc wrote and said. */
export interface Compiled {
  ran: Ran
  /** Name below the out-dir → bytes. */
  outputs: Map<string, Buffer>
  /** What became of it, when it went through the node. */
  unit: UnitRow | undefined
}

/**
 * Calls of rustc as cargo makes them, without cargo: nothing but the named flag differs between two of them, while cargo
 * also hashes most flags into the names of the outputs.
 */
export class DirectCalls {
  readonly #node: TestNode
  readonly #dir: string
  readonly #rustc: string
  readonly #wrappers: { shoal: string; plain: string }
  readonly #env: NodeJS.ProcessEnv

  private constructor(
    node: TestNode,
    dir: string,
    rustc: string,
    wrappers: { shoal: string; plain: string },
    env: NodeJS.ProcessEnv,
  ) {
    this.#node = node
    this.#dir = dir
    this.#rustc = rustc
    this.#wrappers = wrappers
    this.#env = env
  }

  static async in(node: TestNode, dir: string, sources: Record<string, string>): Promise<DirectCalls> {
    await writeFiles(dir, { 'Cargo.toml': packageManifest('direct'), ...sources })
    const sysroot = (await capture('rustc', ['--print', 'sysroot'])).stdout.trim()
    const { RUSTC_WRAPPER: shoal, ...env } = await node.cargoEnv()
    if (shoal === undefined) throw new Error('shoal env names no wrapper')
    const plain = await writeRemapWrapper(dir)
    return new DirectCalls(node, dir, join(sysroot, 'bin/rustc'), { shoal, plain }, env)
  }

  get outDir(): string {
    return join(this.#dir, 'target/debug/deps')
  }

  /** Into an empty out-dir. */
  async run(
    wrapper: 'shoal' | 'plain',
    source: 'src/lib.rs' | 'src/main.rs',
    flags: readonly string[],
  ): Promise<Compiled> {
    const crate = source === 'src/lib.rs' ? 'direct' : 'direct_main'
    await rm(join(this.#dir, 'target'), { recursive: true, force: true })
    await mkdir(this.outDir, { recursive: true })
    // As cargo does: what follows is a cache and no source.
    await writeFile(join(this.#dir, 'target/CACHEDIR.TAG'), 'Signature: 8a477f597d28d172789f06886806bc55\n')
    const args = [
      ...['--crate-name', crate, '--edition=2021', source, '--error-format=json'],
      ...[
        '--json=diagnostic-rendered-ansi,artifacts,future-incompat',
        '--crate-type',
        crate === 'direct' ? 'lib' : 'bin',
      ],
      `--emit=dep-info,${crate === 'direct' ? 'metadata,' : ''}link`,
      ...['-C', 'debuginfo=2', '-C', 'metadata=0123456789abcdef', '-C', 'extra-filename=-0123456789abcdef'],
      ...['--out-dir', this.outDir, '-L', `dependency=${this.outDir}`],
      ...flags,
    ]
    const env = {
      ...this.#env,
      CARGO: 'cargo',
      CARGO_MANIFEST_DIR: this.#dir,
      CARGO_MANIFEST_PATH: join(this.#dir, 'Cargo.toml'),
      CARGO_CRATE_NAME: crate,
      CARGO_PKG_NAME: 'direct',
      CARGO_PKG_VERSION: '0.1.0',
      CARGO_PRIMARY_PACKAGE: '1',
    }
    const command = [this.#rustc, ...args]
    const options = { cwd: this.#dir, env }
    const { ran, units } =
      wrapper === 'shoal'
        ? await settled(this.#node, this.#wrappers.shoal, command, { ...options, session: 'caller' })
        : { ran: await capture(this.#wrappers.plain, command, options), units: [] }
    return { ran, outputs: await filesBelow(this.outDir), unit: units.at(-1) }
  }
}

/** Name → bytes of every regular file below a directory, however deep; nothing when there is no such directory. */
async function filesBelow(dir: string): Promise<Map<string, Buffer>> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return new Map(
    await Promise.all(paths.map(async (path) => [path.slice(dir.length + 1), await readFile(path)] as const)),
  )
}
