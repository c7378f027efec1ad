import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { ReadSet, Result } from '../../src/plan/action.ts'
import type { Person } from '../mesh/office.ts'
import { content } from '../recall/support.ts'
import { peerOf } from '../recall/words.ts'

import { comesOut, Desk, inputs, reads, unit } from './trust-desk.ts'

test('of a lender that was lost after its metadata was announced it is found out whether that was right', async (t) => {
  const desk = await Desk.open(t)
  const { ann, ivy } = desk.court.mesh
  const of = unit('serde')
  const announced = { metadata: content('right'), isProven: false }
  const lose = async (by: Person, out: readonly string[]) => {
    let runs = 0
    desk.rerun = () => ({ ...comesOut(''), metadata: content(out[runs++ % out.length] ?? '') })
    desk.trust.brokeEarlyWord({ planned: of.planned, inputs }, { ...announced, peer: peerOf(by) })
    assert.equal(desk.trust.earlyWord.isTaken(peerOf(by)), false)
    await turn()
    await desk.rest()
    return desk.trust.earlyWord.isTaken(peerOf(by))
  }
  // Honest, as often as it likes.
  for (let time = 0; time < 3; time += 1) assert.equal(await lose(ann, ['right']), true)
  // What comes out differently each time says nothing of anybody: it has to wait.
  assert.equal(await lose(ann, ['this', 'that']), false)
  desk.clock.advance(3_600_000)
  assert.equal(desk.trust.earlyWord.isTaken(peerOf(ann)), true)
  assert.equal(desk.trust.view(peerOf(ann)), undefined)
  assert.equal(await lose(ivy, ['other']), false)
  desk.clock.advance(36_000_000)
  assert.equal(desk.trust.earlyWord.isTaken(peerOf(ivy)), false)
  assert.equal(desk.trust.view(peerOf(ivy))?.unexplained, 1)
})

test('what this node links of objects that it has made is its own, also those made under a key that it had before', async (t) => {
  const desk = await Desk.open(t)
  const { court, trust } = desk
  const { ann, ivy } = court.mesh
  const of = unit('serde')
  const made = { result: { ...of.giving('whole'), action: of.planned.key }, reads }
  const part: Result = { ...of.giving('part'), action: content('codegen') }
  const theirs = court.claim(ann, part, reads, { package: 'serde 1.0.0' })
  assert.deepEqual(await trust.whole(of.planned, undefined, [theirs], made), [theirs])
  assert.equal((await trust.judge.ownOf(of.planned)).length, 0)
  assert.equal(trust.giver(theirs), peerOf(ann))
  const before = court.claim(ivy, part, reads, { package: 'serde 1.0.0' })
  assert.deepEqual(await trust.whole(of.planned, undefined, [before], made), [before])
  court.formerKeys.push(ivy.key.publicKey)
  const [claim] = await trust.whole(of.planned, undefined, [before], made)
  assert.ok(claim !== undefined && trust.judge.isOwn(claim))
  assert.ok(claim.body.action.equals(of.planned.key))
  assert.equal(trust.giver(before), undefined)
  // For one place: kept, and given to nobody.
  const bound: ReadSet = { reads: [['bound', '', content('roots')], ...reads.reads], env: [] }
  assert.deepEqual(await trust.whole(of.planned, undefined, [before], { ...made, reads: bound }), [])
  assert.equal((await trust.judge.ownOf(of.planned)).length, 2)
})
