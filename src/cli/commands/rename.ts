import type { Command } from 'commander'
import { foreignText } from '../../base/errors.ts'
import { askNode } from '../client.ts'
import { type Io, print } from '../io.ts'
import { renamedShape, shaped } from '../shapes.ts'

export function addRename(program: Command, io: Io): void {
  program
    .command('rename')
    .description('give this machine another name in the mesh')
    .argument('<name>', 'what the other members see')
    .action(async (name: string) => {
      const renamed = shaped(renamedShape, await askNode(io, 'rename', { name }), 'rename')
      print(io, `This machine is called ${foreignText(renamed.name)} now.`)
    })
}
