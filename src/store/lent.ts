/** Files outside the store that were said to hold a block. Bounded: the oldest is forgotten first. */
export class Lent {
  readonly #paths = new Map<string, string>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  get count(): number {
    return this.#paths.size
  }

  has(hex: string): boolean {
    return this.#paths.has(hex)
  }

  get(hex: string): string | undefined {
    return this.#paths.get(hex)
  }

  /** The newest file wins. */
  set(hex: string, path: string): void {
    this.#paths.delete(hex)
    this.#paths.set(hex, path)
    if (this.#paths.size <= this.#max) return
    for (const oldest of this.#paths.keys()) {
      this.#paths.delete(oldest)
      return
    }
  }

  /** Forgets `path`, unless another file took its place meanwhile. */
  drop(hex: string, path: string): void {
    if (this.#paths.get(hex) === path) this.#paths.delete(hex)
  }
}
