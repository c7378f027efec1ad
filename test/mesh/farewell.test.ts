import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { kickMember } from '../../src/mesh/administer.ts'
import { blockProtocol, encodeRequest } from '../../src/mesh/block-frames.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { type ControlMessage, controlProtocol } from '../../src/mesh/control.ts'
import { encodeFrame, FrameReader } from '../../src/mesh/frames.ts'
import { keyOf, serial } from '../../src/mesh/members.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { ControlFrameSchema } from '../../src/wire/generated/control_pb.ts'
import { newKey } from './apart.ts'
import { dial, ManualClock, makeHost, makeMesh, orderedDirectories, peerEvent } from './fixture.ts'
import { createMembership, rootOf } from './hiring.ts'
import { plain } from './office.ts'

test('who is kicked hears it before it is cut off, and in that moment is given nothing and not listened to', async (t) => {
  const [lower, higher] = await orderedDirectories(t)
  const clock = new ManualClock()
  const { mesh, membership } = await makeMesh(t, createMembership({ name: 'test' }), { stateDir: lower }, { clock })
  await mesh.start()
  const kicked = await makeHost(t, membership, higher)
  const heard = Promise.withResolvers<void>()
  const answered = Promise.withResolvers<void>()
  let control: Stream | undefined
  await kicked.handle(controlProtocol, (stream) => {
    control = stream
    const reader = new FrameReader({ smallBytes: 65_536, of: () => 65_536 }, (frame) => {
      const { body } = fromBinary(ControlFrameSchema, frame)
      if (body.case === 'rosterStatements') heard.resolve()
      if (body.case === 'pong') answered.resolve()
    })
    stream.addEventListener('message', (event: StreamMessageEvent) => reader.push(event.data))
    // A hello of version 1.
    stream.send(encodeFrame(Uint8Array.of(10, 4, 8, 1, 16, 1)))
  })
  const peerId = kicked.peerId.toString()
  const up = peerEvent(mesh, peerId, true)
  const connection = await dial(kicked, mesh)
  await up
  const closing = async (stream: Stream): Promise<void> => {
    if (stream.status === 'open') await once(stream, 'close')
  }
  const blocks = await connection.newStream(blockProtocol)
  const answer = once(blocks, 'message')
  const { bytes: cid } = cidOf(Uint8Array.of(1))
  blocks.send(encodeRequest({ id: 1n, cid, offset: 0n, length: 1 }))
  await answer
  const open = closing(blocks)

  const down = peerEvent(mesh, peerId, false)
  await kickMember(mesh.members, { key: keyOf(peerId) }, false)
  await heard.promise
  await open
  await closing(await connection.newStream(blockProtocol))
  const genesis = mesh.members.genesis
  const init = { subject: (await newKey(t)).publicKey, name: 'x', roles: plain, serial: serial() }
  const { bytes } = issueCertificate({ genesis, key: rootOf(membership) }, init, clock.wall())
  const { size } = mesh.members.roster
  const say = (body: ControlMessage): void =>
    void control?.send(encodeFrame(toBinary(ControlFrameSchema, create(ControlFrameSchema, { body }))))
  say({ case: 'rosterStatements', value: { statements: [bytes], last: false } })
  say({ case: 'ping', value: { nonce: 1n } })
  await answered.promise
  assert.equal(mesh.members.roster.size, size)
  assert.equal(connection.status, 'open')
  const gone = once(connection, 'close')
  clock.advance(20)
  await Promise.all([down, gone])
})
