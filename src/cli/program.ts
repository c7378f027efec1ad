import { readFile } from 'node:fs/promises'
import { Command, CommanderError } from 'commander'
import { ShoalError } from '../base/errors.ts'
import { addApprove } from './commands/approve.ts'
import { addBuild } from './commands/build.ts'
import { addCache } from './commands/cache.ts'
import { addDemo } from './commands/demo.ts'
import { addDoctor } from './commands/doctor.ts'
import { addDown } from './commands/down.ts'
import { addEnv } from './commands/env.ts'
import { addInit } from './commands/init.ts'
import { addInvite } from './commands/invite.ts'
import { addJoin } from './commands/join.ts'
import { addKick } from './commands/kick.ts'
import { addLeave } from './commands/leave.ts'
import { addPause } from './commands/pause.ts'
import { addPeers } from './commands/peers.ts'
import { addPromote } from './commands/promote.ts'
import { addPurge } from './commands/purge.ts'
import { addRekey } from './commands/rekey.ts'
import { addRename } from './commands/rename.ts'
import { addReport } from './commands/report.ts'
import { addStatus } from './commands/status.ts'
import { addUp } from './commands/up.ts'
import { addWhy } from './commands/why.ts'
import { exitCodes, reportFailure } from './failure.ts'
import type { Io } from './io.ts'

/** Adds one command to the program; `done` takes the exit code, 0 when never called. */
type AddCommand = (program: Command, io: Io, done: (exitCode: number) => void) => void

const commands: readonly AddCommand[] = [
  addInit,
  addUp,
  addDown,
  addEnv,
  addInvite,
  addJoin,
  addApprove,
  addPeers,
  addKick,
  addPromote,
  addRename,
  addRekey,
  addLeave,
  addPurge,
  addPause,
  addStatus,
  addDoctor,
  addBuild,
  addReport,
  addWhy,
  addCache,
  addDemo,
]

/**
 * Runs one command line.
 * @param argv without the program names
 * @returns the exit code; never throws for a failure of a command
 */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  let exitCode: number = exitCodes.ok
  const program = new Command('shoal')
    .description('A peer-to-peer build mesh for Rust: cargo build on one laptop uses all of them.')
    .version(await version(), '-V, --version')
    .helpCommand('help [command]', 'what a command does')
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      // Said below, in the one shape of all errors.
      outputError: () => undefined,
    })
  for (const add of commands) {
    add(program, io, (code) => {
      exitCode = code
    })
  }
  try {
    if (argv.length === 0) {
      io.stderr.write(program.helpInformation())
      return exitCodes.usage
    }
    await program.parseAsync(argv, { from: 'user' })
    return exitCode
  } catch (error) {
    // The person knows; there is nothing to report.
    if (io.signal.aborted) return exitCodes.failed
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return exitCodes.ok
      return reportFailure(io, usageError(error, argv[0]), argv.includes('--json'))
    }
    return reportFailure(io, error, argv.includes('--json'))
  }
}

/** @param command what stood first */
function usageError(error: CommanderError, command = ''): ShoalError {
  // Of `help` about what is none; all commands have been shown.
  if (error.code === 'commander.help') return new ShoalError('ERR_USAGE', 'unknown command')
  const [first = '', ...rest] = error.message.split('\n')
  const suggestion = rest.join(' ').replace(/^\((.*)\)$/, '$1')
  const isNamed = error.code !== 'commander.unknownCommand' && /^[a-z]+$/.test(command)
  const help = isNamed ? { hint: `See \`shoal ${command} --help\`.` } : {}
  const options = suggestion === '' ? help : { hint: suggestion }
  return new ShoalError('ERR_USAGE', first.replace(/^error: /, ''), options)
}

async function version(): Promise<string> {
  for (const above of ['../../package.json', '../../../package.json']) {
    const text = await readFile(new URL(above, import.meta.url), 'utf8').catch(() => '')
    if (text !== '') return String(JSON.parse(text).version)
  }
  return 'unknown'
}
