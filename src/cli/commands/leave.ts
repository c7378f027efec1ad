import type { Command } from 'commander'
import { askNode } from '../client.ts'
import { daemonOnce, waitForExit } from '../daemon-program.ts'
import { type Io, print } from '../io.ts'
import { leftShape, shaped, statusShape } from '../shapes.ts'

export function addLeave(program: Command, io: Io): void {
  program
    .command('leave')
    .description('take this machine out of its mesh for good: the others are told, and its key is destroyed')
    .action(async () => {
      const { node } = shaped(statusShape, await askNode(io, 'status'), 'status')
      await askNode(io, 'leave')
      await askNode(io, 'stop')
      await waitForExit(node.pid)
      const { touched } = shaped(leftShape, await daemonOnce(io, { action: 'leave' }), 'leave')
      print(io, 'This machine belongs to no mesh any more.')
      for (const file of touched) print(io, `  removed ${file}`)
    })
}
