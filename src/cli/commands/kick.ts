import type { Command } from 'commander'
import { foreignText } from '../../base/errors.ts'
import { askNode } from '../client.ts'
import { type Io, print, printJson } from '../io.ts'
import { counted } from '../render.ts'
import { kickedShape, shaped } from '../shapes.ts'

/** Of those who are out as well so many are named. */
const maxNamed = 10

const some = (names: readonly string[]): string => names.slice(0, maxNamed).map(foreignText).join(', ')
const ends = (peerIds: readonly string[]): string => peerIds.map((peerId) => foreignText(peerId).slice(-8)).join(', ')

export function addKick(program: Command, io: Io): void {
  program
    .command('kick')
    .description('shut a member out, everywhere and for ever')
    .argument('<member>', 'its name, or the id that `shoal peers` shows')
    .option('--issued', 'also everybody whom it has let in')
    .option('--json', 'as JSON')
    .action(async (member: string, options: { issued?: true; json?: true }) => {
      const params = { member, issued: options.issued ?? false }
      const kicked = shaped(kickedShape, await askNode(io, 'kick', params), 'kick')
      if (options.json) return printJson(io, kicked)
      print(io, `${foreignText(kicked.name)} is shut out. ${counted(kicked.told, 'connected member')} know it already.`)
      const { others, left } = kicked
      if (others.length > 0)
        print(io, `With it ${counted(others.length, 'other key')} of its own went: ${ends(others)}.`)
      if (left.length > 0 && options.issued === true)
        print(
          io,
          `Still in, with whom it has let in: ${counted(left.length, 'member')}, such as ${ends(left.slice(0, maxNamed))}. To shut one out too: \`shoal kick ID\`.`,
        )
      else if (left.length > 0)
        print(
          io,
          `Still a member by ${counted(left.length, 'other key')}: ${ends(left)}. To shut that out too: \`shoal kick ID\`.`,
        )
      if (kicked.lost.length > 0) {
        const lost = counted(kicked.lost.length, 'other member')
        print(io, `With it ${lost} went for whom this machine cannot sign: ${some(kicked.lost)}. Invite them again.`)
      }
      if (kicked.guests.length > 0) {
        const guests = counted(kicked.guests.length, 'member')
        print(io, `Whom it has let in stays: ${guests}, ${some(kicked.guests)}. To shut them out too:`)
        print(io, `  shoal kick --issued ${kicked.peerId}`)
      }
      if (kicked.open) print(io, 'The mesh is open: who is on a network of it can come in again, under another key.')
      if (kicked.keptRoot) {
        print(
          io,
          'It has the root key of the mesh on its disk, unless that was taken away (shoal init --forget-root): who can read it can come back under a new key, and shut out others.',
        )
        print(
          io,
          'If it is in foreign hands, all of you need another mesh: shoal leave, then shoal init and shoal join.',
        )
      }
    })
}
