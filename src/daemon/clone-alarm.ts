import type { Members } from '../mesh/members.ts'
import type { Health } from '../watch/health.ts'

/**
 * Says in `status` whose key two machines use, and who has two keys, for as long as that is so.
 * @param self this node's peerId
 * @returns how to stop
 */
export function cloneAlarm(members: Members, self: string, health: Pick<Health, 'raise' | 'clear'>): () => void {
  const look = (): void => {
    const [cloned, rivals] = [members.cloned(), members.rivals()]
    if (cloned.size === 0 && rivals.size === 0) {
      health.clear('ERR_CLONED')
      return
    }
    const views = members.roster.members(members.now)
    const called = (peerIds: ReadonlySet<string>): string[] =>
      views.filter(({ peerId }) => peerIds.has(peerId)).map(({ name, peerId }) => `${name} (${peerId.slice(-8)})`)
    const own = cloned.has(self) ? ['the key of this machine is used by another one, too'] : []
    const others = called(new Set([...cloned].filter((peerId) => peerId !== self)))
    const theirs = others.length === 0 ? [] : [`two machines each use the key of ${others.join(', ')}`]
    const twins =
      rivals.size === 0 ? [] : [`several machines are certified in place of one: ${called(rivals).join(', ')}`]
    const until =
      rivals.size === 0 ? 'until one is re-keyed, neither lends' : 'until one is shut out, none of them lends'
    health.raise('ERR_CLONED', `${[...own, ...theirs, ...twins].join('; ')}; ${until}`, {
      lasting: true,
      ...hintFor(own.length > 0, rivals.size > 0),
    })
  }
  look()
  return members.onChange(look)
}

function hintFor(isOwn: boolean, hasRivals: boolean): { hint?: string } {
  if (hasRivals)
    return {
      hint: 'Ask whose machines they are. An administrator shuts out the one that is not hers: `shoal kick ID`.',
    }
  return isOwn ? { hint: 'Run `shoal rekey` here; the other machine then needs a new link.' } : {}
}
