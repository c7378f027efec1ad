import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MessageStream } from '@libp2p/interface'
import { Talk, type TalkInit } from '../../src/mesh/talk.ts'
import { ManualClock } from './fixture.ts'

const KiB = 1024

/** A talk on a connection on which the other side has said five messages of 60 KiB, and waits for no answer. */
function toldAtOnce(init: Partial<TalkInit>): Talk {
  const connection = Object.assign(new EventTarget(), { status: 'open', unshift: () => undefined })
  const talk = new Talk(connection as unknown as MessageStream, { clock: new ManualClock(), deadlineMs: 1000, ...init })
  for (let number = 0; number < 5; number++) {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(60 * KiB)
    const data = Buffer.concat([head, new Uint8Array(60 * KiB).fill(number)])
    connection.dispatchEvent(Object.assign(new Event('message'), { data }))
  }
  return talk
}

test('whoever says more than 256 KiB before it is answered is cut off', async () => {
  const talk = toldAtOnce({})
  for (let number = 0; number < 4; number++) assert.equal((await talk.receive(64 * KiB))[0], number)
  await assert.rejects(talk.receive(64 * KiB), { code: 'ERR_DECODE' })
  talk.end()
})

test('what comes a byte at a time is not copied for each of them', async (t) => {
  let copied = 0
  const concat = Buffer.concat.bind(Buffer)
  t.mock.method(Buffer, 'concat', (list: readonly Uint8Array[], total?: number) => {
    const made = concat(list, total)
    copied += made.length
    return made
  })
  const connection = Object.assign(new EventTarget(), { status: 'open', unshift: () => undefined })
  const talk = new Talk(connection as unknown as MessageStream, { clock: new ManualClock(), deadlineMs: 1000 })
  const size = 16 * KiB
  const head = Buffer.alloc(4)
  head.writeUInt32BE(size)
  const received = talk.receive(size)
  for (const byte of concat([head, new Uint8Array(size).fill(7), head.subarray(0, 2)])) {
    connection.dispatchEvent(Object.assign(new Event('message'), { data: Uint8Array.of(byte) }))
    // Whoever waits looks at each.
    await null
  }
  assert.deepEqual(await received, new Uint8Array(size).fill(7))
  assert.ok(copied < 20 * size, `${copied} bytes`)
  talk.end()
})

test('a roster may come faster than it is read', async () => {
  const talk = toldAtOnce({ maxWaitingBytes: 1024 * KiB })
  for (let number = 0; number < 5; number++) assert.equal((await talk.receive(64 * KiB))[0], number)
  talk.end()
})
