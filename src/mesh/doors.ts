import { randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import type { Greeted } from './clone-watch.ts'
import type { Encrypter } from './encryption.ts'
import { JoinDesk } from './join-desk.ts'
import { memberEncrypter, type Refusal } from './member-encrypter.ts'
import type { Members } from './members.ts'
import { type Membership, prologueOf } from './membership.ts'
import { restoreDesk } from './restore-desk.ts'

export interface DoorsNeeds {
  clock: Clock
  log: Logger
  members: Members
  /** A member has come in, or let this node in. */
  onGreeted?(greeted: Greeted): void
}

/** The ways into a node: for members, which is also how it dials, for newcomers with an invitation, for who has the root key. */
export function doors(needs: DoorsNeeds, { secret }: Pick<Membership, 'secret'>): Encrypter[] {
  const { clock, log, members, onGreeted } = needs
  const member = memberEncrypter({
    clock,
    prologue: prologueOf(secret),
    boot: new Uint8Array(randomBytes(16)),
    certificate: () => members.own().bytes,
    admit: (certificate, remote) => members.admit(certificate, remote),
    onRefused: reporter(log),
    ...(onGreeted === undefined ? {} : { onGreeted }),
  })
  const desk = { clock, log, members, secret }
  return [member, new JoinDesk(desk).encrypter(), restoreDesk(desk)]
}

/** Says of each peer once why it is not let in, or does not let this node in. */
function reporter(log: Logger): (refusal: Refusal) => void {
  const said = new Map<string, string>()
  const maxSaid = 256
  return ({ direction, peerId, by, error: { code, message } }) => {
    const fields = { peer: peerId, direction, code, message }
    if (said.get(peerId) === by + code) {
      log.debug('connection refused again', fields)
      return
    }
    if (said.size >= maxSaid) said.clear()
    said.set(peerId, by + code)
    if (by === 'there') log.warn('a member refuses this node', fields)
    else log.info('connection refused', fields)
  }
}
