import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, makeMesh } from './fixture.ts'
import { createMembership } from './hiring.ts'

test('two members greet each other and exchange frames both ways', async (t) => {
  const membership = createMembership({ name: 'office' })
  const a = await makeMesh(t, { ...membership }, { name: 'anna' })
  const b = await makeMesh(t, { ...membership }, { name: 'ben' })
  await connect(a, b)

  const atB = new Promise<unknown>((resolve) => b.mesh.onFrame((peer, body) => resolve([peer, body.case])))
  const atA = new Promise<unknown>((resolve) => a.mesh.onFrame((peer, body) => resolve([peer, body.case])))
  assert.equal(a.mesh.send(b.mesh.peerId, { case: 'building', value: { active: true } }), true)
  assert.equal(b.mesh.send(a.mesh.peerId, { case: 'goodbye', value: { reason: 'lunch' } }), true)
  assert.deepEqual(await atB, [a.mesh.peerId, 'building'])
  assert.deepEqual(await atA, [b.mesh.peerId, 'goodbye'])
  assert.equal(a.mesh.peers()[0]?.name, 'ben')
  assert.equal(b.mesh.peers()[0]?.name, 'anna')
})
