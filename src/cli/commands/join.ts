import type { Command } from 'commander'
import { foreignText, ShoalError } from '../../base/errors.ts'
import { answers } from '../client.ts'
import { daemonOnce } from '../daemon-program.ts'
import { type Io, printJson } from '../io.ts'
import { membershipShape, shaped } from '../shapes.ts'
import { printMembership } from './init.ts'

interface JoinOptions {
  name?: string
  json?: true
}

const linkPrefix = 'shoal1:'
const maxLinkBytes = 8192

export function addJoin(program: Command, io: Io): void {
  program
    .command('join')
    .description('become a member of the mesh that an invitation names')
    .argument('[link]', 'what `shoal invite` printed; - or nothing: read from standard input')
    .option('--name <name>', 'what other members see; default: the host name')
    .option('--json', 'the answer as JSON')
    .action(async (argument: string | undefined, options: JoinOptions) => {
      const link = (argument === undefined || argument === '-' ? await readLink(io) : argument).trim()
      if (link === '') throw new ShoalError('ERR_USAGE', "missing required argument 'link'")
      if (!link.startsWith(linkPrefix) || link.length > maxLinkBytes) {
        throw new ShoalError('ERR_INVITE', `an invitation begins with ${linkPrefix}`)
      }
      if (await answers(io.paths.socket, { signal: io.signal })) {
        throw new ShoalError('ERR_DAEMON_RUNNING', 'the node of this machine is running', {
          hint: 'Run `shoal down`, join, then `shoal up`.',
        })
      }
      const request = { action: 'join', link, ...(options.name === undefined ? {} : { name: options.name }) }
      const membership = shaped(membershipShape, await daemonOnce(io, request), 'join')
      if (options.json) return printJson(io, membership)
      printMembership(io, membership, `This machine is now a member of ${foreignText(membership.mesh.name)}.`)
    })
}

async function readLink(io: Io): Promise<string> {
  // A person would wait for nothing.
  if ('isTTY' in io.stdin && io.stdin.isTTY === true) return ''
  let text = ''
  for await (const chunk of io.stdin) {
    text += String(chunk)
    if (text.length > maxLinkBytes) break
  }
  return text
}
