import assert from 'node:assert/strict'
import { test } from 'node:test'
import { kickMember } from '../../src/mesh/administer.ts'
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { decodeRosterPart } from '../../src/mesh/join-messages.ts'
import { serial } from '../../src/mesh/members.ts'
import { decodeEntry, isOrder } from '../../src/mesh/roster-entry.ts'
import type { Talk } from '../../src/mesh/talk.ts'
import { sendRoster } from '../../src/mesh/welcome.ts'
import { newKey } from './apart.ts'
import { temporaryDirectory } from './fixture.ts'
import { createMembership, membersOf } from './hiring.ts'
import { plain } from './office.ts'

test('a newcomer is told first of all what makes other statements void, in however many parts it is told', async (t) => {
  const members = await membersOf(await temporaryDirectory(t), createMembership({ name: 'office' }))
  const keys = await Promise.all(Array.from({ length: 60 }, async () => (await newKey(t)).publicKey))
  const letIn = (subject: Uint8Array) =>
    issueCertificate(members.issuer(), { subject, name: 'x', roles: plain, serial: serial() }, members.now)
  await members.say(keys.map(letIn))
  for (const key of keys.slice(0, 8)) await kickMember(members, { key }, false)
  const told: Uint8Array[] = []
  const lasts: boolean[] = []
  const send = (bytes: Uint8Array): void => {
    const { statements, last } = decodeRosterPart(bytes)
    told.push(...statements)
    lasts.push(last)
  }
  sendRoster({ send } as unknown as Talk, members)
  const orders = told.map((bytes) => isOrder(decodeEntry(bytes)))
  assert.equal(orders.length, members.roster.size)
  assert.equal(orders.lastIndexOf(true) + 1, 16)
  assert.deepEqual(lasts, [...Array(lasts.length - 1).fill(false), true])
  assert.ok(lasts.length > 2)
})
