import type { Command } from 'commander'
import { codeOf, foreignText } from '../../base/errors.ts'
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
      const status = await askNode(io, 'status').catch((error: unknown) => {
        if (codeOf(error) !== 'ERR_DAEMON_DOWN') throw error
        return undefined
      })
      if (status === undefined) {
        note(io, 'The node is not running, so the others will not hear of it. Better first: shoal up')
        const isSure = yes || (await confirmed(io, 'Leave all the same?', 'Say --yes to leave without being asked.'))
        if (isSure) await forget(io)
        return
      }
      const { node, mesh } = shaped(statusShape, status, 'status')
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
      await forget(io)
    })
}

async function forget(io: Io): Promise<void> {
  const { touched, rootKey } = shaped(leftShape, await daemonOnce(io, { action: 'leave' }), 'leave')
  print(io, 'This machine belongs to no mesh any more.')
  for (const file of touched) print(io, `  removed ${file}`)
  if (typeof rootKey !== 'string') return
  print(io, `  kept    ${rootKey}`)
  print(
    io,
    'That is the root key of the mesh: who has it can do everything there. Remove it once the recovery phrase is on paper.',
  )
}
