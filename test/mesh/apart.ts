import type { TestContext } from 'node:test'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { type Logger, silentLogger } from '../../src/base/log.ts'
import type { SigningKey } from '../../src/mesh/ed25519.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { Members, peerIdOf, signingKeyOf } from '../../src/mesh/members.ts'
import { Renewal } from '../../src/mesh/renewal.ts'
import { saveRootKey } from '../../src/mesh/root-key.ts'
import { handOver } from '../../src/mesh/succession.ts'
import { certifySuccessor } from '../../src/mesh/successor.ts'
import { afterwards, temporaryDirectory } from './fixture.ts'
import { createMembership, type Hire, hire } from './hiring.ts'
import { inviting, plain } from './office.ts'

/** A key that nobody has seen. */
export const newKey = async (t: TestContext): Promise<SigningKey> =>
  signingKeyOf(await loadIdentity(await temporaryDirectory(t)))

/** Two administrators that do not hear each other, the machine of ivy, an inviter, and that of bob. */
export async function apart(t: TestContext, clock: Clock = systemClock) {
  const membership = createMembership({ name: 'office' })
  const make = async (how: Hire & { root?: true } = {}): Promise<Members> => {
    const dir = await temporaryDirectory(t)
    const identity = await hire(dir, membership, how)
    if (how.root) await saveRootKey(dir, membership.secret)
    const members = await Members.load({ clock, log: silentLogger }, dir, identity, membership.id)
    afterwards(t, () => members.saved())
    return members
  }
  const [ann, bea, ivy] = [await make(), await make(), await make({ roles: inviting, name: 'ivy' })]
  const bob = await make({ roles: plain, name: 'bob' })
  for (const admin of [ann, bea]) admin.take([ann, bea, ivy, bob].map((one) => one.own().bytes))
  /** Has a key that nobody has seen follow one. */
  const follow = async (by: Members, old: Members['signer']) => {
    const next = await newKey(t)
    const consent = handOver(meshKeyOf(by.genesis), old, next.publicKey)
    await certifySuccessor(by, next.publicKey, consent)
    return next
  }
  return { membership, make, ann, bea, ivy, bob, follow }
}

/** They tell each other all that they know. */
export const meet = (a: Members, b: Members): void => {
  a.take(b.roster.bytesOf(b.roster.ids(b.now)))
  b.take(a.roster.bytesOf(a.roster.ids(a.now)))
}

/** What a node does about certificates while it is connected with these. */
export function renewalOf(
  members: Members,
  clock: Clock,
  peers: readonly Uint8Array[],
  more: { log?: Logger; send?: () => boolean } = {},
): Renewal {
  const needs = { clock, random: () => 0, log: silentLogger, members, send: () => false, ...more }
  return new Renewal({ ...needs, peers: () => peers.map(peerIdOf) })
}
