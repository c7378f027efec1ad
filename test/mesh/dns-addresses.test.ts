import assert from 'node:assert/strict'
import { test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { type Resolver, resolved } from '../../src/mesh/dns-addresses.ts'
import { bothUp, makeMesh } from './fixture.ts'
import { createMembership } from './hiring.ts'

const peer = '12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq'

/** Names that stand for something else each time that they are asked for. */
function changing(): Resolver & { asked: string[] } {
  const asked: string[] = []
  return {
    asked,
    async hosts(name, family) {
      asked.push(name)
      if (name === 'gone.example') throw Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' })
      const four = { address: `10.0.0.${asked.length}`, family: 4 }
      return family === 4 ? [four] : [four, { address: `fd00::${asked.length}`, family: 6 }]
    },
    async texts(name) {
      asked.push(name)
      if (name === '_dnsaddr.empty.example') return ['v=spf1', 'dnsaddr=/ip4/10.0.0.1/udp/1', 'dnsaddr=x']
      return ['v=spf1', `dnsaddr=/ip4/10.1.0.1/tcp/4001/p2p/${peer}`, 'dnsaddr=/dns4/a.example/tcp/4002']
    },
  }
}

const of = async (resolver: Resolver, ...texts: string[]): Promise<string[]> =>
  (
    await resolved(
      texts.map((text) => multiaddr(text)),
      resolver,
    )
  ).map(String)

test('names are resolved each time, by the kind that they are', async () => {
  const resolver = changing()
  assert.deepEqual(await of(resolver, '/dns4/a.example/tcp/1'), ['/ip4/10.0.0.1/tcp/1'])
  assert.deepEqual(await of(resolver, '/dns4/a.example/tcp/1'), ['/ip4/10.0.0.2/tcp/1'])
  const both = [`/ip4/10.0.0.3/tcp/1/p2p/${peer}`, `/ip6/fd00::3/tcp/1/p2p/${peer}`]
  assert.deepEqual(await of(resolver, `/dns/a.example/tcp/1/p2p/${peer}`), both)
  const listed = [`/ip4/10.1.0.1/tcp/4001/p2p/${peer}`, '/ip4/10.0.0.5/tcp/4002']
  assert.deepEqual(await of(resolver, '/dnsaddr/mesh.example'), listed)
  assert.deepEqual(await of(resolver, '/ip4/10.9.9.9/tcp/1'), ['/ip4/10.9.9.9/tcp/1'])
})

test('a name that leads nowhere is named, unless another one leads somewhere', async () => {
  const resolver = changing()
  const gone = { code: 'ERR_PEER_LOST', message: 'gone.example cannot be resolved: ENOTFOUND' }
  await assert.rejects(of(resolver, '/dns4/gone.example/tcp/1'), gone)
  await assert.rejects(of(resolver, '/dnsaddr/empty.example'), {
    message: /^empty\.example cannot be resolved: no dnsaddr=/,
  })
  assert.equal((await of(resolver, '/dns4/gone.example/tcp/1', '/dns4/a.example/tcp/1')).length, 1)
})

test('a node finds another by a name in its configuration', async (t) => {
  const membership = createMembership({ name: 'office' })
  const first = await makeMesh(t, { ...membership })
  await first.mesh.start()
  const port = /tcp\/(\d+)/.exec(first.mesh.addresses()[0] ?? '')?.[1]
  const second = await makeMesh(t, { ...membership }, { bootstrap: [`/dns4/localhost/tcp/${port}`] })
  const met = bothUp(first.mesh, second.mesh)
  await second.mesh.start()
  await met
})
