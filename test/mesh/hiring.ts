import { randomBytes } from 'node:crypto'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { issueCertificate, type Role } from '../../src/mesh/certificate.ts'
import { type SigningKey, signingKey } from '../../src/mesh/ed25519.ts'
import { createGenesis, type Genesis } from '../../src/mesh/genesis.ts'
import { type Identity, loadIdentity } from '../../src/mesh/identity.ts'
import { Members, serial, signingKeyOf } from '../../src/mesh/members.ts'
import { type Membership, membershipOf } from '../../src/mesh/membership.ts'
import { Roster } from '../../src/mesh/roster.ts'
import { loadRoster, saveRoster } from '../../src/mesh/roster-file.ts'

/** The day on which all meshes of the tests were founded. */
const founded = Date.UTC(2026, 0, 1)

/** A mesh whose root key is its secret: whoever has the membership can let anybody in. */
export function createMembership(init: { name: string; open?: boolean }): Membership {
  const secret = new Uint8Array(randomBytes(32))
  return membershipOf(genesisOf(secret, init), secret, [])
}

export function rootOf({ secret }: Pick<Membership, 'secret'>): SigningKey {
  return signingKey(secret)
}

export function genesisOf(secret: Uint8Array, init: { name: string; open?: boolean }): Genesis {
  const { name, open = false } = init
  return createGenesis({ name, open, nonce: secret.slice(0, 16) }, signingKey(secret), founded)
}

export interface Hire {
  roles?: readonly Role[]
  name?: string
  now?: number
  lifetimeMs?: number
}

/** Makes the node of a state directory a member, unless it is one. */
export async function hire(stateDir: string, membership: Membership, how: Hire = {}): Promise<Identity> {
  const identity = await loadIdentity(stateDir)
  const genesis = genesisOf(membership.secret, membership)
  const now = how.now ?? Date.now()
  const known = await loadRoster(stateDir, Date.now()).catch(() => undefined)
  if (known !== undefined) return identity
  const roster = new Roster(genesis)
  const init = {
    subject: signingKeyOf(identity).publicKey,
    name: how.name ?? 'node',
    roles: how.roles ?? (['member', 'lender', 'inviter', 'admin'] as const),
    serial: serial(),
    ...(how.lifetimeMs === undefined ? {} : { lifetimeMs: how.lifetimeMs }),
  }
  roster.add(issueCertificate({ genesis, key: rootOf(membership) }, init, now).bytes, now)
  await saveRoster(stateDir, roster, now)
  return identity
}

export async function membersOf(stateDir: string, membership: Membership): Promise<Members> {
  const identity = await hire(stateDir, membership)
  return await Members.load({ clock: systemClock, log: silentLogger }, stateDir, identity, membership.id)
}

/** A membership as an argument for another process. */
export function textOf(membership: Membership): string {
  return JSON.stringify({ ...membership, secret: Buffer.from(membership.secret).toString('base64') })
}
