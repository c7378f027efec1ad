import { systemClock } from '../base/clock.ts'
import { ShoalError } from '../base/errors.ts'
import { loadIdentity } from '../mesh/identity.ts'
import { signingKeyOf } from '../mesh/members.ts'
import { rootFromPhrase } from '../mesh/recovery.ts'
import { rootKeyFiles } from '../mesh/root-key.ts'
import { loadRoster } from '../mesh/roster-file.ts'
import { sameBytes } from '../mesh/statement.ts'
import { removeDurably } from '../store/durable.ts'
import { anotherMesh, knownMesh } from './adopt.ts'
import { otherAdmins } from './recover-mesh.ts'

export interface ForgottenRoot {
  mesh: { id: string; name: string; open: boolean }
  /** The files that were removed; none when it was not here any more. */
  removed: string[]
  /** What other administrators are called. */
  admins: string[]
}

/**
 * Takes the root key of this machine's mesh off its disk: whoever has the disk could otherwise come back after any kick. Only who shows
 * the recovery phrase may, because from then on there is nothing else, and only while there is another administrator.
 * @throws ShoalError ERR_RECOVERY_PHRASE; ERR_NO_MESH; ERR_OTHER_MESH for the words of another mesh; ERR_ROLE for the only administrator; as
 *   `loadRoster`
 */
export async function forgetRoot(stateDir: string, phrase: string): Promise<ForgottenRoot> {
  const { key } = rootFromPhrase(phrase)
  const mesh = await knownMesh(stateDir)
  if (mesh === undefined) throw new ShoalError('ERR_NO_MESH', 'this machine belongs to no mesh')
  const roster = await loadRoster(stateDir, systemClock.wall())
  if (!sameBytes(roster.genesis.body.root, key.publicKey)) throw anotherMesh(mesh)
  const admins = otherAdmins(roster, signingKeyOf(await loadIdentity(stateDir)).publicKey)
  if (admins.length === 0) {
    throw new ShoalError('ERR_ROLE', 'this machine is the only administrator', {
      hint: 'Promote another one first: `shoal promote NAME`.',
    })
  }
  const { id, name, open } = mesh
  const removed = await rootKeyFiles(stateDir, key.publicKey)
  for (const file of removed) await removeDurably(file)
  return { mesh: { id, name, open }, removed, admins }
}
