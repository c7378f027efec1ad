import type { Command } from 'commander'
import { codeOf } from '../../base/errors.ts'
import { askNode } from '../client.ts'
import { startDaemon, waitForExit } from '../daemon-program.ts'
import { type Io, print } from '../io.ts'
import { rekeyedShape, shaped, statusShape } from '../shapes.ts'

/** An administrator signs it, who talks with the other machine that has this key in turn; or the disk takes a moment. */
const timeoutMs = 75_000

export function addRekey(program: Command, io: Io): void {
  program
    .command('rekey')
    .description('give this machine a new key, and shut the old one out; the node is started again')
    .action(async () => {
      const { node } = shaped(statusShape, await askNode(io, 'status'), 'status')
      const { peerId } = shaped(rekeyedShape, await askNode(io, 'rekey', {}, timeoutMs), 'rekey')
      await askNode(io, 'stop')
      await waitForExit(node.pid)
      await started(io)
      print(io, `This machine has a new key: ${peerId}`)
      print(io, `The old one is shut out: ${node.peerId}`)
      print(
        io,
        'If another machine has a copy of the old one, it needs a new link: `shoal invite` on one that may invite, `shoal join LINK` there.',
      )
    })
}

/** Where something keeps the node running, that may have been faster. */
async function started(io: Io): Promise<void> {
  try {
    await startDaemon(io)
  } catch (error) {
    if (codeOf(error) !== 'ERR_DAEMON_RUNNING') throw error
  }
}
