import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { ReadSet, Result } from '../../src/plan/action.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
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
    desk.trust.brokeEarlyWord(async () => ({ planned: of.planned, inputs }), { ...announced, peer: peerOf(by) })
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

test('cargo is told early of what a lender makes once its results were found right, and no more after a lie', async (t) => {
  const desk = await Desk.open(t)
  const { ann, ivy } = desk.court.mesh
  const { standings, earlyWord } = desk.trust
  for (const peer of [ann, ivy].map(peerOf)) {
    for (let found = 0; found < 20; found += 1) {
      assert.equal(desk.trust.takesEarly(peer), false)
      await standings.agreed(peer)
    }
    assert.equal(desk.trust.takesEarly(peer), true)
  }
  await standings.lied(peerOf(ivy), { package: 'serde 1.0.0', action: '', at: 0 })
  assert.deepEqual(
    [ann, ivy].map(peerOf).map((peer) => desk.trust.takesEarly(peer)),
    [true, false],
  )
  earlyWord.broke(peerOf(ann), false)
  assert.equal(desk.trust.takesEarly(peerOf(ann)), false)
})

test('what this node links of objects that it has made is its own', async (t) => {
  const desk = await Desk.open(t)
  const { court, trust } = desk
  const { ann, max } = court.mesh
  const of = unit('serde')
  const made = { result: { ...of.giving('whole'), action: of.planned.key }, reads }
  const part: Result = { ...of.giving('part'), action: content('codegen') }
  const theirs = court.claim(ann, part, reads, { package: 'serde 1.0.0' })
  assert.deepEqual(await trust.whole(of.planned, async () => undefined, [theirs], made), [theirs])
  assert.equal((await trust.judge.ownOf(of.planned)).length, 0)
  assert.equal(trust.giver(theirs), peerOf(ann))
  const own = court.claim(max, part, reads, { package: 'serde 1.0.0' })
  const [claim] = await trust.whole(of.planned, async () => undefined, [own], made)
  assert.ok(claim !== undefined && trust.judge.isOwn(claim))
  assert.ok(claim.body.action.equals(of.planned.key))
  assert.equal(trust.giver(own), undefined)
  // For one place: kept, and given to nobody.
  const bound: ReadSet = { reads: [['bound', '', content('roots')], ...reads.reads], env: [] }
  assert.deepEqual(await trust.whole(of.planned, async () => undefined, [own], { ...made, reads: bound }), [])
  assert.equal((await trust.judge.ownOf(of.planned)).length, 2)
})

test('what others have linked is made again as a whole: dropped where it comes out differently, and nobody is called a liar', async (t) => {
  const desk = await Desk.open(t)
  const { court, trust } = desk
  const { ann } = court.mesh
  const linked = parseRustcArgs([
    '--crate-name',
    'x',
    '--crate-type',
    'proc-macro',
    '--emit=dep-info,link',
    '--out-dir',
    '/t/deps',
    '-C',
    'extra-filename=-1',
    'src/lib.rs',
  ])
  const give = async (name: string, gave: string, came: readonly (string | undefined)[]) => {
    const of = unit(name, { args: linked })
    const made = of.giving(gave)
    const claim = court.claim(ann, made, reads, { tier: 'host', package: `${name} 1.0.0` })
    await trust.judge.store.add([claim])
    let runs = 0
    const makeAgain = async () => {
      const text = came[runs++ % came.length]
      return text === undefined ? undefined : { ...comesOut(text), reads: undefined }
    }
    const accepted = { result: made, looked: reads }
    await trust.accepted(of.planned, { planned: of.planned, inputs }, [claim], accepted, makeAgain)
    await desk.rest()
    return { runs, dropped: desk.dropped.splice(0).length, counts: trust.judge.counts(claim) }
  }
  assert.deepEqual(await give('one', 'right', ['right']), { runs: 1, dropped: 0, counts: true })
  assert.deepEqual(await give('two', 'wrong', ['right']), { runs: 2, dropped: 1, counts: false })
  // Sources that have changed meanwhile: nothing is known.
  assert.deepEqual(await give('three', 'wrong', [undefined]), { runs: 1, dropped: 0, counts: true })
  assert.deepEqual(await give('four', 'wrong', ['right', 'other']), { runs: 2, dropped: 1, counts: true })
  for (const name of 'abcdefghij') assert.equal((await give(name, 'wrong', ['right'])).counts, false)
  // Another linker makes something else each time: that alone puts nobody's word out of use.
  assert.equal((await give('last', 'right', ['right'])).counts, true)
  const view = trust.view(peerOf(ann))
  assert.deepEqual([view?.lies.length, view?.isLiar, view?.unexplained, desk.purged.length], [0, false, 1, 0])
})
