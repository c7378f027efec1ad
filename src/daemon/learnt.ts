import { createHash } from 'node:crypto'
import { basename, extname } from 'node:path'
import { type Datastore, Key } from 'interface-datastore'
import { z } from 'zod'
import { codeOf, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Task } from '../market/driver.ts'
import { UnitGraph } from '../market/unit-graph.ts'
import { links } from '../plan/classify.ts'
import type { Invocation } from '../plan/invocation.ts'
import type { Planned } from '../plan/plan.ts'
import { decodeCbor, encodeCbor } from '../wire/cbor.ts'

export interface LearntNeeds {
  datastore: Datastore
  log: Logger
}

type Asked = Pick<Planned, 'crate' | 'kind' | 'args'>

interface Workspace {
  key: Key
  graph: UnitGraph
  /** Whether a build of it has ended before: what waits for a unit is known. */
  isKnown: boolean
  isChanged: boolean
  /** File names of what units make, without prefix and extension → unit. */
  readonly stems: Map<string, string>
}

const prefix = '/learnt/'
const maxBytes = 4 << 20
const maxUnits = 4096
const maxNeeds = 4096
/** Builds of one daemon's life whose workspaces stay in memory. */
const maxWorkspaces = 64

const recordSchema = z
  .array(
    z.strictObject({
      name: z.string().max(512),
      needs: z.array(z.int().min(0).max(maxUnits)).max(maxNeeds),
      links: z.boolean(),
      ms: z.int().min(0).optional(),
    }),
  )
  .max(maxUnits)

/**
 * What earlier builds of a workspace took, unit by unit, so that the market can put first what most of the rest waits for. By the
 * directory in which cargo runs; lost with the index, and then learnt again.
 */
export class Learnt {
  readonly #needs: LearntNeeds
  readonly #byDir = new Map<string, Promise<Workspace>>()
  readonly #builds = new Map<string, Workspace>()

  constructor(needs: LearntNeeds) {
    this.#needs = needs
  }

  /** A unit of a build is asked for. @param dir where cargo runs */
  async asked(build: Uint8Array, dir: () => string, unit: Asked, env: Invocation['env']): Promise<void> {
    const id = Buffer.from(build).toString('hex')
    let workspace = this.#builds.get(id)
    if (workspace === undefined) {
      workspace = await this.#open(dir())
      this.#builds.set(id, workspace)
    }
    const name = nameOf(unit, env)
    const { args } = unit
    workspace.stems.set(`${args.crateName}${args.codegen.get('extra-filename') ?? ''}`, name)
    const needs = args.externs.flatMap(({ path }) => (path && workspace.stems.get(stemOf(path))) || [])
    // cargo asks for no more than what has changed: what is not asked for is not gone.
    if (needs.length === args.externs.filter(({ path }) => path !== undefined).length) {
      workspace.isChanged = workspace.graph.asked(name, needs, links(args)) || workspace.isChanged
    }
  }

  /** A compile of it took so long, on whichever machine. */
  took(build: Uint8Array, unit: Asked, env: Invocation['env'], ms: number): void {
    const workspace = this.#builds.get(Buffer.from(build).toString('hex'))
    if (workspace === undefined) return
    workspace.graph.took(nameOf(unit, env), Math.round(ms))
    workspace.isChanged = true
  }

  /**
   * The task with what is known of its unit. @param guess its rank in a workspace that was never built here; 0: nothing is known. Units of the
   * same rank keep to cargo's order, which begins with what has most dependents.
   */
  known(task: Task, build: Uint8Array, unit: Asked, env: Invocation['env'], guess = 0): Task {
    const workspace = this.#builds.get(Buffer.from(build).toString('hex'))
    if (workspace === undefined) return task
    const name = nameOf(unit, env)
    const expectedMs = workspace.graph.ms(name) ?? task.expectedMs
    const rank = workspace.isKnown ? workspace.graph.rank(name, expectedMs) : guess
    return { ...task, expectedMs, rank: task.mayGoAway && rank !== undefined ? rank : task.rank }
  }

  /** The cargo of a build has ended: what it taught is written down. */
  async ended(build: Uint8Array): Promise<void> {
    const id = Buffer.from(build).toString('hex')
    const workspace = this.#builds.get(id)
    this.#builds.delete(id)
    if (workspace === undefined || !workspace.isChanged) return
    workspace.isChanged = false
    workspace.isKnown = true
    try {
      await this.#needs.datastore.put(workspace.key, encode(workspace.graph))
    } catch (error) {
      this.#needs.log.info('build not learnt from', { message: toShoalError(error).message })
    }
  }

  #open(dir: string): Promise<Workspace> {
    const known = this.#byDir.get(dir)
    if (known !== undefined) return known
    const opening = this.#read(dir)
    this.#byDir.set(dir, opening)
    if (this.#byDir.size > maxWorkspaces) this.#byDir.delete(this.#byDir.keys().next().value ?? '')
    return opening
  }

  async #read(dir: string): Promise<Workspace> {
    const key = new Key(`${prefix}${createHash('sha256').update(dir).digest('hex')}`, false)
    const graph = new UnitGraph(maxUnits)
    try {
      const units = decodeCbor(await this.#needs.datastore.get(key), recordSchema, maxBytes)
      for (const { name, needs, links: isLinked, ms } of units) {
        graph.asked(
          name,
          needs.flatMap((at) => units[at]?.name ?? []),
          isLinked,
        )
        if (ms !== undefined) graph.took(name, ms)
      }
    } catch (error) {
      const isNew = error instanceof Error && error.name === 'NotFoundError'
      if (!isNew) this.#needs.log.info('nothing learnt of a workspace', { code: codeOf(error) })
    }
    return { key, graph, isKnown: graph.size > 0, isChanged: false, stems: new Map() }
  }
}

function encode(graph: UnitGraph): Uint8Array {
  const units = [...graph]
  const places = new Map(units.map(([name], at) => [name, at]))
  return encodeCbor(
    units.map(([name, { needs, links: isLinked, ms }]) => ({
      name,
      needs: needs.flatMap((need) => places.get(need) ?? []),
      links: isLinked,
      ...(ms === undefined ? {} : { ms: Math.round(ms) }),
    })),
  ).bytes
}

/** The same before and after an update of it or of what it needs, and for each profile another. */
function nameOf({ crate, kind, args }: Asked, env: Invocation['env']): string {
  const profile = ['opt-level', 'debuginfo', 'lto'].map((option) => args.codegen.get(option) ?? '').join('/')
  const what = args.emit.includes('link') ? kind : `${kind}-check`
  return `${env.get('CARGO_PKG_NAME') ?? ''} ${crate} ${what} ${profile} ${args.target ?? ''}`.slice(0, 512)
}

function stemOf(path: string): string {
  const name = basename(path)
  const stem = name.slice(0, name.length - extname(name).length)
  return stem.startsWith('lib') ? stem.slice(3) : stem
}
