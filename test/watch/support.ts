import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Clock } from '../../src/base/clock.ts'
import { seededRandom } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { History } from '../../src/watch/history.ts'
import { Sessions, type SessionsInit, type SessionsNeeds, type UnitFacts } from '../../src/watch/sessions.ts'
import { Traffic } from '../../src/watch/traffic.ts'

/** A clock that stands still until it is told to go on. */
export class TestClock implements Clock {
  time = 1_000_000
  #timers: { at: number; run: () => void }[] = []

  now(): number {
    return this.time
  }

  wall(): number {
    return 1_772_355_600_000 + this.time
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.time + ms, run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  get waiting(): number {
    return this.#timers.length
  }

  advance(ms: number): void {
    const end = this.time + ms
    for (;;) {
      const next = this.#timers.filter((timer) => timer.at <= end).toSorted((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      this.#timers = this.#timers.filter((other) => other !== next)
      this.time = next.at
      next.run()
    }
    this.time = end
  }
}

export async function temporaryFile(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-watch-'))
  t.after(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }))
  return join(dir, 'state', 'sessions.jsonl')
}

export interface Bench {
  clock: TestClock
  sessions: Sessions
  history: History
  /** Process id → identity; absent is gone. */
  living: Map<number, string>
}

/** Sessions on a real file, with a clock and a process table of the test's. */
export function bench(
  file: string,
  init: SessionsInit & { maxBytes?: number } = {},
  more: Partial<SessionsNeeds> = {},
): Bench {
  const clock = new TestClock()
  const living = new Map<number, string>()
  const maxBytes = init.maxBytes === undefined ? {} : { maxBytes: init.maxBytes }
  const history = new History({ clock, log: silentLogger }, { file, ...maxBytes })
  const processes = { identify: (pid: number) => living.get(pid) }
  const sessions = new Sessions(
    { clock, random: seededRandom(7), processes, history, traffic: new Traffic(), ...more },
    init,
  )
  return { clock, sessions, history, living }
}

export const facts = (crate: string, more: Partial<UnitFacts> = {}): UnitFacts => ({
  crate,
  kind: 'lib',
  outcome: 'compiled-here',
  where: 'here',
  reason: 'a slot was free',
  bytesIn: 0,
  bytesOut: 0,
  ...more,
})
