import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isNeighbour } from '../../src/mesh/neighbours.ts'

const interfaces = () => ({
  lo: [{ address: '127.0.0.1', cidr: '127.0.0.1/8' }],
  eth0: [
    { address: '192.168.7.20', cidr: '192.168.7.20/24' },
    { address: 'fe80::1', cidr: 'fe80::1/64' },
    { address: 'fd00:1::20', cidr: 'fd00:1::20/64' },
  ],
  // A machine with an address of the internet has the internet for neighbours.
  ppp0: [{ address: '203.0.113.5', cidr: '203.0.113.5/24' }],
  tun0: [{ address: '10.8.0.1', cidr: null }],
})

test('a neighbour has a private address in a network of this machine', () => {
  const inside = [
    '192.168.7.21',
    '::ffff:192.168.7.21',
    'fe80::9',
    'fe80::9%eth0',
    'fd00:1::21',
    '127.0.0.1',
    '127.9.9.9',
  ]
  for (const address of inside) assert.equal(isNeighbour(address, interfaces), true, address)
  const outside = [
    '192.168.8.21',
    '10.0.0.1',
    '10.8.0.2',
    '203.0.113.6',
    '::ffff:203.0.113.6',
    'fd00:2::1',
    '2001:db8::1',
    '::1',
    '',
  ]
  for (const address of [...outside, 'localhost', '192.168.7.21/32']) {
    assert.equal(isNeighbour(address, interfaces), false, address)
  }
  assert.equal(
    isNeighbour('192.168.7.21', () => ({})),
    false,
  )
})
