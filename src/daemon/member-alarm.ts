import type { Members } from '../mesh/members.ts'
import type { Health } from '../watch/health.ts'

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
