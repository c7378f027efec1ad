import type { Command } from 'commander'
import { askNode } from '../client.ts'
import { type Io, note, print, printJson } from '../io.ts'
import { inviteShape, shaped } from '../shapes.ts'

export function addInvite(program: Command, io: Io): void {
  program
    .command('invite')
    .description('print a link that lets another machine join: shoal join LINK')
    .option('--json', 'the link as JSON')
    .action(async (options: { json?: true }) => {
      const invitation = shaped(inviteShape, await askNode(io, 'invite'), 'invite')
      if (options.json) return printJson(io, invitation)
      print(io, invitation.link)
      note(io, 'On the other machine: shoal join LINK. Whoever holds the link can join: send it like a password.')
    })
}
