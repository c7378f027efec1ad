import assert from 'node:assert/strict'
import { test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { encode } from 'dns-packet'
import { encodeAnswer, encodeQuestion, readPacket } from '../../src/mesh/mdns-packets.ts'

const service = '_shoal-abcdefgh._udp.local'
const peerId = '12D3KooWBhMbLvQGgJ6Mzbhs7sTEfjdpgZ2KfZ8nRfYUQ4VKSVCE'
const address = multiaddr(`/ip4/192.0.2.1/tcp/4001/p2p/${peerId}`)
const nothing = { asks: false, found: new Map() }

test('a question asks, an answer tells where somebody is, and nobody hears itself', () => {
  assert.deepEqual(readPacket(encodeQuestion(service), service, 'me'), { asks: true, found: new Map() })
  const answer = encodeAnswer(service, 'other', [address])
  const { asks, found } = readPacket(answer, service, 'me')
  assert.equal(asks, false)
  assert.deepEqual(
    [...found].map(([who, where]) => [who, where.map(String)]),
    [[peerId, [address.toString()]]],
  )
  assert.deepEqual(readPacket(answer, service, 'other'), nothing)
})

test('what is about another service says nothing', () => {
  const other = '_shoal-zzzzzzzz._udp.local'
  assert.deepEqual(readPacket(encodeQuestion(other), service, 'me'), nothing)
  assert.deepEqual(readPacket(encodeAnswer(other, 'x', [address]), service, 'me'), nothing)
  const printer = encode({ type: 'query', questions: [{ name: `${service}.evil.local`, type: 'PTR' }] })
  assert.deepEqual(readPacket(printer, service, 'me'), nothing)
})

test('an address without a peer, no address, and too long a text are left out', () => {
  const name = `x.${service}`
  const data = ['dnsaddr=/ip4/192.0.2.1/tcp/1', 'dnsaddr=nonsense', 'hello', `dnsaddr=${address}`]
  const packet = encode({ type: 'response', answers: data.map((text) => ({ name, type: 'TXT', data: text })) })
  assert.deepEqual([...readPacket(packet, service, 'me').found.keys()], [peerId])
  const long = multiaddr(`/dns4/${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.local/tcp/1/p2p/${peerId}`)
  assert.equal(readPacket(encodeAnswer(service, 'x', [long]), service, 'me').found.size, 0)
})

test('at most 64 records are looked at, and nothing of a packet that is longer than multicast DNS allows', () => {
  const name = `x.${service}`
  const data = `dnsaddr=${address}`
  const many = encode({ type: 'response', answers: Array.from({ length: 90 }, () => ({ name, type: 'TXT', data })) })
  assert.ok(many.length > 9000)
  assert.deepEqual(readPacket(many, service, 'me'), nothing)
  const short = encode({
    type: 'response',
    answers: Array.from({ length: 100 }, () => ({ name, type: 'TXT', data: '' })),
  })
  assert.ok(short.length < 9000)
  assert.deepEqual(readPacket(short, service, 'me'), nothing)
})
