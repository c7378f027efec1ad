import { systemClock } from '../base/clock.ts'
import { ShoalError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { readMultiaddr } from '../mesh/addresses.ts'
import type { SigningKey } from '../mesh/ed25519.ts'
import type { Identity } from '../mesh/identity.ts'
import { signingKeyOf } from '../mesh/members.ts'
import { type Membership, membershipOf } from '../mesh/membership.ts'
import { rootFromPhrase } from '../mesh/recovery.ts'
import { makeAdministrator, restoreMesh } from '../mesh/restore.ts'
import { saveRootKey } from '../mesh/root-key.ts'
import type { Roster } from '../mesh/roster.ts'
import { sameBytes } from '../mesh/statement.ts'
import { adopt, anotherMesh, become, knownMesh, others, readableRoster } from './adopt.ts'

export interface Recovered {
  /** Members that have said what the mesh is; 0 when this machine still knew it. */
  heard: number
  /** What administrators besides this machine are called: some of them may be lost. */
  admins: string[]
}

interface Found {
  membership: Membership
  roster: Roster
  heard: number
  /** This machine's key. */
  self: Uint8Array
}

/**
 * Makes this machine an administrator of the mesh of which it is told the recovery phrase: of its own mesh, or of one that it asks the
 * members of. Nothing is founded.
 * @param init.members multiaddrs of members; none: what this machine knows, else whoever is heard on the local network
 * @param init.name what other members see
 * @throws ShoalError ERR_RECOVERY_PHRASE; ERR_OTHER_MESH when this machine belongs to another mesh; ERR_USAGE for an address that is none;
 *   as `restoreMesh`
 */
export async function recoverMesh(
  stateDir: string,
  identity: Identity,
  init: { phrase: string; members: readonly string[]; name: string },
  onNewKey: () => void,
): Promise<{ membership: Membership; recovered: Recovered }> {
  const { seed, key: root } = rootFromPhrase(init.phrase)
  const addresses = init.members.map((text) => {
    const address = readMultiaddr(text)
    if (address !== undefined) return address
    throw new ShoalError('ERR_USAGE', `${JSON.stringify(text)} is no address of a member`, {
      hint: '`shoal status` shows them on each machine: /ip4/ADDRESS/tcp/PORT/p2p/ID.',
    })
  })
  const known = await knownMesh(stateDir)
  const own = known === undefined ? undefined : await readableRoster(stateDir)
  const find = async (as: Identity): Promise<Found> => {
    // Who is told whom to ask may have to learn that this key was shut out meanwhile.
    const isAlone = addresses.length === 0
    if (known !== undefined && own !== undefined && isAlone) return stillHere(known, own, root, as, init.name)
    const needs = { clock: systemClock, log: silentLogger, identity: as }
    const { genesis, secret, roster, seeds, heard } = await restoreMesh(needs, root, addresses, init.name)
    return { membership: membershipOf(genesis, secret, seeds), roster, heard, self: signingKeyOf(as).publicKey }
  }
  const keep = async ({ membership, roster }: Found): Promise<void> => {
    if (known !== undefined && known.id !== membership.id) throw anotherMesh(known)
    await adopt(stateDir, membership, roster)
    await saveRootKey(stateDir, seed)
  }
  const { membership, roster, heard, self } = await become(stateDir, identity, { join: find, keep, onNewKey })
  return { membership, recovered: { heard, admins: otherAdmins(roster, self) } }
}

function stillHere(known: Membership, roster: Roster, root: SigningKey, as: Identity, name: string): Found {
  if (!sameBytes(roster.genesis.body.root, root.publicKey)) throw anotherMesh(known)
  const self = signingKeyOf(as).publicKey
  makeAdministrator(roster, root, self, name, systemClock.wall())
  return { membership: known, roster, heard: 0, self }
}

/** What administrators besides one machine are called. A next key of its own, which waits for its next start, is no other one. */
export function otherAdmins(roster: Roster, self: Uint8Array): string[] {
  return others(roster, self).flatMap(({ roles, name }) => (roles.includes('admin') ? [name] : []))
}
