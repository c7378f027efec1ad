import assert from 'node:assert/strict'
import { test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { announcedAddresses, announceFilter, listenAddresses, networkOf, plainHost } from '../../src/mesh/addresses.ts'

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

test('announcedAddresses() takes what others can dial, and nothing else', () => {
  const announce = ['/dns4/build.example/tcp/4717', '/ip6/2001:db8::1/tcp/4717']
  assert.deepEqual(announcedAddresses(announce), announce)
  for (const wrong of ['build.example', '/dns4/build.example', '/dnsaddr/build.example', '/ip4/192.0.2.1/tcp/0', '']) {
    assert.throws(() => announcedAddresses([wrong]), { code: 'ERR_CONFIG' })
  }
})

test('networkOf() takes the first half of an IPv6 address, and an IPv4 address as it is, however they are written', () => {
  const networks = {
    '192.0.2.7': '192.0.2.7',
    '::ffff:192.0.2.7': '192.0.2.7',
    '::FFFF:c000:207': '192.0.2.7',
    '0:0:0:0:0:ffff:192.0.2.7': '192.0.2.7',
    '2001:db8::5': '2001:db8:0:0',
    '2001:0DB8:0000:0:1:2:3:4': '2001:db8:0:0',
    '2001:db8:0:1::5': '2001:db8:0:1',
    '2001:db8:1:2:3:4:5::': '2001:db8:1:2',
    '64:ff9b::192.0.2.7': '64:ff9b:0:0',
    'fe80::1%eth0': 'fe80:0:0:0',
    '::1': '0:0:0:0',
    '::': '0:0:0:0',
    'host.example': 'host.example',
    '': '',
  }
  for (const [address, network] of Object.entries(networks)) assert.equal(networkOf(address), network)
  assert.equal(plainHost('fe80::1%eth0'), 'fe80::1')
})
