import type { Command } from 'commander'
import { foreignText, ShoalError } from '../../base/errors.ts'
import { answers } from '../client.ts'
import { isPerson } from '../confirm.ts'
import { startDaemon } from '../daemon-program.ts'
import { type Io, print, printJson } from '../io.ts'
import { join } from '../joining.ts'
import { printMembership } from '../membership-text.ts'
import { pipedLine, restOf } from '../piped.ts'

interface JoinOptions {
  name?: string
  mesh?: string
  up?: true
  yes?: true
  json?: true
}

const linkPrefix = 'shoal1:'
const maxLinkBytes = 8192

export function addJoin(program: Command, io: Io): void {
  program
    .command('join')
    .description('become a member of a mesh: of that of an invitation, or of one on the local network')
    .argument('[link]', 'what `shoal invite` printed; - reads it from standard input; none: ask on the local network')
    .option('--mesh <name>', 'which one, when several are heard on the local network')
    .option('--name <name>', 'what other members see; default: the host name')
    .option('--up', 'then start the node')
    .option('--yes', 'ask nothing (for scripts)')
    .option('--json', 'the answer as JSON')
    .action(async (argument: string | undefined, options: JoinOptions) => {
      const link = await linkFrom(io, argument)
      if (link === undefined && argument === '-') throw new ShoalError('ERR_USAGE', 'no link on standard input')
      if (link !== undefined && (!link.startsWith(linkPrefix) || link.length > maxLinkBytes)) {
        throw new ShoalError('ERR_INVITE', `an invitation begins with ${linkPrefix}`)
      }
      if (await answers(io.paths.socket, { signal: io.signal })) {
        throw new ShoalError('ERR_DAEMON_RUNNING', 'the node of this machine is running', {
          hint: 'Run `shoal down`, join, then `shoal up`.',
        })
      }
      const membership = await join(io, { link, mesh: options.mesh, name: options.name }, options)
      if (options.up) await startDaemon(io)
      if (options.json) return printJson(io, membership)
      const headline = `This machine is now a member of ${foreignText(membership.mesh.name)}.`
      printMembership(io, membership, headline, options.up)
      if (membership.mesh.open)
        print(io, `${foreignText(membership.mesh.name)} is open: whoever finds it on the local network is let in.`)
    })
}

/** @returns undefined for none */
async function linkFrom(io: Io, argument: string | undefined): Promise<string | undefined> {
  if (argument !== undefined && argument !== '-') return argument.trim()
  // A person at a terminal would have to know that something is waited for.
  if (isPerson(io) && argument === undefined) return undefined
  const text = argument === '-' ? await restOf(io.stdin, maxLinkBytes) : await pipedLine(io.stdin, maxLinkBytes)
  return text.trim() === '' ? undefined : text.trim()
}
