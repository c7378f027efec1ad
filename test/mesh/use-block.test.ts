import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { connect, makeMesh, someBytes, type TestMesh } from './fixture.ts'
import { createMembership } from './hiring.ts'

const MB = 1_000_000

async function pair(t: TestContext): Promise<[TestMesh, TestMesh]> {
  const membership = createMembership({ name: 'test' })
  const [a, b] = [await makeMesh(t, { ...membership }), await makeMesh(t, { ...membership })]
  await connect(a, b)
  return [a, b]
}

test('the memory of a block that is only used goes with the last one who uses it', async (t) => {
  const [a, b] = await pair(t)
  const bytes = someBytes(MB)
  const cid = b.blocks.put(bytes)
  const options = { from: [b.mesh.peerId], maxBytes: bytes.length }
  const slow = Promise.withResolvers<void>()
  const seen: Uint8Array[] = []
  const first = a.mesh.useBlock(cid, options, async (given) => {
    seen.push(given)
    await slow.promise
    // Others have ended long ago.
    return Buffer.compare(given, bytes)
  })
  const failing = a.mesh.useBlock(cid, options, async (given) => {
    seen.push(given)
    throw new Error('no use for it')
  })
  await assert.rejects(failing, { message: 'no use for it' })
  slow.resolve()
  assert.equal(await first, 0)
  assert.equal(seen[0], seen[1])
  assert.equal(seen[0]?.length, 0)
})

test('a block that somebody has fetched to keep stays, whoever uses it besides', async (t) => {
  const [a, b] = await pair(t)
  const bytes = someBytes(MB)
  const cid = b.blocks.put(bytes)
  const options = { from: [b.mesh.peerId], maxBytes: bytes.length }
  const using = [
    a.mesh.useBlock(cid, options, async () => undefined),
    a.mesh.useBlock(cid, options, async () => undefined),
  ]
  const kept = await a.mesh.fetchBlock(cid, options)
  await Promise.all(using)
  assert.equal(b.blocks.reads, 1)
  assert.deepEqual(kept, bytes)
})
