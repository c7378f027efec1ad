import type { Members } from '../mesh/members.ts'
import type { Health } from '../watch/health.ts'

/**
 * Says in `status` whose key two machines use, for as long as that is so.
 * @param self this node's peerId
 * @returns how to stop
 */
export function cloneAlarm(members: Members, self: string, health: Pick<Health, 'raise' | 'clear'>): () => void {
  const look = (): void => {
    const cloned = members.cloned()
    if (cloned.size === 0) {
      health.clear('ERR_CLONED')
      return
    }
    const views = members.roster.members(members.now).filter(({ peerId }) => cloned.has(peerId))
    const others = views
      .filter(({ peerId }) => peerId !== self)
      .map(({ name, peerId }) => `${name} (${peerId.slice(-8)})`)
    const own = cloned.has(self) ? ['the key of this machine is used by another one, too'] : []
    const theirs = others.length === 0 ? [] : [`two machines each use the key of ${others.join(', ')}`]
    health.raise('ERR_CLONED', `${[...own, ...theirs].join('; ')}; until one is re-keyed, neither lends`, {
      lasting: true,
      ...(own.length > 0 ? { hint: 'Run `shoal rekey` here; the other machine then needs a new link.' } : {}),
    })
  }
  look()
  return members.onChange(look)
}
