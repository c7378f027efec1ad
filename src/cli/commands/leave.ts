import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { codeOf, foreignText, ShoalError } from '../../base/errors.ts'
import { askNode } from '../client.ts'
import { confirmed } from '../confirm.ts'
import { daemonOnce, waitForExit } from '../daemon-program.ts'
import { type Io, note, print } from '../io.ts'
import { farewellShape, leftShape, type Status, shaped, statusShape } from '../shapes.ts'

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
        if (!existsSync(join(io.paths.state, 'mesh.json')))
          throw new ShoalError('ERR_NO_MESH', 'this machine belongs to no mesh: there is nothing to leave')
        note(io, 'The node is not running, so the others will not hear of it. Better first: shoal up')
        const isSure = yes || (await confirmed(io, 'Leave all the same?', 'Say --yes to leave without being asked.'))
        if (isSure) await forget(io)
        return
      }
      const { node, mesh } = shaped(statusShape, status, 'status')
      const doubts = yes ? [] : doubtsOf(node, mesh)
      for (const line of doubts) note(io, line)
      const hint = 'Say --yes to leave without being asked.'
      if (doubts.length > 0 && !(await confirmed(io, 'Leave all the same?', hint))) return
      const { told } = shaped(farewellShape, await askNode(io, 'leave', {}, waitMs), 'leave')
      if (told === 0 && (mesh.members ?? 1) > 1)
        note(
          io,
          `Nobody was connected, so the others have not heard of it. An administrator can say so: shoal kick ${foreignText(node.name)}`,
        )
      await askNode(io, 'stop')
      await waitForExit(node.pid)
      await forget(io)
    })
}

/** Longer than a node waits for somebody to tell. */
const waitMs = 60_000

/** What a person should know before it is too late. */
function doubtsOf(node: Status['node'], mesh: Status['mesh']): string[] {
  const isLast = mesh.isAdmin === true && mesh.admins === 1 && (mesh.members ?? 2) > 1
  return [
    ...(isLast
      ? [
          `This machine is the only administrator of ${foreignText(mesh.name)}. Without it nobody can be promoted or shut out,`,
          'and within a month nobody can be let in. Better first: shoal promote NAME',
        ]
      : []),
    ...(node.cloned === true
      ? [
          'Another machine has a copy of the key of this one. Once this one has left, that one is shut out as well, for ever.',
          'If it is to stay, better first, on that machine: shoal rekey. Then leave here.',
        ]
      : []),
  ]
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
