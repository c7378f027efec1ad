import type { Batch, Datastore, Key, KeyQuery, Pair, Query } from 'interface-datastore'
import type { Clock } from '../base/clock.ts'
import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'

type Options = Parameters<Datastore['get']>[1]

/** Where libp2p keeps what it knows of peers. */
const peersPrefix = '/peers/'
/** What of it a node that is killed forgets, at most; it hears that again from whom it connects to. */
const keptForMs = 30_000

/**
 * A datastore in which what is said of peers reaches the disk a little later, only the last of it. libp2p writes a peer down whenever
 * it hears of it, mostly what stands there already: that was 4 % of what a node takes while it lends.
 */
export class LatePeers implements Datastore {
  readonly #store: Datastore
  readonly #clock: Clock
  readonly #log: Logger
  readonly #late = new Map<string, Pair>()
  #cancel: (() => void) | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(store: Datastore, clock: Clock, log: Logger) {
    this.#store = store
    this.#clock = clock
    this.#log = log
  }

  put(key: Key, value: Uint8Array, options?: Options): ReturnType<Datastore['put']> {
    const name = key.toString()
    if (!name.startsWith(peersPrefix)) return this.#store.put(key, value, options)
    this.#late.set(name, { key, value })
    this.#cancel ??= this.#clock.after(keptForMs, () => void this.save())
    return key
  }

  get(key: Key, options?: Options): ReturnType<Datastore['get']> {
    return this.#late.get(key.toString())?.value ?? this.#store.get(key, options)
  }

  has(key: Key, options?: Options): ReturnType<Datastore['has']> {
    return this.#late.has(key.toString()) || this.#store.has(key, options)
  }

  async delete(key: Key, options?: Options): Promise<void> {
    this.#late.delete(key.toString())
    // What is being written comes first, or it would come back.
    await this.#writing.catch(() => undefined)
    await this.#store.delete(key, options)
  }

  /** Writes down what waits. @throws what the store throws; what could not be written waits on */
  async flush(): Promise<void> {
    this.#cancel?.()
    this.#cancel = undefined
    this.#writing = this.#writing.catch(() => undefined).then(() => this.#write())
    await this.#writing
  }

  async #write(): Promise<void> {
    const batch = this.#store.batch()
    const written = [...this.#late]
    for (const [, { key, value }] of written) batch.put(key, value)
    await batch.commit()
    // What came meanwhile waits for the next time.
    for (const [name, pair] of written) if (this.#late.get(name) === pair) this.#late.delete(name)
  }

  /** The same where nobody could do anything about it: the log says what went wrong. */
  async save(): Promise<void> {
    try {
      await this.flush()
    } catch (error) {
      this.#log.warn('peers not written down', { error: toShoalError(error).message })
    }
  }

  async *query(query: Query, options?: Options): AsyncGenerator<Pair> {
    await this.flush()
    yield* this.#store.query(query, options)
  }

  async *queryKeys(query: KeyQuery, options?: Options): AsyncGenerator<Key> {
    await this.flush()
    yield* this.#store.queryKeys(query, options)
  }

  async *putMany(source: Parameters<Datastore['putMany']>[0], options?: Options): AsyncGenerator<Key> {
    await this.flush()
    yield* this.#store.putMany(source, options)
  }

  async *getMany(source: Parameters<Datastore['getMany']>[0], options?: Options): AsyncGenerator<Pair> {
    await this.flush()
    yield* this.#store.getMany(source, options)
  }

  async *deleteMany(source: Parameters<Datastore['deleteMany']>[0], options?: Options): AsyncGenerator<Key> {
    await this.flush()
    yield* this.#store.deleteMany(source, options)
  }

  batch(): Batch {
    return this.#store.batch()
  }
}
