import type { Command } from 'commander'
import { askNode } from '../client.ts'
import { type Io, print, printJson } from '../io.ts'
import { duration, table } from '../render.ts'
import { type Peers, peersShape, shaped } from '../shapes.ts'

export function addPeers(program: Command, io: Io): void {
  program
    .command('peers')
    .description('the other members, as this node sees them')
    .option('--json', 'as JSON')
    .action(async (options: { json?: true }) => {
      const answer = shaped(peersShape, await askNode(io, 'peers'), 'peers')
      if (options.json) return printJson(io, answer)
      for (const line of peerLines(answer)) print(io, line)
    })
}

/** The one that says most. */
function roleOf(roles: readonly string[]): string {
  return ['admin', 'inviter', 'ci', 'member'].find((role) => roles.includes(role)) ?? '-'
}

/** What matters most about it now. */
function stateOf({ cloned, connected, trust }: Peers['peers'][number]): string {
  if (trust?.isLiar) return 'liar'
  if (cloned === true) return 'cloned'
  return connected ? 'connected' : 'away'
}

function peerLines({ peers }: Peers): string[] {
  if (peers.length === 0) return ['No other members yet. `shoal invite` prints a link that lets one join.']
  const rows = peers.map((peer) => [
    peer.name,
    stateOf(peer),
    roleOf(peer.roles),
    peer.rttMs === undefined || peer.rttMs === null ? '-' : `${peer.rttMs.toFixed(1)} ms`,
    peer.slots === undefined || peer.slots === null ? '-' : String(peer.slots),
    peer.tier ?? '-',
    duration(peer.lentMs),
    duration(peer.borrowedMs),
    peer.peerId.slice(-8),
  ])
  const caught = peers.flatMap(({ name, trust }) => {
    if (!trust?.isLiar) return []
    const packages = trust.lies.map((lie) => lie.package).join(', ')
    return [`${name}: nothing of it is used. It gave something else than comes out here for ${packages}.`]
  })
  const lines = table(['NAME', 'STATE', 'ROLE', 'RTT', 'SLOTS', 'TIER', 'LENT', 'BORROWED', 'ID'], rows)
  return caught.length === 0 ? lines : [...lines, '', ...caught]
}
