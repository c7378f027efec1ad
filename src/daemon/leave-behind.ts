import { systemClock } from '../base/clock.ts'
import { ShoalError } from '../base/errors.ts'
import { meshKeyOf } from '../mesh/genesis.ts'
import { loadIdentity } from '../mesh/identity.ts'
import { signingKeyOf } from '../mesh/members.ts'
import { sameBytes } from '../mesh/statement.ts'
import { knownMesh, others, readableRoster } from './adopt.ts'
import type { Person } from './join-network.ts'

/**
 * Asks before the only administrator of a mesh goes into another: nobody could be let in or shut out there any more, and nobody is told.
 * @param target the first 16 bytes of the id of the mesh that is joined, where that is known
 * @throws ShoalError ERR_USAGE when the person does not want that
 */
export async function agreeToLeave(stateDir: string, target: Uint8Array | undefined, person: Person): Promise<void> {
  const known = await knownMesh(stateDir)
  const roster = known === undefined ? undefined : await readableRoster(stateDir)
  if (known === undefined || roster === undefined) return
  if (target !== undefined && sameBytes(target, meshKeyOf(roster.genesis))) return
  const self = signingKeyOf(await loadIdentity(stateDir)).publicKey
  const members = roster.members(systemClock.wall())
  const behind = others(roster, self)
  const isAdmin = members.some(({ key, roles }) => sameBytes(key, self) && roles.includes('admin'))
  if (!isAdmin || behind.length === 0 || behind.some(({ roles }) => roles.includes('admin'))) return
  if (await person.agrees({ word: 'leaves', mesh: known.name, members: behind.length })) return
  throw new ShoalError('ERR_USAGE', `this machine still belongs to ${known.name}`, {
    hint: 'Let somebody else administer that first: `shoal up`, `shoal promote NAME`, `shoal leave`.',
  })
}
