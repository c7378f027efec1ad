import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { ask } from '../../src/cli/client.ts'
import type { Ran, ReportRow, TestNode, UnitRow } from './cluster.ts'

export interface Settled {
  ran: Ran
  /** What the report says, once every result is stored; empty when nothing was asked of the node. */
  units: UnitRow[]
}

interface SessionsRow {
  sessions: { session: string; over: boolean }[]
}

/**
 * Runs a program to its end and waits until the node has stored what it compiled for it. Nothing else may use the node.
 * @param options session: whose report; the program's own (or its children's) unless it is started in place of rustc
 */
export async function settled(
  node: TestNode,
  program: string,
  args: readonly string[],
  options: { cwd: string; env: NodeJS.ProcessEnv; session?: 'program' | 'caller' },
): Promise<Settled> {
  const socket = join(node.home, 'run/shoal.sock')
  const sessions = async (): Promise<SessionsRow['sessions']> =>
    ((await ask(socket, 'sessions', {})) as SessionsRow).sessions
  const before = new Set((await sessions()).map(({ session }) => session))
  const child = spawn(program, args, { cwd: options.cwd, env: options.env, stdio: ['ignore', 'pipe', 'pipe'] })
  const closed = once(child, 'close')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [code, signal] = (await closed) as [number | null, NodeJS.Signals | null]
  await ask(socket, 'session-settle', { pid: options.session === 'caller' ? process.pid : child.pid })
  const units: UnitRow[] = []
  for (;;) {
    const own = (await sessions()).filter(({ session }) => !before.has(session))
    if (!own.every(({ over }) => over)) {
      // `cargo clippy` starts another cargo; the node looks every two seconds whether that one has ended.
      await delay(50)
      continue
    }
    for (const { session } of own.toReversed()) {
      units.push(...((await ask(socket, 'report', { id: session })) as ReportRow).units)
    }
    return { ran: { code, signal, stdout, stderr }, units }
  }
}
