import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { ask } from '../../src/cli/client.ts'
import type { Ran, ReportRow, TestNode, UnitRow } from './cluster.ts'

export interface Settled {
  ran: Ran
  /** What the report says, once every result is stored; empty when nothing was asked of the node. */
  units: UnitRow[]
}

/**
 * Runs a program to its end and waits until the node has stored what it compiled for it.
 * @param options session: whose report; the program's own unless it is started from here in place of cargo
 */
export async function settled(
  node: TestNode,
  program: string,
  args: readonly string[],
  options: { cwd: string; env: NodeJS.ProcessEnv; session?: 'program' | 'caller' },
): Promise<Settled> {
  const child = spawn(program, args, { cwd: options.cwd, env: options.env, stdio: ['ignore', 'pipe', 'pipe'] })
  const closed = once(child, 'close')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [code, signal] = (await closed) as [number | null, NodeJS.Signals | null]
  const pid = options.session === 'caller' ? process.pid : child.pid
  const report = (await ask(join(node.home, 'run/shoal.sock'), 'session-settle', { pid })) as ReportRow | null
  return { ran: { code, signal, stdout, stderr }, units: report?.units ?? [] }
}
