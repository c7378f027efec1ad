import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MultiaddrConnection } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { Lobby } from '../../src/mesh/lobby.ts'

/** Lets connections in from these addresses, one after the other. @returns from where those came that had to go */
function enter(hosts: readonly string[]): string[] {
  const lobby = new Lobby()
  const gone: string[] = []
  for (const host of hosts) {
    const connection = {
      remoteAddr: multiaddr(host.includes(':') ? `/ip6/${host}/tcp/1` : `/ip4/${host}/tcp/1`),
      addEventListener: () => undefined,
      abort: () => void gone.push(host),
    }
    lobby.enter(connection as unknown as MultiaddrConnection)
  }
  assert.ok(lobby.size <= 128)
  return gone
}

test('128 wait at the door; one more, and the oldest of the address that has most goes', () => {
  const flood = Array<string>(200).fill('192.0.2.9')
  assert.deepEqual(enter(['192.0.2.1', ...flood]), Array(73).fill('192.0.2.9'))
})

test('who has all addresses of a network of IPv6 pushes out its own, and nobody of another network', () => {
  const flood = Array.from({ length: 300 }, (_, at) => `2001:db8:0:1::${at.toString(16)}`)
  const gone = enter(['192.0.2.1', '2001:db8:0:2::1', 'fe80::1', ...flood])
  assert.deepEqual(gone, flood.slice(0, 300 + 3 - 128))
})

test('on its own network, who opens many from one address is in its own way', () => {
  const flood = Array<string>(200).fill('2001:db8::9')
  const gone = enter(['2001:db8::1', ...flood, '2001:db8::2'])
  assert.ok(gone.every((host) => host === '2001:db8::9'))
})
