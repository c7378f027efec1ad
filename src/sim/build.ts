import { type SimNode, simTask } from './node.ts'
import type { SimUnit } from './workload.ts'

/** What an action says in a simulation: whose unit it is, and how long it takes. */
interface SimAction {
  builder: string
  unit: number
  ms: number
}

export function readSimAction(bytes: Uint8Array): SimAction {
  return JSON.parse(Buffer.from(bytes).toString()) as SimAction
}

/** What compiling the action gives. */
export function simResult({ builder, unit }: SimAction): Uint8Array {
  return Uint8Array.from(Buffer.from(`${builder} ${unit}`))
}

/** One cargo: submits each unit as soon as it is ready, and notes how it ended. */
export class SimBuild {
  readonly node: SimNode
  readonly graph: readonly SimUnit[]
  /** When each unit was started somewhere, relative to when it was ready. */
  readonly delaysMs: number[] = []
  readonly violations: string[] = []
  readonly #id: Uint8Array
  readonly #number: number
  readonly #missing: number[]
  readonly #readyAt = new Map<number, number>()
  readonly #settled = new Set<number>()
  #away = 0
  #finishedAt: number | undefined

  constructor(node: SimNode, graph: readonly SimUnit[], number: number) {
    this.node = node
    this.graph = graph
    this.#number = number
    this.#id = new Uint8Array(16).fill(number + 1)
    this.#missing = graph.map((unit) => unit.dependencies.length)
  }

  get finishedAt(): number | undefined {
    return this.#finishedAt
  }
  get settled(): number {
    return this.#settled.size
  }
  get away(): number {
    return this.#away
  }

  start(): void {
    this.node.participant.tell({ kind: 'building', build: this.#id, active: true })
    for (const unit of this.graph) if (unit.dependencies.length === 0) this.#submit(unit)
  }

  startedAway(id: string): void {
    this.#noteStart(this.#unit(id))
  }

  settledHere(id: string): void {
    const unit = this.#unit(id)
    this.#noteStart(unit)
    this.#settle(unit)
    this.node.clock.after(unit.ms, () => {
      this.node.participant.tell({ kind: 'released', id })
      this.#finish(unit)
    })
  }

  settledAway(id: string, result: Uint8Array): void {
    const unit = this.#unit(id)
    const expected = simResult({ builder: this.node.name, unit: unit.index, ms: unit.ms })
    if (Buffer.compare(expected, result) !== 0)
      this.violations.push(`${this.node.name}: result of another unit for ${id}`)
    this.#away += 1
    this.#settle(unit)
    this.#finish(unit)
  }

  #unit(id: string): SimUnit {
    const unit = this.graph[Number.parseInt(id.slice(8), 16)]
    if (!unit) throw new RangeError(`no unit ${id}`)
    return unit
  }

  #submit(unit: SimUnit): void {
    this.#readyAt.set(unit.index, this.node.clock.now())
    const action: SimAction = { builder: this.node.name, unit: unit.index, ms: unit.ms }
    this.node.participant.tell({
      kind: 'submit',
      id: this.#number.toString(16).padStart(8, '0') + unit.index.toString(16).padStart(24, '0'),
      task: {
        ...simTask,
        build: this.#id,
        expectedMs: unit.expectedMs,
        bytes: 0,
        rank: unit.rank,
        // The last unit links: it stays here, as a binary does.
        mayGoAway: unit.dependents.length > 0,
        action: Uint8Array.from(Buffer.from(JSON.stringify(action))),
        inputs: new Uint8Array(36),
      },
    })
  }

  #noteStart(unit: SimUnit): void {
    const readyAt = this.#readyAt.get(unit.index)
    if (readyAt === undefined) return
    this.delaysMs.push(this.node.clock.now() - readyAt)
    this.#readyAt.delete(unit.index)
  }

  #settle(unit: SimUnit): void {
    if (this.#settled.has(unit.index)) this.violations.push(`${this.node.name}: unit ${unit.index} settled twice`)
    this.#settled.add(unit.index)
  }

  #finish(unit: SimUnit): void {
    for (const index of unit.dependents) {
      const left = (this.#missing[index] ?? 0) - 1
      this.#missing[index] = left
      const dependent = this.graph[index]
      if (left === 0 && dependent) this.#submit(dependent)
    }
    if (unit.dependents.length > 0) return
    this.#finishedAt = this.node.clock.now()
    this.node.participant.tell({ kind: 'building', build: this.#id, active: false })
  }
}
