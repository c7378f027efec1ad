import { endOfMesh } from '../mesh/ending.ts'
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
    // Then there is something else to say of that kind, and nothing to do here.
    if (isShutOut(members)) return
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

const isShutOut = (members: Members): boolean => members.objectionToSelf()?.code === 'ERR_REVOKED'

/**
 * Says in `status` that this node was shut out, from the moment when it hears that, unless the root takes it back.
 * @returns how to stop
 */
export function memberAlarm(members: Members, health: Pick<Health, 'raise' | 'clear'>): () => void {
  let isRaised = false
  const look = (): void => {
    const wasRaised = isRaised
    isRaised = isShutOut(members)
    if (isRaised === wasRaised) return
    const why = members.objectionToSelf()?.message ?? ''
    if (isRaised) health.raise('ERR_REVOKED', `this machine is no member any more: ${why}`, { lasting: true })
    else health.clear('ERR_REVOKED')
  }
  look()
  return members.onChange(look)
}

const hourMs = 3_600_000

/**
 * Says in `status` that the mesh is going to end, for its last month: where the root key was taken off the disks, or lost, nothing else brings it back
 * to mind. @returns how to stop
 */
export function endAlarm({ members, health }: HeirsAlarmNeeds): () => void {
  let isRaised = false
  const look = (): void => {
    // With a slow clock nothing is valid yet.
    const isEarly = members.objectionToSelf()?.code === 'ERR_NOT_YET_VALID'
    const end = isShutOut(members) || isEarly ? undefined : endOfMesh(members)
    if (end !== undefined && !isRaised) {
      const day = new Date(end).toISOString().slice(0, 10)
      health.raise(
        'ERR_CHAIN_LENGTH',
        `from ${day} on no administrator has a certificate of the root key, and the mesh ends within a month`,
        {
          lasting: true,
          hint: 'Start the machine that has the root key; or type the recovery phrase on one, `shoal init --recover`.',
        },
      )
    } else if (end === undefined && isRaised) health.clear('ERR_CHAIN_LENGTH')
    isRaised = end !== undefined
  }
  look()
  const timer = setInterval(look, hourMs).unref()
  const stop = members.onChange(look)
  return () => {
    stop()
    clearInterval(timer)
  }
}
