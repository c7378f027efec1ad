import type { Logger } from '../base/log.ts'
import type { Members } from '../mesh/members.ts'
import { mayEnd } from '../mesh/successor.ts'
import type { Health } from '../watch/health.ts'

interface FallenAlarmNeeds {
  members: Members
  health: Pick<Health, 'raise' | 'clear'>
  log: Logger
}

/**
 * Says in the log and in `status` of administrators who would be a member, had not somebody who did not know of a kick let that key follow the
 * one that was kicked: it can be a thief's, or that of a machine that is to stay.
 * @returns how to stop
 */
export function fallenAlarm({ members, health, log }: FallenAlarmNeeds): () => void {
  const told = new Set<string>()
  let isRaised = false
  const look = (): void => {
    const isAdministrator = members.objectionToSelf() === undefined && mayEnd(members)
    const views = isAdministrator ? members.roster.fallen(members.now).map(({ view }) => view) : []
    for (const { peerId, name } of views) {
      if (told.has(peerId)) continue
      told.add(peerId)
      log.warn('a key does not count, because it follows one that was kicked', {
        code: 'ERR_REVOKED',
        peer: peerId,
        name,
      })
    }
    if (views.length > 0) {
      const names = views.map(({ name, peerId }) => `${name} (${peerId.slice(-8)})`)
      health.raise(
        'ERR_REVOKED',
        `certified in place of a key that was shut out, and therefore no member: ${names.join(', ')}`,
        {
          lasting: true,
          hint: 'So that it stays out: `shoal kick ID`. For a machine that is to be a member: `shoal invite`.',
        },
      )
    } else if (isRaised) health.clear('ERR_REVOKED')
    isRaised = views.length > 0
  }
  look()
  return members.onChange(look)
}
