import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withoutLiars } from '../../src/daemon/without-liars.ts'
import type { MarketMesh } from '../../src/market/driver.ts'
import { frame } from '../../src/market/frames.ts'

test('a liar has nothing to offer and is awarded nothing; for others, and as a builder, it is as before', () => {
  const sent: string[] = []
  let receive: Parameters<MarketMesh['onFrame']>[0] = () => undefined
  const mesh: MarketMesh = {
    send: (peer, body) => sent.push(`${peer} ${body.case}`) > 0,
    onFrame: (handler) => {
      receive = handler
    },
    onPeer: () => undefined,
  }
  const liars = new Set<string>()
  const market = withoutLiars(mesh, (peer) => liars.has(peer))
  const heard: string[] = []
  market.onFrame((peer, body) => heard.push(`${peer} ${body.case}`))
  const bodies = [frame('offer', {}), frame('bid', {}), frame('reserve', {}), frame('award', {}), frame('done', {})]
  const all = (): void => {
    for (const body of bodies) {
      receive('lou', body)
      market.send('lou', body)
    }
  }
  all()
  assert.deepEqual([heard.length, sent.length], [5, 5])
  liars.add('lou')
  assert.equal(market.send('lou', frame('award', {})), false)
  heard.length = 0
  sent.length = 0
  all()
  assert.deepEqual(heard, ['lou reserve', 'lou award', 'lou done'])
  assert.deepEqual(sent, ['lou offer', 'lou bid', 'lou done'])
  assert.ok(market.send('ann', frame('award', {})))
})
