import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { yamux } from '@chainsafe/libp2p-yamux'
import { StreamState } from '@chainsafe/libp2p-yamux/stream'
import type { MultiaddrConnection, StreamMessageEvent, StreamMuxer, StreamMuxerFactory } from '@libp2p/interface'
import { withFewerUpdates } from '../../src/mesh/windows.ts'
import { someBytes } from './fixture.ts'
import { connectedHosts } from './hosts.ts'

const protocol = '/test/windows/1.0.0'
const KiB = 1024
const windowBytes = 256 * KiB

/** Yamux that counts the messages which leave, those of both sides. */
function counting(make: () => StreamMuxerFactory, sent: { messages: number }): () => StreamMuxerFactory {
  return () => {
    const factory = make()
    const { createStreamMuxer } = factory
    factory.createStreamMuxer = (connection) => {
      const send = connection.send.bind(connection)
      connection.send = (data) => {
        sent.messages += 1
        return send(data)
      }
      return createStreamMuxer.call(factory, connection)
    }
    return factory
  }
}

/** Sends pieces, each when the one before it has arrived. @returns how many messages both sides needed for that, and what came */
async function send(t: TestContext, make: () => StreamMuxerFactory, pieces: readonly Uint8Array[]) {
  const sent = { messages: 0 }
  const { from, to, end } = await connectedHosts(counting(make, sent))
  t.after(end)
  const came: Uint8Array[] = []
  let received = 0
  let arrived = (): void => undefined
  await to.handle(protocol, (stream) => {
    stream.addEventListener('message', ({ data }: StreamMessageEvent) => {
      came.push(data.subarray())
      received += data.byteLength
      arrived()
    })
  })
  const stream = await from.newStream(protocol)
  const before = sent.messages
  let total = 0
  for (const piece of pieces) {
    total += piece.length
    stream.send(piece)
    while (received < total) {
      await new Promise<void>((resolve) => {
        arrived = resolve
      })
    }
  }
  return { messages: sent.messages - before, bytes: Buffer.concat(came) }
}

const options = { enableKeepAlive: false, streamOptions: { initialStreamWindowSize: windowBytes } }
const plain = yamux({ ...options, streamOptions: { ...options.streamOptions, maxStreamWindowSize: windowBytes } })
const sparing = (): StreamMuxerFactory => withFewerUpdates(plain())

test('small messages are not answered one by one', async (t) => {
  const pieces = Array.from({ length: 100 }, () => someBytes(100))
  const [usual, fewer] = [await send(t, plain, pieces), await send(t, sparing, pieces)]
  assert.ok(usual.messages >= 200, `${usual.messages} messages`)
  assert.ok(fewer.messages < 110, `${fewer.messages} messages`)
})

test('a stream carries many times its window all the same', async (t) => {
  const pieces = [10, windowBytes / 2, windowBytes / 2 + 1, windowBytes, 3 * windowBytes, 11 * windowBytes + 7]
  const bytes = pieces.map(someBytes)
  assert.equal(Buffer.compare((await send(t, sparing, bytes)).bytes, Buffer.concat(bytes)), 0)
})

test('a stream that was paused goes on', async (t) => {
  const { from, to, end } = await connectedHosts(sparing)
  t.after(end)
  const bytes = someBytes(10 * windowBytes)
  const came: Uint8Array[] = []
  const all = Promise.withResolvers<void>()
  await to.handle(protocol, (stream) => {
    let received = 0
    stream.addEventListener('message', ({ data }: StreamMessageEvent) => {
      came.push(data.subarray())
      received += data.byteLength
      if (received === bytes.length) all.resolve()
    })
    stream.pause()
    setImmediate(() => stream.resume())
  })
  const stream = await from.newStream(protocol)
  stream.send(bytes)
  await all.promise
  assert.equal(Buffer.compare(Buffer.concat(came), bytes), 0)
})

/** How often a stream in this state, with so much of a window of 100 bytes left, says something when it is asked to. */
function updatesOf(state: StreamState, recvWindowCapacity: number): number {
  let updates = 0
  const stream = { recvWindow: 100, recvWindowCapacity, state, sendWindowUpdate: () => (updates += 1) }
  const inner: StreamMuxerFactory = {
    protocol: '/test/1.0.0',
    createStreamMuxer: () => ({ _newStream: () => stream }) as unknown as StreamMuxer,
  }
  const muxer: unknown = withFewerUpdates(inner).createStreamMuxer({} as MultiaddrConnection)
  const made = (muxer as { _newStream(): typeof stream })._newStream()
  made.sendWindowUpdate()
  return updates
}

test('only a stream that both sides have opened is kept from saying so', () => {
  assert.deepEqual([updatesOf(StreamState.Established, 51), updatesOf(StreamState.Established, 50)], [0, 1])
  // Whatever else an update says, that it is open or goes on, has to be said with a whole window left too.
  const others = [
    StreamState.Init,
    StreamState.SYNSent,
    StreamState.SYNReceived,
    StreamState.Finished,
    StreamState.Paused,
  ]
  for (const state of others) assert.equal(updatesOf(state, 100), 1, StreamState[state])
})
