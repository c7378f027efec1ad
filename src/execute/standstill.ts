/** Something that can stand still and go on. */
export interface Stoppable {
  stand(still: boolean): void
}

/** Lets all guests of a node stand still for a while; nothing of their work is lost. */
export class Standstill {
  readonly #guests = new Set<Stoppable>()
  #gate: PromiseWithResolvers<void> | undefined

  get isHeld(): boolean {
    return this.#gate !== undefined
  }

  /** All that run stop at once, and none starts. */
  hold(): void {
    if (this.#gate !== undefined) return
    this.#gate = Promise.withResolvers()
    for (const guest of this.#guests) guest.stand(true)
  }

  letGo(): void {
    const gate = this.#gate
    this.#gate = undefined
    gate?.resolve()
    for (const guest of this.#guests) guest.stand(false)
  }

  /** Resolves when guests may start. @throws the signal's reason */
  async pass(signal: AbortSignal): Promise<void> {
    while (this.#gate !== undefined) {
      const aborted = Promise.withResolvers<never>()
      const onAbort = (): void => aborted.reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      try {
        signal.throwIfAborted()
        await Promise.race([this.#gate.promise, aborted.promise])
      } finally {
        signal.removeEventListener('abort', onAbort)
      }
    }
  }

  add(guest: Stoppable): void {
    this.#guests.add(guest)
  }

  remove(guest: Stoppable): void {
    this.#guests.delete(guest)
  }
}
