import { heirsOfKicked } from '../mesh/heirs.ts'
import type { Members } from '../mesh/members.ts'
import type { Health } from '../watch/health.ts'

interface HeirsAlarmNeeds {
  members: Members
  health: Pick<Health, 'raise' | 'clear'>
}

/** More than a thief has are not worth a line. */
const maxNamed = 10
/** Whoever floods a mesh with statements does not have them looked at each time. */
const restMs = 1000

/**
 * Says in `status` of administrators who is a member by a key that was certified to come after a kicked one, by somebody who had not heard of
 * the kick: it can be the one who was kicked, or an honest one whom a thief wants to be. @returns how to stop
 */
export function heirsAlarm({ members, health }: HeirsAlarmNeeds): () => void {
  let isRaised = false
  let timer: NodeJS.Timeout | undefined
  const look = (): void => {
    timer = undefined
    const heirs = heirsOfKicked(members)
    if (heirs.length > 0) {
      const names = heirs.slice(0, maxNamed).map(({ name, peerId }) => `${name} (${peerId.slice(-8)})`)
      const more = heirs.length > maxNamed ? ` and ${heirs.length - maxNamed} more` : ''
      const text = `still members, by keys that follow one that was shut out: ${names.join(', ')}${more}`
      health.raise('ERR_REVOKED', text, { lasting: true, hint: 'If that is who was shut out: `shoal kick ID`.' })
    } else if (isRaised) health.clear('ERR_REVOKED')
    isRaised = heirs.length > 0
  }
  const later = (): void => {
    timer ??= setTimeout(look, restMs).unref()
  }
  look()
  const stop = members.onChange(later)
  return () => {
    stop()
    clearTimeout(timer)
  }
}

/**
 * Says in `status` that this node was shut out, from the moment when it hears that: nothing undoes it.
 * @returns how to stop
 */
export function memberAlarm(members: Members, health: Pick<Health, 'raise'>): () => void {
  const look = (): void => {
    const objection = members.objectionToSelf()
    if (objection?.code !== 'ERR_REVOKED') return
    health.raise('ERR_REVOKED', `this machine is no member any more: ${objection.message}`, { lasting: true })
  }
  look()
  return members.onChange(look)
}
