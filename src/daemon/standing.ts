import { createHash } from 'node:crypto'
import { type Datastore, Key } from 'interface-datastore'
import { z } from 'zod'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { decodeCbor, encodeCbor } from '../wire/cbor.ts'

const prefix = '/standing/'
const doubtedPrefix = '/doubted/'
const mostDoubted = 20_000
const mostLies = 8
const longestName = 200
/** Names take up to three bytes for each unit of their length. */
const maxRecordBytes = 16_384
/**
 * Lies about so many packages make a liar. Of one package it could still be the compiler, which makes something else of it once in a while.
 */
const liesOfALiar = 2
const count = z.int().min(0)

const recordSchema = z.strictObject({
  v: z.literal(1),
  /** Results compared with what came out here. */
  audited: count,
  /** Of these, those that were the same. */
  agreed: count,
  /** Of these, those of which nobody can say who is wrong. */
  unexplained: count,
  /** Lies: of each package the first. */
  lies: z
    .array(z.strictObject({ package: z.string().max(longestName), action: z.string().max(64), at: count }))
    .max(mostLies),
})
type Standing = z.output<typeof recordSchema>
/** Package, hex of the action key, milliseconds since the Unix epoch. */
export type Lie = Standing['lies'][number]

/** What this node has found out about a member. */
export interface StandingView extends Omit<Standing, 'v'> {
  /** Results of it that were used, since the start. */
  accepted: number
  /** Nothing of it is used. */
  isLiar: boolean
}

const unknown: Standing = { v: 1, audited: 0, agreed: 0, unexplained: 0, lies: [] }

/** What this node knows by its own evidence of how far each member's word is good. Nobody else's word goes into it. */
export class Standings {
  readonly #needs: { datastore: Datastore; log: Logger }
  readonly #known = new Map<string, Standing>()
  /** Members of whom something was known that cannot be read any more. */
  readonly #unreadable = new Set<string>()
  readonly #accepted = new Map<string, number>()
  /** Names of claims. */
  readonly #doubted = new Set<string>()
  /** Changes are made one after the other. */
  #changed: Promise<unknown> = Promise.resolve()

  private constructor(needs: { datastore: Datastore; log: Logger }) {
    this.#needs = needs
  }

  /** `datastore` may be shared: only keys below `/standing/` are used. */
  static async open(needs: { datastore: Datastore; log: Logger }): Promise<Standings> {
    const standings = new Standings(needs)
    for await (const { key, value } of needs.datastore.query({ prefix })) {
      const peerId = key.toString().slice(prefix.length)
      try {
        standings.#known.set(peerId, decodeCbor(value, recordSchema, maxRecordBytes))
      } catch (error) {
        if (codeOf(error) !== 'ERR_DECODE') throw error
        standings.#unreadable.add(peerId)
        needs.log.warn('it is not known how far a member can be trusted', { code: 'ERR_DECODE', peer: peerId })
      }
    }
    for await (const key of needs.datastore.queryKeys({ prefix: doubtedPrefix })) {
      standings.#doubted.add(key.toString().slice(doubtedPrefix.length))
    }
    return standings
  }

  /** Whether something else came out here than a claim says. @param claim its bytes */
  isDoubted(claim: Uint8Array): boolean {
    return this.#doubted.size > 0 && this.#doubted.has(nameOf(claim))
  }

  /** Something else came out here than a claim says: it is not used again, whoever may be to blame. */
  async doubt(claim: Uint8Array): Promise<void> {
    const name = nameOf(claim)
    for (const oldest of this.#doubted) {
      if (this.#doubted.size < mostDoubted) break
      this.#doubted.delete(oldest)
      await this.#needs.datastore.delete(new Key(doubtedPrefix + oldest, false))
    }
    this.#doubted.add(name)
    await this.#needs.datastore.put(new Key(doubtedPrefix + name, false), new Uint8Array())
  }

  /** One of whom nobody can say what was found out is taken for one. */
  isLiar(peerId: string): boolean {
    return this.#unreadable.has(peerId) || isLiar(this.#known.get(peerId))
  }

  /** All of them. */
  liars(): string[] {
    return [...this.#known.keys(), ...this.#unreadable].filter((peerId) => this.isLiar(peerId))
  }

  /** Undefined for a member of whom nothing was ever used. */
  view(peerId: string): StandingView | undefined {
    const { v: _, ...known } = this.#known.get(peerId) ?? unknown
    const accepted = this.#accepted.get(peerId) ?? 0
    const isLiar = this.isLiar(peerId)
    return accepted === 0 && !isLiar && !this.#known.has(peerId) ? undefined : { accepted, ...known, isLiar }
  }

  /** A result of this member is used. */
  accepted(peerId: string): void {
    this.#accepted.set(peerId, (this.#accepted.get(peerId) ?? 0) + 1)
  }

  async agreed(peerId: string): Promise<void> {
    await this.#change(peerId, (before) => ({ ...before, audited: before.audited + 1, agreed: before.agreed + 1 }))
  }

  /** Something else came out here, and nobody can be blamed for it. */
  async unexplained(peerId: string): Promise<void> {
    const change = (before: Standing): Standing => ({
      ...before,
      audited: before.audited + 1,
      unexplained: before.unexplained + 1,
    })
    await this.#change(peerId, change)
  }

  /**
   * It has said what is not so.
   * @returns whether that makes it a liar, who was none before
   * @throws what the datastore throws: then it is known no more than before
   */
  async lied(peerId: string, lie: Lie): Promise<boolean> {
    const name = lie.package.slice(0, longestName).toWellFormed()
    return await this.#change(peerId, (before) => {
      const isNew = before.lies.every((known) => known.package !== name) && before.lies.length < mostLies
      const lies = isNew ? [...before.lies, { ...lie, package: name }] : before.lies
      return { ...before, audited: before.audited + 1, lies }
    })
  }

  /** @returns whether that makes it a liar, who was none before */
  async #change(peerId: string, change: (before: Standing) => Standing): Promise<boolean> {
    const changed = this.#changed.then(async () => {
      // What cannot be read stays as it is: there may be lies in it.
      if (this.#unreadable.has(peerId)) return false
      const before = this.#known.get(peerId)
      const after = change(before ?? unknown)
      // On disk first: who is a liar here and not there would be none after a restart.
      await this.#needs.datastore.put(new Key(prefix + peerId, false), encodeCbor(after).bytes)
      this.#known.set(peerId, after)
      return isLiar(after) && !isLiar(before)
    })
    this.#changed = changed.then(nothing, nothing)
    return await changed
  }
}

const isLiar = (standing: Standing | undefined): boolean => (standing?.lies.length ?? 0) >= liesOfALiar
const nothing = (): void => undefined
const nameOf = (claim: Uint8Array): string => createHash('sha256').update(claim).digest('hex')
