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
  sessions: { session: string; cwd: string; over: boolean }[]
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
  const before = new Set((await sessionsOf(node)).map(idOf))
  const { pid, ran } = await runToEnd(program, args, options)
  const own = await ended(node, [options.session === 'caller' ? process.pid : pid], before)
  return { ran, units: await unitsOf(node, own) }
}

/**
 * The same for programs that start at the same moment, each in a directory of its own.
 * @returns in the order of the calls
 */
export async function settledTogether(
  calls: readonly { node: TestNode; program: string; args: readonly string[]; cwd: string; env: NodeJS.ProcessEnv }[],
): Promise<Settled[]> {
  const before = await Promise.all(calls.map(async ({ node }) => new Set((await sessionsOf(node)).map(idOf))))
  const runs = await Promise.all(calls.map(({ program, args, cwd, env }) => runToEnd(program, args, { cwd, env })))
  const settledRuns: Settled[] = []
  for (const [index, { node, cwd }] of calls.entries()) {
    const [run, known] = [runs[index], before[index]]
    if (run === undefined || known === undefined) throw new Error('a call is missing')
    const own = (await ended(node, [run.pid], known)).filter((session) => session.cwd === cwd)
    settledRuns.push({ ran: run.ran, units: await unitsOf(node, own) })
  }
  return settledRuns
}

async function runToEnd(
  program: string,
  args: readonly string[],
  { cwd, env }: { cwd: string; env: NodeJS.ProcessEnv },
): Promise<{ pid: number | undefined; ran: Ran }> {
  const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const closed = once(child, 'close')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [code, signal] = (await closed) as [number | null, NodeJS.Signals | null]
  return { pid: child.pid, ran: { code, signal, stdout, stderr } }
}

const socketOf = (node: TestNode): string => join(node.home, 'run/shoal.sock')

const sessionsOf = async (node: TestNode): Promise<SessionsRow['sessions']> =>
  ((await ask(socketOf(node), 'sessions', {})) as SessionsRow).sessions

const idOf = ({ session }: SessionsRow['sessions'][number]): string => session

/** Waits until the node has stored all that was compiled for these processes. */
async function ended(
  node: TestNode,
  pids: readonly (number | undefined)[],
  before: ReadonlySet<string>,
): Promise<SessionsRow['sessions']> {
  for (const pid of pids) await ask(socketOf(node), 'session-settle', { pid })
  for (;;) {
    const own = (await sessionsOf(node)).filter(({ session }) => !before.has(session))
    if (own.every(({ over }) => over)) return own
    // `cargo clippy` starts another cargo; the node looks every two seconds whether that one has ended.
    await delay(50)
  }
}

async function unitsOf(node: TestNode, sessions: SessionsRow['sessions']): Promise<UnitRow[]> {
  const units: UnitRow[] = []
  for (const { session } of sessions.toReversed()) {
    units.push(...((await ask(socketOf(node), 'report', { id: session })) as ReportRow).units)
  }
  return units
}
