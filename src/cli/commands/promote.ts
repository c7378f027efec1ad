import type { Command } from 'commander'
import { foreignText } from '../../base/errors.ts'
import { askNode } from '../client.ts'
import { type Io, print, printJson } from '../io.ts'
import { memberShape, shaped } from '../shapes.ts'
import { roleOption } from './invite.ts'

export function addPromote(program: Command, io: Io): void {
  program
    .command('promote')
    .description('give a member more rights: an administrator unless --role says otherwise')
    .argument('<member>', 'its name, or the id that `shoal peers` shows')
    .addOption(roleOption('what it becomes').default('admin'))
    .option('--json', 'as JSON')
    .action(async (member: string, options: { role: string; json?: true }) => {
      const promoted = shaped(memberShape, await askNode(io, 'promote', { member, role: options.role }), 'promote')
      if (options.json) return printJson(io, promoted)
      print(io, `${foreignText(promoted.name)} is ${options.role} now.`)
      if (promoted.hasRoot !== true || options.role !== 'admin') return
      print(io, 'With the recovery phrase on paper, the root key need not stay on this disk: shoal init --forget-root')
    })
}
