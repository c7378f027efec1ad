/** Remembers so many entries: with one more it forgets the one that was set longest ago. */
export class BoundedMap<K, V> extends Map<K, V> {
  readonly #most: number

  /** @param most entries, one or more */
  constructor(most: number) {
    super()
    this.#most = most
  }

  /** An entry that is there already is the latest from now on. */
  override set(key: K, value: V): this {
    this.delete(key)
    super.set(key, value)
    for (const oldest of this.keys()) {
      if (this.size <= this.#most) break
      this.delete(oldest)
    }
    return this
  }
}
