import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Stream } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { blockProtocol } from '../../src/mesh/block-frames.ts'
import { chunkBytes } from '../../src/mesh/manifest.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { dial, ManualClock, makeHost, makeMesh, someBytes } from './fixture.ts'
import { createMembership } from './hiring.ts'
import { readRequests } from './raw-blocks.ts'

/** A node, and a connected member that answers nothing that it is asked. */
async function silence(t: TestContext) {
  const clock = new ManualClock()
  const membership = createMembership({ name: 'test' })
  const { mesh } = await makeMesh(t, membership, {}, { clock })
  await mesh.start()
  const host = await makeHost(t, membership)
  const seen = { streams: 0 }
  await host.handle(blockProtocol, (stream: Stream) => {
    seen.streams += 1
    readRequests(stream, () => undefined)
  })
  await dial(host, mesh)
  /** @returns how long it took until nobody asked any more, and with which error */
  const over = async (fetching: Promise<unknown>): Promise<{ code: string; ms: number }> => {
    const from = clock.now()
    let code: string | undefined
    fetching.catch((error: { code: string }) => {
      code = error.code
    })
    while (code === undefined) {
      // On the same connection, so what was asked has arrived when the answer comes.
      await host.services.ping.ping(peerIdFromString(mesh.peerId))
      clock.advance(100)
    }
    return { code, ms: clock.now() - from }
  }
  return { mesh, from: [host.peerId.toString()], seen, over }
}

test('what can be had otherwise is asked of a silent source once, for two seconds', async (t) => {
  const { mesh, from, seen, over } = await silence(t)
  const block = someBytes(1000)
  const { code, ms } = await over(mesh.fetchBlock(cidOf(block), { from, maxBytes: block.length, once: true }))
  assert.deepEqual([code, seen.streams], ['ERR_DEADLINE', 1])
  assert.ok(ms <= 2500, `${ms} ms`)
})

test('so is a large block', async (t) => {
  const { mesh, from, seen, over } = await silence(t)
  const size = 2 * chunkBytes
  const keep = (fill: (file: never) => Promise<void>): Promise<void> => fill({} as never)
  const fetching = mesh.fetchFile(cidOf(someBytes(9)), {
    from,
    size,
    signal: new AbortController().signal,
    once: true,
    keep,
  })
  const { code, ms } = await over(fetching)
  assert.deepEqual([code, seen.streams], ['ERR_DEADLINE', 1])
  assert.ok(ms <= 2500, `${ms} ms`)
})

test('somebody else who has no other way has the source asked again', async (t) => {
  const { mesh, from, seen, over } = await silence(t)
  const block = someBytes(1000)
  const options = { from, maxBytes: block.length }
  const both = [mesh.fetchBlock(cidOf(block), { ...options, once: true }), mesh.fetchBlock(cidOf(block), options)]
  const { code } = await over(Promise.all(both))
  assert.deepEqual([code, seen.streams], ['ERR_DEADLINE', 4])
})
