import assert from 'node:assert/strict'
import { test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { base32 } from 'multiformats/bases/base32'
import { decodeInviteLink, encodeInviteLink, makerOf } from '../../src/mesh/invite-link.ts'
import { encodeCbor } from '../../src/wire/cbor.ts'

const refused = { code: 'ERR_INVITE' }
const fields = {
  mesh: new Uint8Array(16).fill(1),
  invite: new Uint8Array(8).fill(2),
  secret: new Uint8Array(16).fill(3),
  name: 'Büro',
}

const maker = makerOf(new Uint8Array(32).fill(4))

test('a link carries one invitation, who has made it, and eight addresses', () => {
  const more = Array.from({ length: 6 }, (_, at) => `/ip4/192.0.2.${at + 10}/tcp/4717`)
  const link = encodeInviteLink({
    ...fields,
    key: maker,
    addresses: [
      '/ip4/192.0.2.7/tcp/4717',
      '/ip4/192.0.2.7/tcp/4717',
      '/ip4/192.0.2.7/udp/4717/quic-v1',
      '/ip6/2001:db8::1/tcp/4717',
      '/dns4/build.example/tcp/4717',
      ...more,
    ],
  })
  assert.match(link, /^shoal1:[a-z2-7]+$/)
  const first = ['/ip4/192.0.2.7/tcp/4717', '/ip6/2001:db8::1/tcp/4717', '/dns4/build.example/tcp/4717']
  const addresses = [...first, ...more.slice(0, 5)]
  assert.deepEqual(decodeInviteLink(` ${link}\n`), { ...fields, key: maker, addresses })
})

test('of long names of hosts a link carries as many as fit', () => {
  const addresses = Array.from(
    { length: 8 },
    (_, at) => `/dns4/${`${at}`.repeat(60)}.${'b'.repeat(60)}.example/tcp/4717`,
  )
  const decoded = decodeInviteLink(encodeInviteLink({ ...fields, key: maker, addresses }))
  assert.deepEqual(decoded.addresses, addresses.slice(0, 5))
})

test('a link of an office is short enough for one line of a chat', () => {
  const link = encodeInviteLink({ ...fields, key: maker, name: 'office', addresses: ['/ip4/192.0.2.7/tcp/4717'] })
  assert.ok(link.length <= 200, `${link.length}`)
})

test('objects of another shape are refused, and links to a mesh with one secret too', () => {
  const tcp = multiaddr('/ip4/192.0.2.7/tcp/1').bytes
  const before = { v: 2, ...fields, addresses: [tcp] }
  const good = { ...before, v: 3, key: maker }
  const link = (value: unknown): string => `shoal1:${base32.baseEncode(encodeCbor(value).bytes)}`
  assert.deepEqual(decodeInviteLink(link(good)), { ...fields, key: maker, addresses: ['/ip4/192.0.2.7/tcp/1'] })
  assert.deepEqual(decodeInviteLink(link(before)), { ...fields, addresses: ['/ip4/192.0.2.7/tcp/1'] })
  const bad: unknown[] = [
    { ...good, v: 1 },
    { ...good, v: 2 },
    { ...good, v: 4 },
    { ...before, v: 3 },
    { ...good, key: new Uint8Array(15) },
    { ...good, name: '' },
    { ...good, name: 'ä'.repeat(33) },
    { ...good, name: 'a\nb' },
    { ...good, secret: new Uint8Array(32) },
    { ...good, mesh: new Uint8Array(15) },
    { ...good, invite: 'text' },
    { ...good, extra: 1 },
    { ...before, addresses: [1, 2, 3, 4].map((port) => multiaddr(`/ip4/192.0.2.7/tcp/${port}`).bytes) },
    { ...good, addresses: Array.from({ length: 9 }, (_, at) => multiaddr(`/ip4/192.0.2.7/tcp/${at + 1}`).bytes) },
    { ...good, addresses: [tcp, tcp] },
    { ...good, addresses: [multiaddr('/ip4/192.0.2.7/tcp/0').bytes] },
    { ...good, addresses: [new Uint8Array([255, 255])] },
    [1],
    7,
  ]
  for (const value of bad) assert.throws(() => decodeInviteLink(link(value)), refused)
  assert.throws(() => decodeInviteLink(link(good).toUpperCase()), refused)
  const ofBefore = { v: 1, name: 'office', secret: new Uint8Array(32), addresses: [tcp] }
  assert.throws(() => decodeInviteLink(link(ofBefore)), refused)
  assert.throws(() => decodeInviteLink(`shoal1:${'a'.repeat(10_000_000)}`), refused)
})
