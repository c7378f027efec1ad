import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import type { Command } from 'commander'
import { codeOf, ShoalError, toShoalError } from '../../base/errors.ts'
import { answers, askNode } from '../client.ts'
import { wrapperEnv } from '../daemon-program.ts'
import { type Io, note } from '../io.ts'
import { closingLine } from '../report-text.ts'
import { reportShape, shaped } from '../shapes.ts'
import { installedShim } from './env.ts'

/** How long the closing line may wait for results that are still being stored. */
const settleMs = 10_000

export function addBuild(program: Command, io: Io, done: (exitCode: number) => void): void {
  program
    .command('build')
    .description('cargo build with the mesh, and a closing line')
    .usage('[cargo arguments]')
    .argument('[arguments...]', 'for cargo build, as they are')
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (args: string[]) => done(await build(io, args)))
}

async function build(io: Io, args: readonly string[]): Promise<number> {
  const mesh = await meshEnv(io)
  const toolchain = args[0]?.startsWith('+') ? args.slice(0, 1) : []
  const from = performance.now()
  const child = spawn('cargo', [...toolchain, 'build', ...args.slice(toolchain.length)], {
    stdio: 'inherit',
    // A wrapper that the shell still has set must not wait for a node that does not answer.
    env: { ...io.env, ...(mesh ?? { SHOAL: 'off' }) },
  })
  const exited = once(child, 'exit')
  // Ctrl-C reaches cargo as a member of the terminal's foreground group; a plain stop request does not.
  const stop = (): boolean => child.kill('SIGTERM')
  io.signal.addEventListener('abort', stop, { once: true })
  let ended: unknown[]
  try {
    ended = await exited
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    throw new ShoalError('ERR_TOOLCHAIN', 'cargo is not installed', { hint: 'See https://rustup.rs', cause: error })
  }
  const [code, signal] = ended
  if (mesh !== undefined && child.pid !== undefined && !io.signal.aborted) {
    await close(io, child.pid, performance.now() - from)
  }
  if (typeof code === 'number') return code
  return 128 + (constants.signals[signal as NodeJS.Signals] ?? 0)
}

// A build is never refused because its mesh is not there.
async function meshEnv(io: Io): Promise<Record<string, string> | undefined> {
  if (io.env.SHOAL === 'off' || io.env.SHOAL === '0') return undefined
  try {
    if (await answers(io.paths.socket, { timeoutMs: 2000 })) {
      return wrapperEnv(io.env, await installedShim(io), io.paths.socket)
    }
    note(io, 'shoal: the node is not running (`shoal up` starts it): plain cargo')
  } catch (error) {
    // Whatever it is, it is no reason not to build.
    note(io, `shoal: ${toShoalError(error).message}: plain cargo`)
  }
  return undefined
}

async function close(io: Io, pid: number, wallMs: number): Promise<void> {
  try {
    const answer = await askNode(io, 'session-settle', { pid }, settleMs)
    if (answer === null || answer === undefined) return
    note(io, closingLine(shaped(reportShape, answer, 'session-settle'), wallMs))
  } catch (error) {
    // The build is done; a missing closing line must not change how it ended.
    if (!(error instanceof ShoalError)) throw error
    note(io, `shoal: no report: ${error.message}`)
  }
}
