import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { kickHeirs } from '../mesh/administer.ts'
import type { Members } from '../mesh/members.ts'

interface LateKicksNeeds {
  members: Members
  log: Logger
}

/**
 * On administrators' nodes: whoever was certified to come after a kicked key, by somebody who had not heard of the kick, is shut out as soon
 * as both are known, and the log says so.
 * @returns how to stop
 */
export function lateKicks({ members, log }: LateKicksNeeds): () => void {
  let isLooking = false
  let hasChanged = false
  const look = async (): Promise<void> => {
    hasChanged = true
    if (isLooking) return
    isLooking = true
    try {
      while (hasChanged) {
        hasChanged = false
        for (const { name, peerId } of await kickHeirs(members)) {
          log.warn('a member was shut out: its key was certified in place of one that was kicked', {
            peer: peerId,
            name,
          })
        }
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
