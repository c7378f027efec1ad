import type { Clock } from '../base/clock.ts'

interface Entry {
  at: number
  order: number
  run: (() => void) | undefined
}

/** A clock that jumps from one event to the next. Events of the same moment happen in the order they were asked for. */
export class VirtualTime implements Clock {
  /** Binary heap, the earliest first. */
  readonly #heap: Entry[] = []
  #now = 0
  #order = 0
  /** Entries of the heap that will do nothing: at most half of them, or a thousand. */
  #cancelled = 0

  now(): number {
    return this.#now
  }

  wall(): number {
    return this.#now
  }

  after(ms: number, run: () => void): () => void {
    const entry: Entry = { at: this.#now + Math.max(0, ms), order: this.#order++, run }
    this.#push(entry)
    return () => {
      if (entry.run === undefined) return
      entry.run = undefined
      this.#cancelled += 1
      if (this.#cancelled > 1000 && this.#cancelled > this.#heap.length / 2) this.#sweep()
    }
  }

  /** Runs events until `done` or until `untilMs` has come. False when that came first. */
  run(done: () => boolean, untilMs: number): boolean {
    while (!done()) {
      const next = this.#heap[0]
      if (!next || next.at > untilMs) {
        this.#now = untilMs
        return false
      }
      this.#pop()
      this.#now = next.at
      const { run } = next
      if (run === undefined) this.#cancelled -= 1
      // Cancelled from now on, it is no longer in the heap.
      next.run = undefined
      run?.()
    }
    return true
  }

  #sweep(): void {
    const live = this.#heap.filter(({ run }) => run !== undefined).sort((a, b) => a.at - b.at || a.order - b.order)
    // What is sorted is a heap.
    this.#heap.length = 0
    for (const entry of live) this.#heap.push(entry)
    this.#cancelled = 0
  }

  #push(entry: Entry): void {
    const heap = this.#heap
    let at = heap.push(entry) - 1
    while (at > 0) {
      const up = (at - 1) >>> 1
      const parent = heap[up]
      if (!parent || !before(entry, parent)) break
      heap[at] = parent
      at = up
    }
    heap[at] = entry
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (!last || heap.length === 0) return
    let at = 0
    for (;;) {
      let down = 2 * at + 1
      const left = heap[down]
      if (!left) break
      const right = heap[down + 1]
      if (right && before(right, left)) down += 1
      const child = heap[down]
      if (!child || !before(child, last)) break
      heap[at] = child
      at = down
    }
    heap[at] = last
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
