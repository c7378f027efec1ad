import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type MembershipCommands, membershipCommands } from '../../src/daemon/membership-commands.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { type Members, peerIdOf, serial } from '../../src/mesh/members.ts'
import type { Mesh } from '../../src/mesh/mesh.ts'
import { apart, newKey } from '../mesh/apart.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'
import { createMembership, membersOf } from '../mesh/hiring.ts'
import { plain } from '../mesh/office.ts'

/** The commands of a node that is connected with these, and goes on being so. */
async function commandsOf(t: TestContext, members: Members, ...others: Members[]): Promise<MembershipCommands> {
  const up = { connected: true, suspect: false, unknownFrames: 0, addresses: [] }
  const peers = () => others.map(({ key }) => ({ peerId: peerIdOf(key), name: 'x', ...up }))
  const mesh: Pick<Mesh, 'members' | 'peerId' | 'peers'> = { members, peerId: peerIdOf(members.key), peers }
  return membershipCommands({ mesh: mesh as Mesh, stateDir: await temporaryDirectory(t) })
}

test('who kicks is told whom it leaves in, and that a machine with the root key can come back', async (t) => {
  const { ann, ivy } = await apart(t)
  const { kick } = await commandsOf(t, ann)
  const guest = await newKey(t)
  const init = { subject: guest.publicKey, name: 'guest', roles: plain, serial: serial() }
  ann.take([issueCertificate(ivy.issuer(), init, ann.now).bytes])
  const carl = await newKey(t)
  const hired = { subject: carl.publicKey, name: 'carl', roles: plain, serial: serial() }
  ann.take([issueCertificate(ann.issuer(), hired, ann.now).bytes])

  const first = await kick({ member: 'ivy', issued: false })
  assert.deepEqual([first.guests, first.keptRoot], [['guest'], true])
  const issued = await kick({ member: first.peerId, issued: true })
  assert.deepEqual(issued.guests, [])
  assert.notEqual(ann.objectionTo(peerIdOf(guest.publicKey)), undefined)
  const other = await kick({ member: 'carl', issued: false })
  assert.deepEqual([other.guests, other.keptRoot], [[], false])
})

test('of those who know of a kick, who is kicked is none, though still there to hear it', async (t) => {
  const { ann, bea, bob } = await apart(t)
  const { kick } = await commandsOf(t, ann, bea, bob)
  const { told, open } = await kick({ member: 'bob', issued: false })
  assert.deepEqual([told, open], [1, false])
})

test('who kicks somebody out of an open mesh is told that it is open', async (t) => {
  const dir = await temporaryDirectory(t)
  const members = await membersOf(dir, createMembership({ name: 'hall', open: true }))
  const { kick } = await commandsOf(t, members)
  const { publicKey } = await newKey(t)
  assert.equal((await kick({ member: peerIdOf(publicKey), issued: false })).open, true)
})
