import type { Command } from 'commander'
import { foreignText } from '../../base/errors.ts'
import { daemonOnce } from '../daemon-program.ts'
import { type Io, print, printJson } from '../io.ts'
import { type Membership, membershipShape, shaped } from '../shapes.ts'

interface InitOptions {
  name?: string
  mesh?: string
  openLan?: true
  yes?: true
  json?: true
}

export function addInit(program: Command, io: Io): void {
  program
    .command('init')
    .description('set this machine up: an identity, a mesh of its own, the shim; safe to repeat')
    .option('--name <name>', 'what other members see; default: the host name')
    .option('--mesh <name>', 'what the mesh is called')
    .option('--open-lan', 'admit whoever finds the mesh on the local network')
    .option('--yes', 'ask nothing (for scripts)')
    .option('--json', 'the answer as JSON')
    .action(async (options: InitOptions) => {
      const answer = await daemonOnce(io, {
        action: 'init',
        ...(options.name === undefined ? {} : { name: options.name }),
        ...(options.mesh === undefined ? {} : { meshName: options.mesh }),
        openLan: options.openLan ?? false,
      })
      const membership = shaped(membershipShape, answer, 'init')
      if (options.json) return printJson(io, membership)
      printMembership(io, membership, `This machine belongs to the mesh ${foreignText(membership.mesh.name)}.`)
      if (membership.phrase !== undefined) printPhrase(io, membership.phrase)
      if (options.openLan) print(io, 'The mesh is open: whoever finds it on the local network is admitted.')
    })
}

function printPhrase(io: Io, phrase: string): void {
  const words = phrase.split(' ')
  print(io, 'Recovery phrase of this mesh. Write it down on paper; it is not shown again:')
  for (let at = 0; at < words.length; at += 6) print(io, `  ${words.slice(at, at + 6).join(' ')}`)
}

export function printMembership(io: Io, { touched, shim }: Membership, headline: string): void {
  print(io, headline)
  for (const file of touched) print(io, `  wrote ${file}`)
  print(io, `  shim  ${shim}`)
  print(io, 'Next: `shoal up` starts the node, `shoal build` (or `eval "$(shoal env)"`, then cargo) uses it.')
}
