import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p, type Libp2p } from 'libp2p'
import { encryption } from '../../src/mesh/encryption.ts'
import { someBytes } from './fixture.ts'

const prologueBytes = someBytes(32)
const protocol = '/test/echo/1.0.0'
const ours = encryption(prologueBytes)
const theirs = noise({ prologueBytes })

async function node(t: TestContext, encrypter: typeof ours): Promise<Libp2p> {
  const made = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [encrypter],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  })
  t.after(() => made.stop())
  await made.handle(protocol, (stream: Stream) => {
    stream.addEventListener('message', ({ data }: StreamMessageEvent) => stream.send(data))
  })
  return made
}

/** What comes back of what is sent, until it is as much or the stream ends. */
async function echo(stream: Stream, bytes: Uint8Array, pieceBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let received = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  stream.addEventListener('message', ({ data }: StreamMessageEvent) => {
    received += data.byteLength
    parts.push(...(data instanceof Uint8Array ? [data] : data))
    if (received === bytes.length) resolve()
  })
  stream.addEventListener('close', () => resolve())
  for (let at = 0; at < bytes.length; at += pieceBytes) stream.send(bytes.subarray(at, at + pieceBytes))
  await promise
  return Buffer.concat(parts)
}

test('it is the noise that others speak, for messages of all sizes', async (t) => {
  const bytes = someBytes(600_000)
  for (const [a, b] of [
    [ours, theirs],
    [theirs, ours],
    [ours, ours],
  ] as const) {
    const [from, to] = await Promise.all([node(t, a), node(t, b)])
    const connection = await from.dial(to.getMultiaddrs())
    for (const pieceBytes of [7000, 65_519, 65_536, 300_000]) {
      const back = await echo(await connection.newStream(protocol), bytes, pieceBytes)
      assert.equal(Buffer.compare(back, bytes), 0)
    }
    const small = bytes.subarray(0, 2000)
    assert.equal(Buffer.compare(await echo(await connection.newStream(protocol), small, 1), small), 0)
  }
})

test('a bit that was changed on the way ends the connection, and nothing of that message is seen', async (t) => {
  const [from, to] = await Promise.all([node(t, ours), node(t, ours)])
  const target = to.getMultiaddrs()[0]?.toString().split('/')[4]
  let passed = 0
  const proxy = createServer((near) => {
    const far = connect(Number(target), '127.0.0.1')
    near.on('data', (data) => {
      // Well within the bytes that are sent, far behind the handshake.
      const at = 100_000 - passed
      passed += data.length
      if (at >= 0 && at < data.length) data.writeUInt8(data.readUInt8(at) ^ 1, at)
      far.write(data)
    })
    far.on('data', (data) => near.write(data))
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('close', () => other.destroy())
      one.on('error', () => other.destroy())
    }
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.after(() => proxy.close())
  const { port } = proxy.address() as AddressInfo
  const connection = await from.dial(multiaddr(`/ip4/127.0.0.1/tcp/${port}/p2p/${to.peerId}`))
  const bytes = someBytes(200_000)
  const back = await echo(await connection.newStream(protocol), bytes, bytes.length)
  assert.ok(back.length < bytes.length)
  assert.equal(Buffer.compare(back, bytes.subarray(0, back.length)), 0)
})
