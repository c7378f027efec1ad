import type { Command } from 'commander'
import { foreignText } from '../../base/errors.ts'
import { askNode } from '../client.ts'
import { type Io, print, printJson } from '../io.ts'
import { duration, table } from '../render.ts'
import { approvedShape, type Pending, pendingShape, shaped } from '../shapes.ts'

export function addApprove(program: Command, io: Io): void {
  program
    .command('approve')
    .description('let in the machine that shows these six digits (`shoal join` there); without them: who waits')
    .argument('[code...]', 'six digits, as the other machine shows them')
    .option('--json', 'as JSON')
    .action(async (code: string[], options: { json?: true }) => {
      if (code.length === 0) {
        const waiting = shaped(pendingShape, await askNode(io, 'approve'), 'approve')
        if (options.json) return printJson(io, waiting)
        for (const line of pendingLines(waiting)) print(io, line)
        return
      }
      const approved = shaped(approvedShape, await askNode(io, 'approve', { code: code.join(' ') }), 'approve')
      if (options.json) return printJson(io, approved)
      print(io, `${foreignText(approved.name)} (${foreignText(approved.address)}) is a member now. Tell them.`)
    })
}

/** Never with the code: it has to come from whoever asks, by voice. */
function pendingLines({ pending }: Pending): string[] {
  if (pending.length === 0) return ['Nobody waits to be let in.']
  const rows = pending.map(({ name, address, waitedMs, nameTaken }) => [
    foreignText(name) + (nameTaken ? ' (a member is called so)' : ''),
    foreignText(address),
    duration(waitedMs),
  ])
  return [
    ...table(['NAME', 'ADDRESS', 'WAITS'], rows),
    'They call themselves so. Let them tell you the six digits on their screen, then: shoal approve CODE',
  ]
}
