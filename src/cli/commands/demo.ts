import type { Command } from 'commander'
import { runDemo } from '../demo/demo.ts'
import type { Io } from '../io.ts'

export function addDemo(program: Command, io: Io, done: (exitCode: number) => void): void {
  program
    .command('demo')
    .description('three nodes on this machine, a real workspace built twice, the report')
    .option('--keep', 'leave the directories of the nodes and the workspaces')
    .action(async (options: { keep?: true }) => done(await runDemo(io, { keep: options.keep ?? false })))
}
