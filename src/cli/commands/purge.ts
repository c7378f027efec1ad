import type { Command } from 'commander'
import { askNode } from '../client.ts'
import { confirmed } from '../confirm.ts'
import { exitCodes } from '../failure.ts'
import { type Io, note, print, printJson } from '../io.ts'
import { counted } from '../render.ts'
import { purgedShape, shaped } from '../shapes.ts'

interface Options {
  by: string
  yes?: true
  json?: true
}

/** Every file that was ever put somewhere is read before it is removed. */
const purgeMs = 3600_000

export function addPurge(program: Command, io: Io, done: (exitCode: number) => void): void {
  program
    .command('purge')
    .description('drop all that a member ever gave this node, and have cargo rebuild what used it')
    .requiredOption('--by <name>', 'the member, by name or peerId')
    .option('-y, --yes', 'without asking')
    .option('--json', 'as JSON')
    .action(async ({ by, yes, json }: Options) => {
      if (!yes && !(await confirmed(io, `Drop all that ${by} gave, also from target directories?`))) {
        note(io, 'Nothing was removed.')
        return done(exitCodes.failed)
      }
      const answer = shaped(purgedShape, await askNode(io, 'purge', { by }, purgeMs), 'purge')
      if (json) return printJson(io, answer)
      const { results, files, placed } = answer
      print(io, `dropped ${counted(results, 'result')} and ${counted(placed, 'result')} that were kept for ${by}`)
      print(io, `removed ${counted(files, 'file')} that cargo will make again`)
    })
}
