import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { kickHeirs } from '../mesh/administer.ts'
import type { MemberView } from '../mesh/member-view.ts'
import type { Members } from '../mesh/members.ts'
import type { Health } from '../watch/health.ts'

interface LateKicksNeeds {
  members: Members
  health: Pick<Health, 'raise' | 'clear'>
  log: Logger
}

/** More than a thief has are not worth a line. */
const maxNamed = 10

/**
 * On administrators' nodes: who was certified to come next after a kicked key, by somebody who had not heard of the kick, is shut out as soon as
 * both are known, and the log says so. Who comes after such a one is named in `status`: that can be a thief's doing.
 * @returns how to stop
 */
export function lateKicks({ members, health, log }: LateKicksNeeds): () => void {
  let isLooking = false
  let hasChanged = false
  let isRaised = false
  const tell = (left: readonly MemberView[]): void => {
    if (left.length === 0) {
      if (isRaised) health.clear('ERR_REVOKED')
    } else {
      const names = left.slice(0, maxNamed).map(({ name, peerId }) => `${name} (${peerId.slice(-8)})`)
      const more = left.length > maxNamed ? ` and ${left.length - maxNamed} more` : ''
      health.raise(
        'ERR_REVOKED',
        `still members, by keys that follow one that was shut out: ${names.join(', ')}${more}`,
        {
          lasting: true,
          hint: 'If that is who was shut out: `shoal kick ID`.',
        },
      )
    }
    isRaised = left.length > 0
  }
  const look = async (): Promise<void> => {
    hasChanged = true
    if (isLooking) return
    isLooking = true
    try {
      while (hasChanged) {
        hasChanged = false
        const { kicked, left } = await kickHeirs(members)
        for (const { name, peerId } of kicked) {
          log.warn('a member was shut out: its key was certified in place of one that was kicked', {
            peer: peerId,
            name,
          })
        }
        tell(left)
      }
    } catch (error) {
      const { code, message } = toShoalError(error)
      log.warn('who comes after a kicked key was not shut out', { code, message })
    } finally {
      isLooking = false
    }
  }
  const watch = (): void => void look()
  watch()
  return members.onChange(watch)
}
