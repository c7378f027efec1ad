import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { loadNextIdentity } from '../mesh/identity.ts'
import type { Members } from '../mesh/members.ts'
import type { Health } from '../watch/health.ts'

interface NextKeyAlarmNeeds {
  members: Members
  health: Pick<Health, 'raise' | 'clear'>
  log: Logger
  /** Where keys lie. */
  stateDir: string
}

/**
 * Says in `status`, and so in `doctor`, that a key was certified in place of this node's, which gets no new dates: its own next key, when
 * `rekey` had given up before the certificate came; or that of another machine, which has a copy of this one's.
 * @returns how to stop
 */
export function nextKeyAlarm({ members, health, log, stateDir }: NextKeyAlarmNeeds): () => void {
  const look = async (): Promise<void> => {
    if (members.heirs().length === 0) {
      health.clear('ERR_FOLLOWED')
      return
    }
    const own = (await loadNextIdentity(stateDir))?.peerId
    // Read again: by now it can be another one.
    const heirs = members.heirs()
    const others = heirs.filter((peerId) => peerId !== own)
    if (heirs.length === 0) health.clear('ERR_FOLLOWED')
    else if (others.length === 0) {
      health.raise('ERR_FOLLOWED', 'the next key of this machine is certified, and the one in use gets no new dates', {
        lasting: true,
        hint: 'Run `shoal rekey`: the node is started again, with the new key.',
      })
    } else {
      const text = `another machine was certified in place of this one, which gets no new dates: ${others.join(', ')}`
      health.raise('ERR_FOLLOWED', text, {
        lasting: true,
        hint: 'It has a copy of this key. An administrator shuts it out, `shoal kick ID`; then run `shoal rekey` here.',
      })
    }
  }
  const watch = (): void => {
    look().catch((error: unknown) => {
      const { code, message } = toShoalError(error)
      log.warn('it is not known whether a next key waits', { code, message })
    })
  }
  watch()
  return members.onChange(watch)
}
