import { readdirSync, readFileSync } from 'node:fs'
import { codeOf } from '../../src/base/errors.ts'
import { capture } from '../support/cluster.ts'
import { say } from './figures.ts'

/** What the machine has besides the task: nothing, guests at work, or guests that were stopped and only take room. */
export type Beside = 'nothing' | 'nothing, once more' | 'guests' | 'stopped guests'

export interface TicksInit {
  /** How to start what notes how late each tick of a task was, see `ticks.rs`. */
  program: readonly string[]
  /** How often each state has its turn, and for how many ticks. */
  turns: number
  ticks: number
  states: readonly Beside[]
  /** The process of the node whose guests they are. */
  lender: number
  /** Resolves when the machine is in that state. */
  become(state: 'nothing' | 'guests'): Promise<void>
  /** Guests at work right now. */
  guests(): Promise<number>
}

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0

const percentile = (blocks: readonly (readonly number[])[], share: number): number =>
  at(
    blocks.flat().sort((a, b) => a - b),
    share,
  )

/**
 * A task every 10 ms, in short turns with and without guests, so that whatever else changes on this machine changes for both; of all ticks
 * of a state together the percentiles, and within what the ratio lies in 95 of 100 choices of turns.
 */
export async function besideTicks(init: TicksInit): Promise<void> {
  const { turns, ticks, states } = init
  const [program = '', ...args] = init.program
  const late = new Map<Beside, number[][]>(states.map((state) => [state, []]))
  /** At the end of each turn. */
  const left: number[] = []
  for (let turn = 0; turn < turns; turn += 1) {
    // Each comes after each other one equally often.
    for (const state of turn % 2 === 0 ? states : states.toReversed()) {
      await init.become(state.startsWith('nothing') ? 'nothing' : 'guests')
      const stopped = state === 'stopped guests' ? guestProcesses(init.lender) : []
      try {
        for (const pid of stopped) signalTo(pid, 'SIGSTOP')
        const { stdout } = await capture(program, [...args, `${ticks}`])
        if (state === 'guests') left.push(await init.guests())
        late.get(state)?.push(stdout.trim().split(' ').map(Number))
      } finally {
        for (const pid of stopped) signalTo(pid, 'SIGCONT')
      }
    }
  }
  if (left.length > 0)
    say(`  guests at the end of a turn: ${(left.reduce((a, b) => a + b, 0) / left.length).toFixed(2)}`)
  const alone = late.get('nothing') ?? []
  for (const share of [0.5, 0.9, 0.99]) {
    const without = percentile(alone, share)
    for (const [state, blocks] of late) {
      const name = `a task every 10 ms beside ${state}, p${share * 100}`
      const ms = percentile(blocks, share) / 1000
      if (state === 'nothing') say(`  ${name}: ${ms.toFixed(3)} ms of ${blocks.flat().length} ticks`)
      else
        say(`  ${name}: ${ms.toFixed(3)} ms, ${((1000 * ms) / without).toFixed(3)} x ${spread(alone, blocks, share)}`)
    }
  }
}

const choices = 400

/** Turns drawn again and again, of both states the same. */
function spread(alone: readonly number[][], beside: readonly number[][], share: number): string {
  const ratios = Array.from({ length: choices }, () => {
    const chosen = alone.map(() => Math.floor(Math.random() * alone.length))
    const of = (blocks: readonly number[][]): number =>
      percentile(
        chosen.map((turn) => blocks[turn] ?? []),
        share,
      )
    return of(beside) / of(alone)
  }).sort((a, b) => a - b)
  return `(${at(ratios, 0.025).toFixed(3)} to ${at(ratios, 0.975).toFixed(3)})`
}

/** It may have ended meanwhile. */
function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error
  }
}

/** All in a control group of this node's guests: other nodes may run on this machine, and theirs are not ours to stop. */
function guestProcesses(lender: number): number[] {
  const pids = readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0)
  return pids.filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cgroup`, 'latin1').includes(`/shoal-guests-${lender}-`)
    } catch {
      return false
    }
  })
}
