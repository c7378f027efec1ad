import type { CID } from 'multiformats/cid'
import { codeOf, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { decodeResult, type Result } from '../plan/action.ts'
import { isBound, readTrace } from '../recall/evidence.ts'
import { digestOf, hexOf } from '../wire/cid.ts'

/** A result that this node can give to others. */
export interface Held {
  /** Hex of the action key. */
  key: string
  /** Milliseconds that making it took. */
  costMs: number
  /** All its blocks together. */
  bytes: number
  trace: Uint8Array
  /** The result first, then its outputs, each once. */
  blocks: { cid: CID; size: number }[]
}

interface InventoryNeeds {
  traces: { traces(keyHex: string): Promise<Uint8Array[]>; keys(): AsyncIterable<string> }
  blocks: { get(cid: CID): Promise<Uint8Array | undefined>; has(cid: CID): Promise<boolean> }
  /** Whose word is behind a trace; without any nobody could use it. */
  claimsAbout(trace: Uint8Array): Promise<Uint8Array[]>
  /** What is kept of an action key (hex) is for this node alone. */
  isPrivate(key: string): boolean
  log: Logger
}

/** What is remembered of each. */
interface Item {
  costMs: number
  bytes: number
  /** Hex. */
  blocks: readonly string[]
}

export interface InventoryEvents {
  /** This node has something of this action key (hex) now; again when there is something newer. */
  onHeld?(key: string, item: { costMs: number; bytes: number }): void
  /** It has nothing of it any more. */
  onGone?(key: string): void
}

/** Decoding results must not keep anybody waiting: after so many, others have their turn. */
const atOnce = 16

/** Of which action keys this node has something complete that holds for others too. Own results, not placed ones. */
export class Inventory {
  readonly #needs: InventoryNeeds
  readonly #items = new Map<string, Item>()
  /** Block → the action keys whose item needs it. */
  readonly #users = new Map<string, Set<string>>()
  readonly #listeners: InventoryEvents[] = []
  #stopped = false

  constructor(needs: InventoryNeeds) {
    this.#needs = needs
  }

  get size(): number {
    return this.#items.size
  }

  has(key: string): boolean {
    return this.#items.has(key)
  }

  listen(listener: InventoryEvents): void {
    this.#listeners.push(listener)
  }

  entries(): IterableIterator<[key: string, item: { costMs: number; bytes: number }]> {
    return this.#items.entries()
  }

  /** Looks at everything that is kept; to be called once. Never rejects. */
  async load(): Promise<void> {
    try {
      let looked = 0
      for await (const key of this.#needs.traces.keys()) {
        if (this.#stopped) return
        await this.learn(key)
        looked += 1
        if (looked % atOnce === 0) await new Promise((resolve) => setImmediate(resolve))
      }
    } catch (error) {
      const { code, message } = toShoalError(error)
      this.#needs.log.warn('kept results cannot be listed', { code, message })
    }
  }

  stop(): void {
    this.#stopped = true
  }

  /** Something of this action key has been kept, or may have gone. */
  async learn(key: string): Promise<void> {
    const held = await this.held(key)
    if (this.#stopped) return
    this.#forget(key)
    if (held === undefined) {
      this.#call((listener) => listener.onGone?.(key))
      return
    }
    const item: Item = { costMs: held.costMs, bytes: held.bytes, blocks: held.blocks.map(({ cid }) => hexOf(cid)) }
    this.#items.set(key, item)
    for (const block of item.blocks) {
      const users = this.#users.get(block) ?? new Set()
      this.#users.set(block, users.add(key))
    }
    this.#call((listener) => listener.onHeld?.(key, item))
  }

  /** Blocks (hex) have left the store. */
  async evicted(blocks: readonly string[]): Promise<void> {
    const keys = new Set(blocks.flatMap((block) => [...(this.#users.get(block) ?? [])]))
    for (const key of keys) {
      try {
        await this.learn(key)
      } catch (error) {
        this.#needs.log.info('kept result not looked at', { code: codeOf(error), key })
      }
    }
  }

  /** The newest that is complete and holds for others; undefined when there is none. */
  async held(key: string): Promise<Held | undefined> {
    if (this.#needs.isPrivate(key)) return undefined
    for (const bytes of await this.#needs.traces.traces(key)) {
      const trace = readTrace(bytes)
      if (trace === undefined || isBound(trace) || Buffer.from(digestOf(trace.action)).toString('hex') !== key) continue
      if ((await this.#needs.claimsAbout(bytes)).length === 0) continue
      const encoded = await this.#needs.blocks.get(trace.result)
      const result = encoded && readResult(encoded)
      if (encoded === undefined || result === undefined) continue
      const blocks = blocksOf(trace.result, encoded.length, result)
      if (!(await this.#allHere(blocks))) continue
      return { key, costMs: result.wallMs, bytes: sizeOf(blocks), trace: bytes, blocks }
    }
    return undefined
  }

  async #allHere(blocks: readonly { cid: CID }[]): Promise<boolean> {
    for (const { cid } of blocks) if (!(await this.#needs.blocks.has(cid))) return false
    return true
  }

  #forget(key: string): void {
    const item = this.#items.get(key)
    if (item === undefined) return
    this.#items.delete(key)
    for (const block of item.blocks) {
      const users = this.#users.get(block)
      users?.delete(key)
      if (users?.size === 0) this.#users.delete(block)
    }
  }

  #call(tell: (listener: InventoryEvents) => void): void {
    for (const listener of this.#listeners) tell(listener)
  }
}

/** The result and its outputs, each block once. */
export function blocksOf(cid: CID, size: number, { outputs }: Result): { cid: CID; size: number }[] {
  const blocks = new Map([[hexOf(cid), { cid, size }]])
  for (const output of outputs) blocks.set(hexOf(output.cid), { cid: output.cid, size: output.size })
  return [...blocks.values()]
}

export const sizeOf = (blocks: readonly { size: number }[]): number => blocks.reduce((sum, { size }) => sum + size, 0)

/** Undefined for what is no result. */
export function readResult(bytes: Uint8Array): Result | undefined {
  try {
    return decodeResult(bytes)
  } catch (error) {
    if (codeOf(error) === 'ERR_DECODE') return undefined
    throw error
  }
}
