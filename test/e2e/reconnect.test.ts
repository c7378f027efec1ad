import { after, before, describe, test } from 'node:test'
import { Travellers } from '../support/travellers.ts'

/** A share of what `npm run bench -- reconnect` measures. Nothing here waits for a connection to be noticed as dead. */
describe('two members on machines that are carried around', { timeout: 600_000 }, () => {
  let world: Travellers | string

  before(async () => {
    world = await Travellers.meet(`shoalrt${process.pid}`, ['a', 'b'])
  })
  after(async () => {
    if (typeof world !== 'string') await world.close()
  })

  test('meet again where both are strangers, though the way out is by an interface that leads nowhere', async (t) => {
    if (typeof world === 'string') return t.skip(world)
    const { lan } = world
    for (const [at, name] of ['a', 'b'].entries()) await lan.plug(name, 'dead-end', at + 1, 'w1')
    await world.carry(['a', 'b'], 'cafe', [11, 12], 3000)
    for (const name of ['a', 'b']) await lan.way(name, ['dev', 'w1'])
    await world.together(['a', 'b'], 20_000)
  })

  test('meet again when one of them comes back to where the other no longer is', async (t) => {
    if (typeof world === 'string') return t.skip(world)
    for (const name of ['a', 'b']) await world.lan.muffle(name)
    await world.carry(['b'], 'home', [2], 3000)
    await world.lan.way('a', ['via', '10.214.2.254'])
    await world.together(['a', 'b'], 20_000)
  })

  test('meet again when both were switched off, without mDNS', async (t) => {
    if (typeof world === 'string') return t.skip(world)
    const nodes = ['a', 'b'].map((name) => (world as Travellers).node(name))
    for (const node of nodes) await node.stop()
    for (const node of nodes) await node.start()
    await world.together(['a', 'b'], 20_000)
  })
})
