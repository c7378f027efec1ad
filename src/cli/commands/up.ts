import type { Command } from 'commander'
import { answers } from '../client.ts'
import { runDaemon, startDaemon } from '../daemon-program.ts'
import { type Io, print } from '../io.ts'

export function addUp(program: Command, io: Io, done: (exitCode: number) => void): void {
  program
    .command('up')
    .description('start the node of this machine')
    .option('--foreground', 'stay, and stop with Ctrl-C')
    .action(async (options: { foreground?: true }) => {
      if (options.foreground) return done(await runDaemon(io))
      if (await answers(io.paths.socket)) return print(io, 'The node is already running.')
      const pid = await startDaemon(io)
      print(io, `The node is running (process ${pid}, log ${io.paths.log}).`)
    })
}
