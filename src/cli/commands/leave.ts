import type { Command } from 'commander'
import { foreignText } from '../../base/errors.ts'
import { askNode } from '../client.ts'
import { confirmed } from '../confirm.ts'
import { daemonOnce, waitForExit } from '../daemon-program.ts'
import { type Io, note, print } from '../io.ts'
import { leftShape, shaped, statusShape } from '../shapes.ts'

export function addLeave(program: Command, io: Io): void {
  program
    .command('leave')
    .description('take this machine out of its mesh for good: the others are told, and its key is destroyed')
    .option('--yes', 'ask nothing (for scripts)')
    .action(async ({ yes }: { yes?: true }) => {
      const { node, mesh } = shaped(statusShape, await askNode(io, 'status'), 'status')
      if (mesh.isAdmin && mesh.admins === 1 && !yes) {
        note(
          io,
          `This machine is the only administrator of ${foreignText(mesh.name)}. Without it nobody can be promoted or shut out,`,
        )
        note(io, 'and within a month nobody can be let in. Better first: shoal promote NAME')
        if (!(await confirmed(io, 'Leave all the same?', 'Say --yes to leave without being asked.'))) return
      }
      await askNode(io, 'leave')
      await askNode(io, 'stop')
      await waitForExit(node.pid)
      const { touched } = shaped(leftShape, await daemonOnce(io, { action: 'leave' }), 'leave')
      print(io, 'This machine belongs to no mesh any more.')
      for (const file of touched) print(io, `  removed ${file}`)
    })
}
