import type { Command } from 'commander'
import { codeOf } from '../../base/errors.ts'
import { askNode } from '../client.ts'
import { waitForExit } from '../daemon-program.ts'
import { type Io, print } from '../io.ts'
import { type Status, shaped, statusShape } from '../shapes.ts'

export function addDown(program: Command, io: Io): void {
  program
    .command('down')
    .description('stop the node of this machine')
    .action(async () => {
      let status: Status
      try {
        status = shaped(statusShape, await askNode(io, 'status'), 'status')
        await askNode(io, 'stop')
      } catch (error) {
        if (codeOf(error) !== 'ERR_DAEMON_DOWN') throw error
        return print(io, 'The node is not running.')
      }
      await waitForExit(status.node.pid)
      print(io, 'The node has stopped.')
    })
}
