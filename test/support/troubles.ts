import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type BenchMachine, lends, setShare } from '../bench/machines.ts'
import { capture } from './cluster.ts'

/** What can happen to a machine in the middle of a build. */
export interface Trouble {
  title: string
  begin(machine: BenchMachine): Promise<void>
  /** Ends it, whatever is left of the machine. */
  end(machine: BenchMachine): Promise<void>
}

const restarted = async ({ node }: BenchMachine): Promise<void> => {
  await node.stop()
  await node.start()
}

export const troubles = {
  killed: { title: 'killed', begin: ({ node }) => node.kill(), end: restarted },
  stopped: {
    title: 'stopped (SIGSTOP of the node)',
    begin: async ({ node }) => void node.daemon?.kill('SIGSTOP'),
    end: async ({ node }) => void node.daemon?.kill('SIGCONT'),
  },
  frozen: {
    title: 'frozen, with all that runs there',
    begin: (machine) => freeze(machine, 'FROZEN'),
    end: (machine) => freeze(machine, 'THAWED'),
  },
  cut: {
    title: 'cut off',
    begin: (machine) => link(machine, 'down'),
    end: (machine) => link(machine, 'up'),
  },
  slowed: {
    title: 'slowed to a tenth',
    begin: (machine) => setShare(machine, machine.share / 10),
    end: (machine) => setShare(machine, machine.share),
  },
  goodbye: {
    title: 'shut down, with GOODBYE',
    // Not waited for: it takes leave at once, and ends when it has tidied up.
    begin: async ({ node }) => void node.daemon?.kill('SIGTERM'),
    end: restarted,
  },
} as const satisfies Record<string, Trouble>

/** Waits until all of them have met again and lend. */
export async function together(machines: readonly BenchMachine[]): Promise<void> {
  for (const { node } of machines) await node.waitForPeers(machines.length - 1)
  for (const { node } of machines) await lends(node)
}

/** Waits until nothing is lent or built by any of them. @throws after a minute */
export async function atRest(machines: readonly BenchMachine[]): Promise<void> {
  interface Row {
    slots: { lent: number }
    units: { here: number; away: number; waiting: number }
  }
  for (let tries = 0; ; tries++) {
    const rows = await Promise.all(machines.map(({ node }) => node.ask<Row>('status')))
    if (rows.every(({ slots, units }) => slots.lent + units.here + units.away + units.waiting === 0)) return
    if (tries > 600) throw new Error(`never at rest: ${JSON.stringify(rows.map(({ slots, units }) => [slots, units]))}`)
    await delay(100)
  }
}

async function freeze({ freezer }: BenchMachine, state: 'FROZEN' | 'THAWED'): Promise<void> {
  await writeFile(join(freezer, 'freezer.state'), state)
}

async function link({ port }: BenchMachine, state: 'up' | 'down'): Promise<void> {
  const ran = await capture('ip', ['link', 'set', port, state])
  if (ran.code !== 0) throw new Error(ran.stderr)
}
