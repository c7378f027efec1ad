import { createHash } from 'node:crypto'
import { appendFile, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { type Cluster, capture, type Ran, type TestNode, type UnitRow } from '../support/cluster.ts'
import { writeRemapWrapper } from '../support/plain.ts'
import { settled } from '../support/settled.ts'
import { differences } from '../support/twins.ts'
import { behaviourOf, differingLines } from './compare.ts'
import { copyPackages } from './subjects.ts'

/** A member of an example that gets a function which panics, and a program that calls it. */
export interface HomesSubject {
  example: 'offline' | 'workspace'
  /** Its directory below `crates`, and its package. */
  member: string
  package: string
  /** What else cargo is told to build: options of `cargo build`. */
  options: readonly string[]
}

/** What two users found who built the same thing, each at home. */
export interface HomesFinding {
  /** How many artifacts were compared. */
  artifacts: number
  /** Where the member panicked, in the words of the program; without any wrapper. */
  panicked: string
  /** Of what differs: what was compared, and what of it. Empty when all is the same. */
  differences: [what: string, ...which: string[]][]
  /** What became of the second user's units. */
  units: UnitRow[]
}

const lost = '/// Panics when there is nothing.\npub fn first(values: &[u8]) -> u8 {\n    values[0]\n}\n'

/** One user's machine, as far as paths tell users apart. */
class Home {
  readonly dir: string
  readonly workspace: string
  readonly target: string
  readonly #env: NodeJS.ProcessEnv
  readonly #subject: HomesSubject

  private constructor(dir: string, places: { workspace: string; target: string }, subject: HomesSubject) {
    this.dir = dir
    this.workspace = join(dir, places.workspace)
    this.target = join(dir, places.target)
    const rustup = process.env.RUSTUP_HOME ?? join(homedir(), '.rustup')
    const user = dir.slice(dir.lastIndexOf('/') + 1)
    const isUsual = this.target === join(this.workspace, 'target')
    this.#env = {
      ...{ HOME: dir, USER: user, LOGNAME: user, RUSTUP_HOME: rustup, RUST_BACKTRACE: '0' },
      ...(isUsual ? {} : { CARGO_TARGET_DIR: this.target }),
    }
    this.#subject = subject
  }

  /** Everything is a copy of its own: cargo unpacks the packages into the new home by itself. */
  static async make(
    dir: string,
    places: { workspace: string; target: string },
    subject: HomesSubject,
    cluster: Cluster,
  ): Promise<Home> {
    const home = new Home(dir, places, subject)
    if (subject.example !== 'offline') await copyPackages(join(dir, '.cargo'))
    await cp(await cluster.checkout(subject.example, 'pristine'), home.workspace, { recursive: true })
    const member = join(home.workspace, 'crates', subject.member)
    await appendFile(join(member, 'src/lib.rs'), '\n/// May panic.\npub mod lost;\n')
    await writeFile(join(member, 'src/lost.rs'), lost)
    await mkdir(join(member, 'examples'), { recursive: true })
    const crate = subject.package.replaceAll('-', '_')
    await writeFile(join(member, 'examples/lost.rs'), `fn main() {\n    ${crate}::lost::first(&[]);\n}\n`)
    return home
  }

  /** From nothing. */
  async build(env: NodeJS.ProcessEnv, run: Runner): Promise<Map<string, string>> {
    await rm(this.target, { recursive: true, force: true })
    const all = { ...env, ...this.#env }
    delete all.CARGO_HOME
    const args = ['build', '--offline', '--example', 'lost', ...this.#subject.options]
    const ran = await run('cargo', args, { cwd: this.workspace, env: all })
    if (ran.code !== 0) throw new Error(`${this.dir}: ${ran.stderr}`)
    return await artifactsBelow(this.target)
  }

  async panic(): Promise<string[]> {
    const ran = await capture(join(this.target, 'debug/examples/lost'), [], { env: { ...process.env, ...this.#env } })
    return behaviourOf(ran).lines
  }
}

type Runner = (program: string, args: string[], options: { cwd: string; env: NodeJS.ProcessEnv }) => Promise<Ran>

/**
 * Builds a workspace in the homes of two users who have nothing in common but the toolchain: by plain cargo with Shoal's
 * path prefixes, by plain cargo without anything, and with Shoal, where the second user's node learns from the first's.
 */
export async function compareHomes(cluster: Cluster, subject: HomesSubject): Promise<HomesFinding> {
  const [node, second = node] = cluster.nodes
  if (node === undefined || second === undefined) throw new Error('two homes need a node')
  const homes = join(cluster.dir, 'homes')
  const ann = await Home.make(join(homes, 'ann'), { workspace: 'ws', target: 'ws/target' }, subject, cluster)
  const ben = await Home.make(
    join(homes, 'users', 'benjamin m'),
    { workspace: 'src/überall/checkout', target: 'build output' },
    subject,
    cluster,
  )
  const wrapper = await writeRemapWrapper(cluster.dir)
  const plain = { ...process.env, CARGO_INCREMENTAL: '0', CARGO_TERM_COLOR: 'never' }
  const remapped = { ...plain, RUSTC_WRAPPER: wrapper }
  const found: HomesFinding['differences'] = []
  const compare = (what: string, which: readonly string[]): void => {
    if (which.length > 0) found.push([what, ...which])
  }

  const expected = await ann.build(remapped, capture)
  const remappedPanic = await ann.panic()
  compare('plain cargo in two homes', differences(await ben.build(remapped, capture), expected))
  await ann.build(plain, (program, [build = '', ...args], options) =>
    capture(program, [build, '-p', subject.package, ...args.slice(0, 3)], options),
  )
  const panic = await ann.panic()
  compare('where it panics, remapped', differingLines(remappedPanic, panic))

  compare('the first home', differences((await built(node, ann)).files, expected))
  compare('where it panics in the first home', differingLines(await ann.panic(), panic))
  const { files, units } = await built(second, ben)
  compare('the second home', differences(files, expected))
  compare('where it panics in the second home', differingLines(await ben.panic(), panic))
  return {
    artifacts: expected.size,
    panicked: panic.find((line) => line.includes('panicked at')) ?? '',
    differences: found,
    units,
  }
}

async function built(node: TestNode, home: Home): Promise<{ files: Map<string, string>; units: UnitRow[] }> {
  let units: UnitRow[] = []
  const files = await home.build(await node.cargoEnv(), async (program, args, options) => {
    const settledRun = await settled(node, program, args, options)
    units = settledRun.units
    return settledRun.ran
  })
  return { files, units }
}

/** Name → digest of what rustc and the linker made: libraries, metadata, macros, programs. Dep-info is a list of paths. */
async function artifactsBelow(target: string): Promise<Map<string, string>> {
  const entries = await readdir(target, { recursive: true, withFileTypes: true })
  const found = new Map<string, string>()
  for (const entry of entries.filter((candidate) => candidate.isFile())) {
    const path = join(entry.parentPath, entry.name)
    const inside = path.slice(target.length + 1)
    const isMade = /^debug\/(deps|examples)\/|^debug\/[^/]+$|^debug\/build\/[^/]+\/build[-_]script[^/]*$/.test(inside)
    if (!isMade || /\.d$|\.cargo-lock$/.test(inside)) continue
    found.set(
      inside,
      createHash('sha256')
        .update(await readFile(path))
        .digest('hex'),
    )
  }
  return found
}
