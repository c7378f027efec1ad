import { randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { issueCertificate } from './certificate.ts'
import { seedBytes, signingKey } from './ed25519.ts'
import { createGenesis } from './genesis.ts'
import type { Identity } from './identity.ts'
import { serial, signingKeyOf } from './members.ts'
import { type Membership, membershipOf, saveMembership, secretBytes } from './membership.ts'
import { phraseOf } from './recovery.ts'
import { saveRootKey } from './root-key.ts'
import { Roster } from './roster.ts'
import { saveRoster } from './roster-file.ts'

export interface Founded {
  membership: Membership
  /** The root key as 24 words: to be shown once, and written down nowhere by this program. */
  phrase: string
}

/**
 * Makes a mesh with this node as its first administrator, and writes it to the state directory: root key, roster, membership.
 * @param init.name what the mesh is called; 1 to 64 bytes, as `init.nodeName`
 * @throws the system's own errors
 */
export async function foundMesh(
  clock: Clock,
  stateDir: string,
  identity: Identity,
  init: { name: string; nodeName: string; open: boolean },
): Promise<Founded> {
  const now = clock.wall()
  const seed = new Uint8Array(randomBytes(seedBytes))
  const root = signingKey(seed)
  const genesis = createGenesis({ name: init.name, open: init.open, nonce: serial() }, root, now)
  const roster = new Roster(genesis)
  const certificate = issueCertificate(
    { genesis, key: root },
    {
      subject: signingKeyOf(identity).publicKey,
      name: init.nodeName,
      roles: ['member', 'lender', 'inviter', 'admin'],
      serial: serial(),
    },
    now,
  )
  roster.add(certificate.bytes, now)
  const membership = membershipOf(genesis, new Uint8Array(randomBytes(secretBytes)), [])
  // The membership last: where it lies, everything else does.
  await saveRootKey(stateDir, seed)
  await saveRoster(stateDir, roster, now)
  await saveMembership(stateDir, membership)
  return { membership, phrase: phraseOf(seed) }
}
