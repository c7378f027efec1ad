import { type Command, Option } from 'commander'
import { askNode } from '../client.ts'
import { type Io, note, print, printJson } from '../io.ts'
import { inviteShape, shaped } from '../shapes.ts'

export function addInvite(program: Command, io: Io): void {
  program
    .command('invite')
    .description('print a link that lets another machine join: shoal join LINK')
    .addOption(roleOption('what the machine becomes').default('member'))
    .option('--json', 'the link as JSON')
    .action(async (options: { role: string; json?: true }) => {
      const invitation = shaped(inviteShape, await askNode(io, 'invite', { role: options.role }), 'invite')
      if (options.json) return printJson(io, invitation)
      print(io, invitation.link)
      note(
        io,
        'On the other machine, while this node runs: shoal join LINK. Good for one machine, within a day: send it like a password.',
      )
    })
}

export function roleOption(description: string): Option {
  return new Option('--role <role>', description).choices(['member', 'ci', 'inviter', 'admin'])
}
