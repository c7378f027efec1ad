import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Blocks, connect, makeMesh, someBytes } from './fixture.ts'

test('bytes served are told, and that a slow source was helped out', { timeout: 30_000 }, async (t) => {
  const served = { slow: 0, fast: 0 }
  let hedges = 0
  const released = Promise.withResolvers<void>()
  const counting = (name: keyof typeof served) => ({
    onServed(bytes: number) {
      served[name] += bytes
    },
  })
  const onHedge = (): void => {
    hedges += 1
  }
  const slow = await makeMesh(t, undefined, {}, counting('slow'))
  const { membership } = slow
  const fast = await makeMesh(t, { ...membership }, {}, counting('fast'))
  const asking = await makeMesh(t, { ...membership }, {}, { onHedge })
  await connect(slow, fast, asking)
  const bytes = someBytes(50_000)
  const cid = fast.blocks.put(bytes)
  const late: Pick<Blocks, 'get'> = {
    async get() {
      await released.promise
      return bytes
    },
  }
  slow.blocks.get = late.get
  const from = [slow.mesh.peerId, fast.mesh.peerId]
  assert.deepEqual(await asking.mesh.fetchBlock(cid, { from, maxBytes: bytes.length }), bytes)
  assert.deepEqual([hedges, served.fast, served.slow], [1, bytes.length, 0])
  released.resolve()
})
