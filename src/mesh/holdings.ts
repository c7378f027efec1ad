import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Clock } from '../base/clock.ts'
import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { HoldingSchema, HoldingsAnswer, HoldingsQuery } from '../wire/generated/holdings_pb.ts'
import type { ControlMessage } from './control.ts'

/** What a member holds under an action key: traces as canonical dag-cbor. */
export interface Holding {
  /** 32 bytes. */
  key: Uint8Array
  /** At most 8. */
  traces: Uint8Array[]
}

/** A holding and who has it. It is a claim: nothing in it has been checked. */
export interface RemoteHolding extends Holding {
  peerId: string
}

/** Looks up action keys for another member; keys that are not held are left out. */
export type HoldingsLookup = (keys: Uint8Array[], peerId: string) => Promise<Holding[]>

export interface AskOptions {
  /** How long to wait for the last answer. Default: 20. */
  budgetMs?: number
  /** Stop waiting once so many holdings have come, for each 64 keys. Default: wait for everybody. */
  enough?: number
  signal?: AbortSignal
}

export interface HoldingsNeeds {
  clock: Clock
  log: Logger
  lookup: HoldingsLookup
  /** Members that can be asked now. */
  peers(): string[]
  send(peerId: string, body: ControlMessage): boolean
}

interface Question {
  keys: Set<string>
  unanswered: Set<string>
  found: RemoteHolding[]
  enough: number
  done(): void
}

const keyBytes = 32
const maxKeys = 64
const maxTraces = 8
const maxAnswerBytes = 1024 * 1024
const maxConcurrentLookups = 4

/** Asks connected members who has already compiled something, and answers the same question. */
export class Holdings {
  readonly #needs: HoldingsNeeds
  readonly #questions = new Map<bigint, Question>()
  /** Lookups under way, by the peer that asked. */
  readonly #lookups = new Map<string, number>()
  #id = 0n
  /** Queries and answers that broke a rule of the protocol, or came when nobody waited. */
  dropped = 0

  constructor(needs: HoldingsNeeds) {
    this.#needs = needs
  }

  /** Asks all connected members at once; returns when all have answered or the budget is used up. */
  async ask(keys: readonly Uint8Array[], options: AskOptions = {}): Promise<RemoteHolding[]> {
    const { signal } = options
    signal?.throwIfAborted()
    const batches: Uint8Array[][] = []
    for (let at = 0; at < keys.length; at += maxKeys) batches.push(keys.slice(at, at + maxKeys))
    const answers = await Promise.all(batches.map((batch) => this.#askBatch(batch, options)))
    return answers.flat()
  }

  /** A peer asks. Never throws: what cannot be answered is not answered. */
  onQuery(peerId: string, query: HoldingsQuery): void {
    const underWay = this.#lookups.get(peerId) ?? 0
    const malformed = query.keys.length > maxKeys || query.keys.some((key) => key.length !== keyBytes)
    if (malformed || underWay >= maxConcurrentLookups) {
      this.dropped += 1
      return
    }
    this.#lookups.set(peerId, underWay + 1)
    this.#answer(peerId, query)
      .catch((error: unknown) => {
        const { code, message } = toShoalError(error)
        this.#needs.log.warn('holdings not answered', { peer: peerId, code, error: message })
      })
      .finally(() => {
        const left = (this.#lookups.get(peerId) ?? 1) - 1
        if (left > 0) this.#lookups.set(peerId, left)
        else this.#lookups.delete(peerId)
      })
  }

  /** A peer answers. Keys that were not asked for are dropped. */
  onAnswer(peerId: string, answer: HoldingsAnswer): void {
    const question = this.#questions.get(answer.id)
    if (!question?.unanswered.delete(peerId)) {
      this.dropped += 1
      return
    }
    for (const { key, traces } of answer.holdings.slice(0, maxKeys)) {
      if (!question.keys.has(hex(key)) || traces.length > maxTraces) this.dropped += 1
      else question.found.push({ peerId, key, traces })
    }
    if (question.unanswered.size === 0 || question.found.length >= question.enough) question.done()
  }

  /** A peer is gone: nobody waits for its answer. */
  onDown(peerId: string): void {
    for (const question of this.#questions.values()) {
      if (question.unanswered.delete(peerId) && question.unanswered.size === 0) question.done()
    }
  }

  async #askBatch(keys: Uint8Array[], options: AskOptions): Promise<RemoteHolding[]> {
    const { budgetMs = 20, enough = Number.POSITIVE_INFINITY, signal } = options
    this.#id += 1n
    const id = this.#id
    const { promise, resolve } = Promise.withResolvers<void>()
    const question: Question = { keys: new Set(keys.map(hex)), unanswered: new Set(), found: [], enough, done: resolve }
    this.#questions.set(id, question)
    for (const peerId of this.#needs.peers()) {
      if (this.#needs.send(peerId, { case: 'holdingsQuery', value: { id, keys } })) question.unanswered.add(peerId)
    }
    if (question.unanswered.size === 0) resolve()
    const cancelBudget = this.#needs.clock.after(budgetMs, resolve)
    signal?.addEventListener('abort', () => resolve(), { once: true })
    try {
      await promise
      signal?.throwIfAborted()
      return question.found
    } finally {
      cancelBudget()
      this.#questions.delete(id)
    }
  }

  async #answer(peerId: string, query: HoldingsQuery): Promise<void> {
    const holdings = fit(await this.#needs.lookup(query.keys, peerId))
    this.#needs.send(peerId, { case: 'holdingsAnswer', value: { id: query.id, holdings } })
  }
}

// When not all fits into one answer, every key gets its first trace before any gets its second.
function fit(holdings: readonly Holding[]): MessageInitShape<typeof HoldingSchema>[] {
  const answer = holdings.slice(0, maxKeys).map(({ key }) => ({ key, traces: [] as Uint8Array[] }))
  let room = maxAnswerBytes
  for (let rank = 0; rank < maxTraces; rank += 1) {
    for (const [index, { traces }] of holdings.slice(0, maxKeys).entries()) {
      const trace = traces[rank]
      if (trace === undefined || trace.length > room) continue
      room -= trace.length
      answer[index]?.traces.push(trace)
    }
  }
  return answer.filter(({ traces }) => traces.length > 0)
}

function hex(key: Uint8Array): string {
  return Buffer.from(key).toString('hex')
}
