import type { Command } from 'commander'
import { askNode } from '../client.ts'
import { type Io, print, printJson } from '../io.ts'
import { shaped, whyShape } from '../shapes.ts'
import { whyLines } from '../why-text.ts'

export function addWhy(program: Command, io: Io): void {
  program
    .command('why')
    .description('why a crate was not recalled in the last build: what differs, with both values')
    .argument('<crate>', 'the name of a crate or package, or name@version')
    .option('--session <id>', 'the id of a build, or its beginning', 'last')
    .option('--json', 'as JSON')
    .action(async (crate: string, options: { session: string; json?: true }) => {
      const params = { crate, session: options.session }
      const why = shaped(whyShape, await askNode(io, 'why', params), 'why')
      if (options.json) return printJson(io, why)
      for (const line of whyLines(why)) print(io, line)
    })
}
