import assert from 'node:assert/strict'
import { test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import fc from 'fast-check'
import { base32 } from 'multiformats/bases/base32'
import { decodeLink, encodeLink } from '../../src/mesh/link.ts'
import { createMembership } from '../../src/mesh/membership.ts'
import { encodeCbor } from '../../src/wire/cbor.ts'

const peer = '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'
const refused = { code: 'ERR_INVITE' }

test('a link carries the mesh and three addresses', () => {
  const membership = createMembership({ name: 'Büro' })
  const link = encodeLink(membership, [
    `/ip4/192.0.2.7/tcp/4717/p2p/${peer}`,
    '/ip4/192.0.2.7/tcp/4717',
    '/ip4/192.0.2.7/udp/4717/quic-v1',
    '/ip6/2001:db8::1/tcp/4717',
    '/dns4/build.example/tcp/4717',
    '/ip4/192.0.2.9/tcp/4717',
  ])
  assert.match(link, /^shoal1:[a-z2-7]+$/)
  const decoded = decodeLink(` ${link}\n`)
  const { id, name, secret } = membership
  const seeds = ['/ip4/192.0.2.7/tcp/4717', '/ip6/2001:db8::1/tcp/4717', '/dns4/build.example/tcp/4717']
  assert.deepEqual(decoded, { v: 1, id, name, secret, open: false, seeds })
})

test('any single change of a link is refused or changes the mesh that it names', () => {
  const membership = createMembership({ name: 'office' })
  const link = encodeLink(membership, ['/ip4/192.0.2.7/tcp/4717'])
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567ABC=:/ \u0000é'
  fc.assert(
    fc.property(fc.nat(link.length - 1), fc.constantFrom(...alphabet), fc.boolean(), (at, letter, insert) => {
      const changed = link.slice(0, at) + letter + link.slice(insert ? at : at + 1)
      if (changed.trim() === link) return
      try {
        const { id, name, seeds } = decodeLink(changed)
        assert.notDeepEqual(
          { id, name, seeds },
          { id: membership.id, name: 'office', seeds: ['/ip4/192.0.2.7/tcp/4717'] },
        )
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'ERR_INVITE')
      }
    }),
    { numRuns: 2000 },
  )
})

test('decodeLink() throws ERR_INVITE for anything else', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ maxLength: 300 }), fc.string({ unit: 'binary' })), (text) => {
      assert.throws(() => decodeLink(text), refused)
      assert.throws(() => decodeLink(`shoal1:${text}`), refused)
    }),
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1100 }), (bytes) => {
      assert.throws(() => decodeLink(`shoal1:${base32.baseEncode(bytes)}`), refused)
    }),
  )
  assert.throws(() => decodeLink(`shoal1:${'a'.repeat(10_000_000)}`), refused)
})

test('decodeLink() refuses well-formed objects of another shape', () => {
  const { name, secret } = createMembership({ name: 'office' })
  const tcp = multiaddr('/ip4/192.0.2.7/tcp/1').bytes
  const good = { v: 1, name, secret, addresses: [tcp] }
  const link = (value: unknown): string => `shoal1:${base32.baseEncode(encodeCbor(value).bytes)}`
  assert.equal(decodeLink(link(good)).name, 'office')
  const bad: unknown[] = [
    { ...good, v: 2 },
    { ...good, name: '' },
    { ...good, name: 'x'.repeat(65) },
    { ...good, secret: secret.subarray(1) },
    { ...good, secret: 'text' },
    { ...good, extra: 1 },
    { ...good, addresses: [tcp, tcp, tcp, tcp] },
    { ...good, addresses: [tcp, tcp] },
    { ...good, addresses: [multiaddr('/ip4/192.0.2.7/tcp/0').bytes] },
    { ...good, addresses: [multiaddr('/ip4/192.0.2.7/udp/1').bytes] },
    { ...good, addresses: [multiaddr(`/ip4/192.0.2.7/tcp/1/p2p/${peer}`).bytes] },
    { ...good, addresses: [new Uint8Array([255, 255])] },
    { ...good, addresses: ['/ip4/192.0.2.7/tcp/1'] },
    [1],
    7,
  ]
  for (const value of bad) assert.throws(() => decodeLink(link(value)), refused)
  assert.throws(() => decodeLink(link(good).toUpperCase()), refused)
})
