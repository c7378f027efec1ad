import assert from 'node:assert/strict'
import { test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { base32 } from 'multiformats/bases/base32'
import { decodeInviteLink, encodeInviteLink } from '../../src/mesh/invite-link.ts'
import { encodeCbor } from '../../src/wire/cbor.ts'

const refused = { code: 'ERR_INVITE' }
const fields = {
  mesh: new Uint8Array(16).fill(1),
  invite: new Uint8Array(8).fill(2),
  secret: new Uint8Array(16).fill(3),
  name: 'Büro',
}

test('a link carries one invitation and three addresses', () => {
  const link = encodeInviteLink({
    ...fields,
    addresses: [
      '/ip4/192.0.2.7/tcp/4717',
      '/ip4/192.0.2.7/tcp/4717',
      '/ip4/192.0.2.7/udp/4717/quic-v1',
      '/ip6/2001:db8::1/tcp/4717',
      '/dns4/build.example/tcp/4717',
      '/ip4/192.0.2.9/tcp/4717',
    ],
  })
  assert.match(link, /^shoal1:[a-z2-7]+$/)
  const addresses = ['/ip4/192.0.2.7/tcp/4717', '/ip6/2001:db8::1/tcp/4717', '/dns4/build.example/tcp/4717']
  assert.deepEqual(decodeInviteLink(` ${link}\n`), { ...fields, addresses })
})

test('a link of an office is short enough for one line of a chat', () => {
  const link = encodeInviteLink({ ...fields, name: 'office', addresses: ['/ip4/192.0.2.7/tcp/4717'] })
  assert.ok(link.length <= 200, `${link.length}`)
})

test('objects of another shape are refused, and links to a mesh with one secret too', () => {
  const tcp = multiaddr('/ip4/192.0.2.7/tcp/1').bytes
  const good = { v: 2, ...fields, addresses: [tcp] }
  const link = (value: unknown): string => `shoal1:${base32.baseEncode(encodeCbor(value).bytes)}`
  assert.deepEqual(decodeInviteLink(link(good)).secret, fields.secret)
  const bad: unknown[] = [
    { ...good, v: 1 },
    { ...good, name: '' },
    { ...good, name: 'ä'.repeat(33) },
    { ...good, name: 'a\nb' },
    { ...good, secret: new Uint8Array(32) },
    { ...good, mesh: new Uint8Array(15) },
    { ...good, invite: 'text' },
    { ...good, extra: 1 },
    { ...good, addresses: [tcp, tcp, tcp, tcp] },
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
