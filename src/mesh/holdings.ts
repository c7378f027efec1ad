import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Clock } from '../base/clock.ts'
import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type {
  HoldingSchema,
  HoldingsAnswer,
  HoldingsDone,
  HoldingsQuery,
  HoldingsWait,
  PendingWorkSchema,
} from '../wire/generated/holdings_pb.ts'
import type { Claims } from './claims.ts'
import type { ControlMessage } from './control.ts'
import { hex } from './statement.ts'
import type { Summaries } from './summaries.ts'

/** What a member holds under an action key: traces as canonical dag-cbor. */
export interface Holding {
  /** 32 bytes. */
  key: Uint8Array
  /** At most 8. */
  traces: Uint8Array[]
  /** Who says so: signed claims about them, at most 32. Default: none. */
  claims?: Uint8Array[]
}

/** A holding and who has it. Nothing in it has been checked. */
export interface RemoteHolding extends Required<Holding> {
  peerId: string
}

/** Looks up action keys for another member; keys that are not held are left out. */
export type HoldingsLookup = (keys: Uint8Array[], peerId: string) => Promise<Holding[]>

export interface AskOptions {
  /** How long to wait for the last answer. Default: 20. */
  budgetMs?: number
  /**
   * Stop waiting once so many holdings have come, for each 64 keys; with a claimed work, 20 ms later. Default: wait for
   * everybody.
   */
  enough?: number
  /** For each key the work key that this node has claimed, if any: its claim then says which peers to wait for. */
  works?: readonly (Uint8Array | undefined)[]
  signal?: AbortSignal
}

export interface HoldingsNeeds {
  clock: Clock
  log: Logger
  lookup: HoldingsLookup
  claims: Claims
  /** Members that can be asked now. */
  peers(): string[]
  send(peerId: string, body: ControlMessage): boolean
  /** What is known of what peers have; without it everybody is asked about everything. */
  summaries?: Pick<Summaries, 'mayHold' | 'mayWork' | 'isFresh'>
}

interface Question {
  keys: Set<string>
  works: Set<string>
  asked: Set<string>
  /** Of those, whom to wait for. */
  unanswered: Set<string>
  found: RemoteHolding[]
  enough: number
  /** With enough found, so long may the others still say that they are at the same works. */
  graceMs: number
  done(): void
  /** Waits no longer than so, and then not for those that are silent. */
  within(ms: number): void
}

type PendingWork = MessageInitShape<typeof PendingWorkSchema>

interface Lookups {
  underWay: number
  waiting: { query: HoldingsQuery; pending: PendingWork[] }[]
}

const keyBytes = 32
const maxKeys = 64
const maxTraces = 8
const maxClaims = 32
const maxClaimBytes = 1024
const maxAnswerBytes = 1024 * 1024
const worksGraceMs = 20
/** Who is asked only because it may have begun the same a moment ago is waited for if it answers that fast: others are told at once. */
const guessMs = 25
const maxConcurrentLookups = 4
const maxWaitingLookups = 60
/** Of so many questions it is remembered when they were asked. */
const keptTimes = 1024n
const noWork = new Uint8Array()

/** Asks connected members who has already compiled something, and answers the same question. */
export class Holdings {
  readonly #needs: HoldingsNeeds
  readonly #questions = new Map<bigint, Question>()
  /** By the peer that asked. */
  readonly #lookups = new Map<string, Lookups>()
  /** By peer, milliseconds that its latest answer took, in time or not; Infinity: it was waited for in vain, and has not answered since. */
  readonly #answerMs = new Map<string, number>()
  /** When the latest questions about one key were asked. */
  readonly #askedAt = new Map<bigint, number>()
  #id = 0n
  /** Peers that were asked, over all questions. */
  asked = 0
  /** Queries and answers that broke a rule of the protocol, or came when nobody waited. */
  dropped = 0

  constructor(needs: HoldingsNeeds) {
    this.#needs = needs
  }

  /**
   * Asks, at once, the connected members that may have something; returns when all have answered or the budget is used up.
   * Whose last answer took longer than this budget, or is still to come, is asked, and not waited for.
   */
  async ask(keys: readonly Uint8Array[], options: AskOptions = {}): Promise<RemoteHolding[]> {
    const { signal } = options
    signal?.throwIfAborted()
    const batches: Promise<RemoteHolding[]>[] = []
    for (let at = 0; at < keys.length; at += maxKeys) {
      const works = options.works?.slice(at, at + maxKeys) ?? []
      batches.push(this.#askBatch(keys.slice(at, at + maxKeys), works, options))
    }
    return (await Promise.all(batches)).flat()
  }

  /** A peer asks. Never throws: what cannot be answered is not answered. */
  onQuery(peerId: string, query: HoldingsQuery): void {
    const { keys, works } = query
    const lookups = this.#lookups.get(peerId) ?? { underWay: 0, waiting: [] }
    const wellFormed =
      keys.length <= maxKeys &&
      keys.every((key) => key.length === keyBytes) &&
      (works.length === 0 || works.length === keys.length) &&
      works.every((work) => work.length === 0 || work.length === keyBytes)
    if (!wellFormed || lookups.waiting.length >= maxWaitingLookups) {
      this.dropped += 1
      return
    }
    this.#lookups.set(peerId, lookups)
    // Now, not when the answer is sent: who goes on depends on what was known when the question came.
    lookups.waiting.push({ query, pending: this.#pendingFor(peerId, works) })
    this.#lookUpNext(peerId, lookups)
  }

  /** A peer answers. Keys that were not asked for are dropped. */
  onAnswer(peerId: string, answer: HoldingsAnswer): void {
    const askedAt = this.#askedAt.get(answer.id)
    if (askedAt === undefined) this.#answerMs.delete(peerId)
    else this.#answerMs.set(peerId, this.#needs.clock.now() - askedAt)
    const question = this.#questions.get(answer.id)
    question?.unanswered.delete(peerId)
    if (!question?.asked.delete(peerId)) {
      this.dropped += 1
      return
    }
    for (const { work, expectedMs } of answer.pending.slice(0, maxKeys)) {
      if (question.works.has(hex(work))) this.#needs.claims.onPending(peerId, work, expectedMs)
      else this.dropped += 1
    }
    for (const { key, traces, claims } of answer.holdings.slice(0, maxKeys)) {
      const isSound = question.keys.has(hex(key)) && traces.length <= maxTraces && claims.length <= maxClaims
      if (isSound) question.found.push({ peerId, key, traces, claims })
      else this.dropped += 1
    }
    const isEnough = question.found.length >= question.enough
    if (question.unanswered.size === 0 || (isEnough && question.graceMs === 0)) question.done()
    else if (isEnough) question.within(question.graceMs)
  }

  /** A peer wants to hear when works of this node end. */
  onWait(peerId: string, { works }: HoldingsWait): void {
    if (this.#isWorkList(works)) for (const work of works) this.#needs.claims.onWait(peerId, work)
  }

  /** Works of a peer have ended. */
  onDone(peerId: string, { works, held }: HoldingsDone): void {
    if (this.#isWorkList(works)) for (const work of works) this.#needs.claims.onDone(peerId, work, held)
  }

  /** A peer is gone: nobody waits for its answer, nor for what it was at. */
  onDown(peerId: string): void {
    this.#needs.claims.onDown(peerId)
    this.#answerMs.delete(peerId)
    const lookups = this.#lookups.get(peerId)
    if (lookups !== undefined) lookups.waiting = []
    for (const question of this.#questions.values()) {
      if (question.unanswered.delete(peerId) && question.unanswered.size === 0) question.done()
    }
  }

  async #askBatch(
    keys: Uint8Array[],
    claimed: readonly (Uint8Array | undefined)[],
    options: AskOptions,
  ): Promise<RemoteHolding[]> {
    const { budgetMs = 20, enough = Number.POSITIVE_INFINITY, signal } = options
    this.#id += 1n
    const id = this.#id
    const ends: (() => void)[] = []
    const works = keys.map((_key, index) => {
      const work = claimed[index] ?? noWork
      const end = this.#needs.claims.startAsk(work)
      if (end === undefined) return noWork
      ends.push(end)
      return work
    })
    const { promise, resolve } = Promise.withResolvers<void>()
    let until = Number.POSITIVE_INFINITY
    let cancelWait = (): void => undefined
    const question: Question = {
      keys: new Set(keys.map(hex)),
      works: new Set(works.filter((work) => work !== noWork).map(hex)),
      asked: new Set(),
      unanswered: new Set(),
      found: [],
      enough,
      // Who holds something may hold it for other sources, while another is at these.
      graceMs: ends.length > 0 ? worksGraceMs : 0,
      done: resolve,
      within: (ms) => {
        const end = this.#needs.clock.now() + ms
        if (end >= until) return
        until = end
        cancelWait()
        cancelWait = this.#needs.clock.after(ms, () => {
          for (const peerId of question.unanswered) this.#answerMs.set(peerId, Number.POSITIVE_INFINITY)
          resolve()
        })
      },
    }
    this.#questions.set(id, question)
    // What many keys take says nothing about one.
    if (keys.length === 1) this.#askedAt.set(id, this.#needs.clock.now())
    this.#askedAt.delete(id - keptTimes)
    question.within(budgetMs)
    signal?.addEventListener('abort', () => resolve(), { once: true })
    try {
      for (const peerId of this.#needs.peers()) {
        const { value, isGuess } = this.#queryFor(peerId, id, keys, works)
        if (value === undefined || !this.#needs.send(peerId, { case: 'holdingsQuery', value })) continue
        this.asked += 1
        question.asked.add(peerId)
        const worthMs = isGuess ? Math.min(guessMs, budgetMs) : budgetMs
        if ((this.#answerMs.get(peerId) ?? 0) < worthMs) question.unanswered.add(peerId)
      }
      if (question.unanswered.size === 0) resolve()
      await promise
      signal?.throwIfAborted()
      return question.found
    } finally {
      cancelWait()
      this.#questions.delete(id)
      for (const end of ends) end()
    }
  }

  /** What it is worth asking a peer; no value when that is nothing. `isGuess`: as far as is known it has nothing, and is at nothing. */
  #queryFor(peerId: string, id: bigint, keys: readonly Uint8Array[], works: readonly Uint8Array[]) {
    const { summaries } = this.#needs
    const mayWork = summaries?.mayWork(peerId) !== false
    const mayBegin = mayWork || summaries?.isFresh === true
    let isGuess = !mayWork
    const asked = keys.flatMap((key, index) => {
      const work = works[index] ?? noWork
      const mayHold = summaries?.mayHold(peerId, key) !== false
      if (mayHold) isGuess = false
      return mayHold || (work !== noWork && mayBegin) ? [{ key, work }] : []
    })
    if (asked.length === 0) return { value: undefined, isGuess }
    const some = asked.some(({ work }) => work !== noWork)
    const value = { id, keys: asked.map(({ key }) => key), works: some ? asked.map(({ work }) => work) : [] }
    return { value, isGuess }
  }

  #pendingFor(peerId: string, works: readonly Uint8Array[]): PendingWork[] {
    return works.flatMap((work) => {
      const expectedMs = this.#needs.claims.onAsked(peerId, work)
      return expectedMs === undefined ? [] : [{ work, expectedMs }]
    })
  }

  #lookUpNext(peerId: string, lookups: Lookups): void {
    if (lookups.underWay >= maxConcurrentLookups) return
    const next = lookups.waiting.shift()
    if (next === undefined) {
      if (lookups.underWay === 0) this.#lookups.delete(peerId)
      return
    }
    lookups.underWay += 1
    this.#answer(peerId, next.query, next.pending)
      .catch((error: unknown) => {
        const { code, message } = toShoalError(error)
        this.#needs.log.warn('holdings not answered', { peer: peerId, code, error: message })
      })
      .finally(() => {
        lookups.underWay -= 1
        this.#lookUpNext(peerId, lookups)
      })
  }

  async #answer(peerId: string, { id, keys }: HoldingsQuery, pending: PendingWork[]): Promise<void> {
    const holdings = fit(await this.#needs.lookup(keys, peerId))
    this.#needs.send(peerId, { case: 'holdingsAnswer', value: { id, holdings, pending } })
  }

  #isWorkList(works: readonly Uint8Array[]): boolean {
    const isOne = works.length <= maxKeys && works.every((work) => work.length === keyBytes)
    if (!isOne) this.dropped += 1
    return isOne
  }
}

// When not all fits into one answer, every key gets its first trace before any gets its second. Claims are small, and without
// them a trace is of no use.
function fit(holdings: readonly Holding[]): MessageInitShape<typeof HoldingSchema>[] {
  let room = maxAnswerBytes
  const answer = holdings.slice(0, maxKeys).map(({ key, claims = [] }) => {
    const told = claims.slice(0, maxClaims).filter(({ length }) => length <= maxClaimBytes && length <= room)
    room -= told.reduce((sum, { length }) => sum + length, 0)
    return { key, traces: [] as Uint8Array[], claims: told }
  })
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
