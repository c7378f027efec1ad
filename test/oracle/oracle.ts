import { appendFile, mkdir, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Cluster, capture, type TestNode, type UnitRow } from '../support/cluster.ts'
import { writeRemapWrapper } from '../support/plain.ts'
import { settled } from '../support/settled.ts'
import { differences, Twins } from '../support/twins.ts'
import { type Behaviour, behaviourOf, differingLines } from './compare.ts'

/** A workspace that is built. */
export interface Subject {
  name: string
  /** Writes it into a directory, with all that cargo needs to build it offline. */
  write(dir: string): Promise<void>
  /** A file below it, and what an edit adds to its end. */
  edit: { file: string; text: string }
  /** Commands that fail without a node too; all others must succeed, or nothing would be compared. */
  fails?: readonly CommandName[]
}

export const commandLines = {
  build: ['build'],
  check: ['check', '--all-targets'],
  clippy: ['clippy', '--all-targets'],
  test: ['test', '--no-fail-fast'],
  release: ['build', '--release'],
} as const
export type CommandName = keyof typeof commandLines
export type Stage = 'cold' | 'warm' | 'moved' | 'edited'

export interface OracleOptions {
  commands: readonly CommandName[]
  stages: readonly Stage[]
  /** `default`: as cargo does for whoever sets nothing. */
  incremental: '0' | 'default'
  /** Builds twice without the node first; what differs between these two is not compared. */
  twice: boolean
  /** Packages of the subject, each with all that it needs; all of them by default. */
  members?: readonly string[]
  /** Makes a cargo home that is used after the move, once the subject has all it needs; the usual one by default. */
  otherCargoHome?: (dir: string) => Promise<string>
}

/** One command at one stage, or the bytes of all of them at that stage. */
export interface Finding {
  subject: string
  stage: Stage
  command: CommandName | 'bytes'
  /** Empty when nothing differs. */
  differences: string[]
  /** Of how many units the node was asked, and how many it recalled. */
  units: number
  recalled: number
}

interface Round {
  behaviours: Map<CommandName, Behaviour>
  units: Map<CommandName, UnitRow[]>
  files: Map<string, string>
}

/** Builds one subject with a node and without, in the same place, and tells what differs. */
export class Oracle {
  readonly #node: TestNode
  readonly #cluster: Cluster
  readonly #subject: Subject
  readonly #options: OracleOptions
  readonly #findings: Finding[] = []
  #dir: string
  #twins: Twins
  #cargoHome: string | undefined
  readonly #wrappers: { plain: string }
  /** Names of files and lines that differ between two runs without the node. */
  readonly #unstable = { files: new Set<string>(), lines: new Set<string>() }

  private constructor(cluster: Cluster, subject: Subject, options: OracleOptions, plain: string) {
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('an oracle needs a node')
    this.#cluster = cluster
    this.#node = node
    this.#subject = subject
    this.#options = options
    this.#wrappers = { plain }
    this.#dir = join(cluster.dir, subject.name)
    this.#twins = this.#twinsOf(this.#dir)
  }

  static async run(cluster: Cluster, subject: Subject, options: OracleOptions): Promise<Finding[]> {
    const stripIncremental = options.incremental === 'default'
    const plain = await writeRemapWrapper(cluster.dir, { stripIncremental })
    const oracle = new Oracle(cluster, subject, options, plain)
    await subject.write(oracle.#dir)
    await oracle.#stages()
    return oracle.#findings
  }

  async #stages(): Promise<void> {
    const { stages, twice } = this.#options
    let plain = await this.#round('plain')
    if (twice) {
      await this.#twins.clear('plain')
      this.#learnChance(plain, await this.#round('plain'))
    }
    if (stages.includes('cold')) this.#compare('cold', plain, await this.#round('shoal'))
    if (stages.includes('warm')) {
      await this.#twins.clear('shoal')
      this.#compare('warm', plain, await this.#round('shoal'))
    }
    if (stages.includes('moved')) {
      await this.#move()
      plain = await this.#round('plain')
      this.#compare('moved', plain, await this.#round('shoal'))
    }
    if (stages.includes('edited')) {
      const { file, text } = this.#subject.edit
      await appendFile(join(this.#dir, file), text)
      plain = await this.#round('plain')
      this.#compare('edited', plain, await this.#round('shoal'))
    }
    for (const side of ['plain', 'shoal']) await this.#twins.clear(side)
  }

  /** Every command, in one target directory. */
  async #round(side: 'plain' | 'shoal'): Promise<Round> {
    const env: NodeJS.ProcessEnv = { ...(await this.#node.cargoEnv()) }
    if (this.#options.incremental === 'default') delete env.CARGO_INCREMENTAL
    if (this.#cargoHome !== undefined) env.CARGO_HOME = this.#cargoHome
    if (side === 'plain') env.RUSTC_WRAPPER = this.#wrappers.plain
    const round: Round = { behaviours: new Map(), units: new Map(), files: new Map() }
    await this.#twins.with(side, async () => {
      for (const name of this.#options.commands) {
        const members = this.#options.members ?? []
        const args = [...commandLines[name], '--offline', ...members.flatMap((member) => ['-p', member])]
        const options = { cwd: this.#dir, env }
        const { ran, units } =
          side === 'plain'
            ? { ran: await capture('cargo', args, options), units: [] }
            : await settled(this.#node, 'cargo', args, options)
        round.behaviours.set(name, behaviourOf(ran))
        round.units.set(name, units)
      }
    })
    round.files = await this.#twins.files(side)
    return round
  }

  #compare(stage: Stage, plain: Round, shoal: Round): void {
    const subject = this.#subject.name
    for (const command of this.#options.commands) {
      const [expected, actual] = [plain.behaviours.get(command), shoal.behaviours.get(command)]
      if (expected === undefined || actual === undefined) throw new Error(`${command} did not run`)
      const differing = differingLines(actual.lines, expected.lines).filter(
        (line) => !this.#unstable.lines.has(line.slice(2)),
      )
      if (actual.code !== expected.code) differing.unshift(`exit code ${actual.code}, expected ${expected.code}`)
      const fails = this.#subject.fails?.includes(command) ?? false
      if (fails !== (expected.code !== 0)) differing.unshift(`cargo by itself ends with ${expected.code}`)
      const units = shoal.units.get(command) ?? []
      const recalled = units.filter((unit) => unit.outcome.startsWith('recalled')).length
      this.#findings.push({ subject, stage, command, differences: differing, units: units.length, recalled })
    }
    // Whether an edited member is compiled incrementally is for the node to say, and rustc then makes other bytes.
    const namesOnly = stage === 'edited' && this.#options.incremental === 'default'
    const differing = differences(shoal.files, plain.files).filter(
      (name) => !this.#unstable.files.has(name) && (!namesOnly || name.endsWith(')')),
    )
    this.#findings.push({ subject, stage, command: 'bytes', differences: differing, units: 0, recalled: 0 })
  }

  #learnChance(one: Round, other: Round): void {
    for (const name of differences(one.files, other.files)) this.#unstable.files.add(name)
    for (const [command, { lines }] of one.behaviours) {
      const again = other.behaviours.get(command)?.lines ?? []
      for (const line of differingLines(lines, again)) this.#unstable.lines.add(line.slice(2))
    }
  }

  async #move(): Promise<void> {
    for (const side of ['plain', 'shoal']) await this.#twins.clear(side)
    const to = join(this.#cluster.dir, 'another user', 'projects', `${this.#subject.name}-moved`)
    await mkdir(dirname(to), { recursive: true })
    await rename(this.#dir, to)
    this.#dir = to
    this.#twins = this.#twinsOf(to)
    this.#cargoHome = await this.#options.otherCargoHome?.(this.#cluster.dir)
  }

  #twinsOf(dir: string): Twins {
    return new Twins(dir, join(this.#cluster.dir, 'targets', this.#subject.name))
  }
}
