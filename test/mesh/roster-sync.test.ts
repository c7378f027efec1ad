import assert from 'node:assert/strict'
import { test } from 'node:test'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import type { ControlMessage } from '../../src/mesh/control.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { serial, signingKeyOf } from '../../src/mesh/members.ts'
import { RosterSync } from '../../src/mesh/roster-sync.ts'
import { temporaryDirectory } from './fixture.ts'
import { createMembership, membersOf } from './hiring.ts'

test('what is heard while a control stream is being opened is told when the other side has greeted', async (t) => {
  const membership = createMembership({ name: 'office' })
  const members = await membersOf(await temporaryDirectory(t), membership)
  const told: { peerId: string; statements: readonly Uint8Array[] }[] = []
  const sync = new RosterSync({
    members,
    peers: () => [],
    send(peerId, body: ControlMessage) {
      if (body.case === 'rosterStatements') told.push({ peerId, statements: body.value.statements ?? [] })
      return true
    },
    onAgreed: () => undefined,
  })
  const statement = async () => {
    const { publicKey: subject } = signingKeyOf(await loadIdentity(await temporaryDirectory(t)))
    const init = { subject, name: 'somebody', roles: ['member'] as const, serial: serial() }
    return issueCertificate(members.issuer(), init, Date.now())
  }
  const [first, second, third] = [await statement(), await statement(), await statement()]
  const [ben, cyd] = [sync.opening('ben'), sync.opening('cyd')]
  members.take([first.bytes], 'dan')
  await members.say([second])
  assert.deepEqual(told, [])
  cyd.closed()
  ben.greeted()
  assert.deepEqual(told, [{ peerId: 'ben', statements: [first.bytes, second.bytes] }])
  // From here on it is among the peers that are told of everything.
  members.take([third.bytes], 'dan')
  assert.equal(told.length, 1)
  await members.saved()
  sync.stop()
})
