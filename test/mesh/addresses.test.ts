import assert from 'node:assert/strict'
import { test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { announceFilter, listenAddresses } from '../../src/mesh/addresses.ts'

const interfaces = () => ({
  lo: [{ address: '127.0.0.1' }, { address: '::1' }],
  eth0: [{ address: '192.168.1.5' }, { address: 'fe80::1' }],
  docker0: [{ address: '172.17.0.1' }],
  'br-0a1b': [{ address: '172.18.0.1' }],
})

function announced(...addresses: string[]): string[] {
  const filter = announceFilter(interfaces)
  return filter(addresses.map((address) => multiaddr(address))).map(String)
}

test('a node announces what others can reach', () => {
  const all = [
    '/ip4/127.0.0.1/tcp/1',
    '/ip4/192.168.1.5/tcp/1',
    '/ip4/169.254.3.4/tcp/1',
    '/ip4/172.17.0.1/tcp/1',
    '/ip4/172.18.0.1/tcp/1',
    '/ip6/::1/tcp/1',
    '/ip6/fe80::1/tcp/1',
    '/ip6/2001:db8::5/tcp/1',
  ]
  assert.deepEqual(announced(...all), ['/ip4/192.168.1.5/tcp/1', '/ip6/2001:db8::5/tcp/1'])
})

test('inside a container, the address of the container is announced', () => {
  const inside = announceFilter(() => ({ eth0: [{ address: '172.17.0.2' }] }))
  assert.deepEqual(inside([multiaddr('/ip4/172.17.0.2/tcp/1')]).map(String), ['/ip4/172.17.0.2/tcp/1'])
})

test('a node that listens on loopback only announces that', () => {
  assert.deepEqual(announced('/ip4/127.0.0.1/tcp/1'), ['/ip4/127.0.0.1/tcp/1'])
  assert.deepEqual(announced('/ip4/127.0.0.1/tcp/1', '/ip4/172.17.0.1/tcp/1'), ['/ip4/127.0.0.1/tcp/1'])
})

test('listenAddresses() takes IP addresses and multiaddrs', () => {
  const listen = ['0.0.0.0', '::', '/ip4/192.0.2.1/tcp/0']
  assert.deepEqual(listenAddresses(listen, 47), ['/ip4/0.0.0.0/tcp/47', '/ip6/::/tcp/47', '/ip4/192.0.2.1/tcp/0'])
  for (const wrong of ['localhost', '/ip4/192.0.2.1/udp/7', '/nonsense', '']) {
    assert.throws(() => listenAddresses([wrong], 1), { code: 'ERR_CONFIG' })
  }
})
