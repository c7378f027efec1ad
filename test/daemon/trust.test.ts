import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Rerun } from '../../src/daemon/verdict.ts'
import { encodeResult, type ReadSet, type Result } from '../../src/plan/action.ts'
import type { PlannedAction } from '../../src/plan/plan.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import { type SignedClaim, subjectOf } from '../../src/recall/signed-claim.ts'
import type { Person } from '../mesh/office.ts'
import { content } from '../recall/support.ts'
import { peerOf } from '../recall/words.ts'

import { comesOut, Desk, inputs, reads, unit, use } from './trust-desk.ts'

test('what an honest member gave is found right', async (t) => {
  const desk = await Desk.open(t)
  desk.rerun = () => comesOut('right')
  const { ann } = desk.court.mesh
  for (const name of ['one', 'two']) await use(desk, ann, unit(name), 'right', 'confined')
  await desk.rest()
  const view = desk.trust.view(peerOf(ann))
  assert.deepEqual([view?.accepted, view?.audited, view?.agreed, view?.isLiar], [2, 2, 2, false])
  assert.deepEqual([desk.dropped, desk.purged, desk.troubles], [[], [], []])
})

test('lies about two packages make a liar, of whom all is dropped; each lie is dropped when it is found', async (t) => {
  const desk = await Desk.open(t)
  desk.rerun = () => comesOut('right')
  const { ann } = desk.court.mesh
  const one = await use(desk, ann, unit('one'), 'wrong', 'confined')
  await desk.rest()
  assert.deepEqual([desk.dropped, desk.purged], [[one.cid], []])
  assert.deepEqual(desk.trust.judge.admit(unit('one').planned, [one.claim.bytes]), [], 'it is not taken a second time')
  const two = await use(desk, ann, unit('two'), 'wrong', 'watched')
  await desk.rest()
  assert.deepEqual([desk.dropped, desk.purged], [[one.cid, two.cid], [peerOf(ann)]])
  assert.deepEqual(desk.troubles, ['ERR_LIAR'])
  const other = desk.court.claim(ann, unit('three').giving('right'), reads, { package: 'three 1.0.0' })
  assert.deepEqual(desk.trust.judge.admit(unit('three').planned, [other.bytes]), [])
})

test('what cargo would not make again when a source changes is dropped, though the outputs are right', async (t) => {
  const desk = await Desk.open(t)
  const { ann } = desk.court.mesh
  const of = unit('one')
  const told = { sources: [], variables: [], unsaid: [] }
  desk.rerun = () => ({ ...comesOut('right'), told: { ...told, variables: ['VERSION'] } })
  const { cid } = await use(desk, ann, of, 'right', 'confined')
  await desk.rest()
  assert.deepEqual([desk.dropped, desk.trust.view(peerOf(ann))?.isLiar], [[cid], false])
  desk.rerun = () => ({ ...comesOut('right'), told: { ...told, sources: ['\0workspace\0/src/lib.rs'] } })
  await use(desk, ann, unit('two'), 'right', 'confined')
  await desk.rest()
  assert.equal(desk.trust.view(peerOf(ann))?.agreed, 1)
})

const warning = (message: string): Result['stderr'] =>
  new Uint8Array(
    Buffer.from(`${JSON.stringify({ message, level: 'warning', spans: [], children: [], rendered: message })}\n`),
  )
/** A unit of which somebody has rustc say this. */
function saying(name: string, message: string, change: Partial<PlannedAction> = {}): ReturnType<typeof unit> {
  const { planned, giving } = unit(name, change)
  return { planned, giving: (text) => ({ ...giving(text), stderr: warning(message) }) }
}

test('what rustc does not say here is dropped with the right outputs, and counts as what nobody can explain', async (t) => {
  const desk = await Desk.open(t)
  desk.rerun = () => ({ ...comesOut('right'), stderr: warning('unused') })
  const { ann } = desk.court.mesh
  await use(desk, ann, saying('honest', 'unused'), 'right', 'host')
  await desk.rest()
  assert.equal(desk.trust.view(peerOf(ann))?.agreed, 1)
  const { claim, cid } = await use(desk, ann, saying('one', 'run this'), 'right', 'confined')
  await desk.rest()
  assert.deepEqual(desk.dropped, [cid])
  assert.deepEqual(desk.trust.judge.admit(unit('one').planned, [claim.bytes]), [], 'it is not taken a second time')
  const { unexplained, lies } = desk.trust.view(peerOf(ann)) ?? {}
  assert.deepEqual([unexplained, lies], [1, []])
  let times = 0
  desk.rerun = () => ({ ...comesOut('right'), stderr: warning(`at ${times++}`) })
  await use(desk, ann, saying('two', 'at noon'), 'right', 'confined')
  await desk.rest()
  assert.deepEqual([times, desk.dropped.length, desk.trust.view(peerOf(ann))?.agreed], [2, 1, 2])
})

test('what a macro says beside rustc is its own affair outside of a sandbox', async (t) => {
  const desk = await Desk.open(t)
  desk.rerun = () => ({ ...comesOut('right'), stderr: Buffer.from('no config here\n') })
  const { ann } = desk.court.mesh
  for (const [name, tier] of [
    ['one', 'host'],
    ['two', 'confined'],
  ] as const) {
    await use(desk, ann, saying(name, '', { usesMacros: true }), 'right', tier)
  }
  await desk.rest()
  assert.equal(desk.dropped.length, 2, 'a diagnostic is none of that')
  const plain = unit('three', { usesMacros: true })
  const chatting = { ...plain, giving: (text: string) => ({ ...plain.giving(text), stderr: Buffer.from('config\n') }) }
  await use(desk, ann, chatting, 'right', 'host')
  await desk.rest()
  assert.equal(desk.dropped.length, 2)
})

test('what no sandbox can make is made again outside of it', async (t) => {
  const desk = await Desk.open(t)
  const { ann } = desk.court.mesh
  const outside = async (name: string, made: Rerun | undefined, change: Partial<PlannedAction> = {}) => {
    const { planned, giving } = unit(name, change)
    const claim = desk.court.claim(ann, giving('right'), reads, { tier: 'host', package: `${name} 1.0.0` })
    const result = giving('right')
    await desk.trust.accepted(planned, { planned, inputs }, [claim], { result, looked: reads }, async () => made)
    await desk.rest()
    return encodeResult(result).cid.toString()
  }
  const failed = { outputs: new Uint8Array(), reads: undefined }
  await outside('one', comesOut('right'), { notAway: 'kind' })
  assert.equal(desk.trust.view(peerOf(ann))?.agreed, 1, 'by what drives the compiler in place of rustc')
  const lies = [
    await outside('two', comesOut('wrong'), { notAway: 'kind' }),
    await outside('three', failed, { notAway: 'kind' }),
  ]
  await outside('four', comesOut('right'))
  assert.equal(desk.trust.view(peerOf(ann))?.agreed, 2, 'where the sandbox lacks something')
  lies.push(await outside('five', failed))
  assert.deepEqual(desk.dropped, lies)
  const { unexplained, isLiar } = desk.trust.view(peerOf(ann)) ?? {}
  assert.deepEqual([unexplained, isLiar, desk.trust.audits.stats.open], [3, false, 0])
  await outside('six', undefined)
  assert.deepEqual([desk.dropped.length, desk.trust.audits.stats.open], [3, 1])
})

test('what was computed at home is dropped at once, and called a lie when rustc here has made something else of it', async (t) => {
  const desk = await Desk.open(t)
  desk.rerun = () => comesOut('right')
  const { ann } = desk.court.mesh
  for (const name of ['one', 'two']) {
    const of = unit(name)
    const { cid } = await use(desk, ann, of, 'wrong', 'host')
    await desk.rest()
    assert.equal(desk.dropped.at(-1), cid)
    const [claim] = await desk.trust.made(
      of.planned,
      { planned: of.planned, inputs },
      { result: of.giving('right'), reads, disputed: [] },
    )
    assert.ok(claim)
    await desk.rest()
  }
  const view = desk.trust.view(peerOf(ann))
  assert.deepEqual([view?.unexplained, view?.lies.length, desk.purged], [2, 2, [peerOf(ann)]])
})

test('a package that comes out differently is marked and dropped, and nobody is blamed', async (t) => {
  const desk = await Desk.open(t)
  let rolls = 0
  desk.rerun = () => {
    rolls += 1
    return comesOut(`${rolls}`)
  }
  const { ann } = desk.court.mesh
  const dice = unit('dice')
  const { claim, cid } = await use(desk, ann, dice, 'something', 'confined')
  await desk.rest()
  assert.deepEqual([desk.trust.determinism.isUnsteady('dice 1.0.0'), desk.dropped], [true, [cid]])
  assert.deepEqual(desk.trust.judge.admit(dice.planned, [claim.bytes]), [])
  assert.deepEqual(
    await desk.trust.made(
      dice.planned,
      { planned: dice.planned, inputs },
      { result: dice.giving('8'), reads, disputed: [] },
    ),
    [],
  )
  assert.deepEqual([desk.trust.view(peerOf(ann))?.lies, desk.purged], [[], []])
})

test('what is one thing in every sandbox and another one elsewhere is left to nobody after the first time, and marked after the second', async (t) => {
  const desk = await Desk.open(t)
  desk.rerun = () => comesOut('in a sandbox')
  const { ann } = desk.court.mesh
  // With other sources each time: no two claims are about the same.
  const edited = (n: number) => unit('placed', { usesMacros: true, key: content(`edit ${n}`) })
  const made = async (n: number, text: string) => {
    const { planned, giving } = edited(n)
    const result = { ...giving(text), action: planned.key }
    await desk.trust.made(planned, { planned, inputs }, { result, reads, disputed: [] })
    await desk.rest()
  }
  const taken = edited(1)
  assert.equal(desk.trust.isUnsettled(taken.planned), false)
  await use(desk, ann, unit('placed', { usesMacros: true }), 'outside of it', 'host')
  await desk.rest()
  assert.deepEqual([desk.dropped.length, desk.trust.isUnsettled(taken.planned)], [1, true])
  assert.deepEqual(desk.trust.determinism.unsteady(), [], 'by the word of others nothing is marked')
  assert.equal(desk.trust.isUnsettled(unit('other').planned), false)
  await made(2, 'outside, here')
  assert.deepEqual(
    [desk.trust.determinism.isUnsteady('placed 1.0.0'), desk.trust.isUnsettled(taken.planned)],
    [true, false],
  )
  assert.deepEqual([desk.trust.view(peerOf(ann))?.lies, desk.purged], [[], []])
})

test('what comes out alike here in the sandbox and outside of it is taken from others again', async (t) => {
  const desk = await Desk.open(t)
  desk.rerun = () => comesOut('right')
  const { ann } = desk.court.mesh
  const of = unit('one', { usesMacros: true })
  await use(desk, ann, of, 'wrong', 'host')
  await desk.rest()
  assert.ok(desk.trust.isUnsettled(of.planned))
  const other = unit('one', { usesMacros: true, key: content('other sources') })
  const result = { ...other.giving('right'), action: other.planned.key }
  await desk.trust.made(other.planned, { planned: other.planned, inputs }, { result, reads, disputed: [] })
  await desk.rest()
  assert.deepEqual([desk.trust.isUnsettled(of.planned), desk.trust.determinism.unsteady()], [false, []])
})

test('what a macro made differently elsewhere is dropped, and says nothing of its package where it comes out alike', async (t) => {
  const desk = await Desk.open(t)
  desk.rerun = () => comesOut('today')
  const { ann } = desk.court.mesh
  for (const name of ['one', 'two', 'three'])
    await use(desk, ann, unit(name, { usesMacros: true }), 'yesterday', 'confined')
  await desk.rest()
  const view = desk.trust.view(peerOf(ann))
  assert.deepEqual([view?.unexplained, view?.lies, view?.isLiar], [3, [], false])
  assert.equal(desk.dropped.length, 3)
  // rustc here makes what the sandbox here makes: one bogus word of somebody else is no mark.
  const of = unit('serde', { usesMacros: true })
  const bogus = desk.court.claim(ann, of.giving('yesterday'), reads, { package: 'serde 1.0.0' })
  await desk.trust.judge.store.add([bogus])
  const lent = { planned: of.planned, inputs }
  await desk.trust.made(of.planned, lent, { result: of.giving('today'), reads, disputed: [] })
  await desk.rest()
  assert.deepEqual(desk.trust.determinism.unsteady(), [])
  assert.equal(desk.trust.view(peerOf(ann))?.unexplained, 4)
})

test('what is done for others marks no package, whatever the task calls itself', async (t) => {
  const desk = await Desk.open(t)
  const { planned, giving } = unit('serde')
  const sign = (text: string) => desk.trust.sign(planned.action, { result: giving(text), reads }, 'confined')
  assert.ok(await sign('heads'))
  assert.equal(await sign('tails'), undefined)
  assert.deepEqual(desk.trust.determinism.unsteady(), [])
})

test('lies are counted by the packages that they are about, not by the names that they bear', async (t) => {
  const desk = await Desk.open(t)
  desk.rerun = () => comesOut('right')
  const { ann } = desk.court.mesh
  for (const name of ['one', 'two']) {
    await use(desk, ann, unit(name), 'wrong', 'confined', 'made-up 1.0.0')
    await desk.rest()
  }
  assert.equal(desk.trust.view(peerOf(ann))?.isLiar, true)
})

test('a node that makes something else of the same a second time marks it, and says nothing more of it', async (t) => {
  const desk = await Desk.open(t)
  const dice = unit('dice')
  const make = (text: string) =>
    desk.trust.made(dice.planned, { planned: dice.planned, inputs }, { result: dice.giving(text), reads, disputed: [] })
  assert.equal((await make('six')).length, 1)
  assert.equal((await make('one')).length, 0)
  assert.ok(desk.trust.determinism.isUnsteady('dice 1.0.0'))
})

test('who contradicts others is tried even when its evidence is another one', async (t) => {
  const desk = await Desk.open(t)
  desk.rerun = () => comesOut('right')
  const { ann } = desk.court.mesh
  const wide: ReadSet = { ...reads, env: [['NOT_ASKED_FOR', null]] }
  for (const name of ['one', 'two']) {
    const of = unit(name)
    const claim = desk.court.claim(ann, of.giving('wrong'), wide, { tier: 'host', package: `${name} 1.0.0` })
    const disputed = [{ claim, reads: wide }]
    await desk.trust.made(of.planned, { planned: of.planned, inputs }, { result: of.giving('right'), reads, disputed })
    await desk.rest()
  }
  assert.equal(desk.trust.view(peerOf(ann))?.isLiar, true)
})

test('whose word cannot be explained for too many packages is not used any more, and is no liar', async (t) => {
  const desk = await Desk.open(t)
  desk.rerun = () => comesOut('right')
  const { ann } = desk.court.mesh
  const counts = (name: string) =>
    desk.trust.judge.counts(desk.court.claim(ann, unit(name).giving('right'), reads, { package: `${name} 1.0.0` }))
  for (let n = 0; n < 8; n += 1) {
    assert.ok(counts('next'), `${n}`)
    const { claim } = await use(desk, ann, unit(`p${n}`), 'wrong', 'host')
    await desk.rest()
    assert.equal(desk.trust.judge.counts({ ...claim, body: { ...claim.body, at: claim.body.at + 1 } }), false)
  }
  assert.equal(counts('next'), false)
  assert.deepEqual([desk.trust.view(peerOf(ann))?.isLiar, desk.purged], [false, []])
})

test('a library that was recalled is tried by what lenders are asked for, where that is another action', async (t) => {
  const desk = await Desk.open(t)
  desk.rerun = () => comesOut('right')
  const { ann } = desk.court.mesh
  for (const name of ['one', 'two']) {
    const [whole, part] = [unit(name), unit(`${name}_without_linker`)]
    const made = whole.giving('wrong')
    const claim = desk.court.claim(ann, made, reads, { package: `${name} 1.0.0` })
    const lent = {
      planned: { ...part.planned, action: { ...part.planned.action, env: whole.planned.action.env } },
      inputs,
    }
    await desk.trust.accepted(whole.planned, lent, [claim], { result: made, looked: reads })
    await desk.rest()
    assert.equal(desk.dropped.at(-1), encodeResult(made).cid.toString())
  }
  assert.deepEqual(desk.purged, [peerOf(ann)])
})

test('who lies about a part of what was made here loses the whole', async (t) => {
  const desk = await Desk.open(t)
  desk.rerun = () => comesOut('right')
  const { ann } = desk.court.mesh
  const linked = { args: parseRustcArgs(['--crate-type', 'bin', '--emit', 'dep-info,link', '--crate-name', 'x']) }
  const wholes: string[] = []
  for (const name of ['one', 'two']) {
    const [whole, part] = [unit(name, linked), unit(`${name}_objects`)]
    const claim = desk.court.claim(ann, part.giving('wrong'), reads, { tier: 'confined', package: `${name} 1.0.0` })
    const made = whole.giving('linked')
    const lent = { planned: part.planned, inputs }
    await desk.trust.accepted(whole.planned, lent, [claim], { result: made, looked: reads })
    wholes.push(encodeResult(made).cid.toString())
    await desk.rest()
  }
  assert.deepEqual([desk.dropped, desk.purged], [wholes, [peerOf(ann)]])
  const other = desk.court.claim(ann, unit('three', linked).giving('wrong'), reads)
  const { planned } = unit('three', linked)
  await desk.trust.accepted(planned, { planned: unit('three_objects').planned, inputs }, [other], {
    result: unit('three', linked).giving('wrong'),
    looked: reads,
  })
  await desk.rest()
  assert.equal(desk.dropped.length, 2, 'a whole that others made cannot be tried by its part')
})

test('a lender has to put its own name to what it delivers', async (t) => {
  const desk = await Desk.open(t)
  const { ann, ivy, max } = desk.court.mesh
  const of = unit('one')
  const made = of.giving('right')
  const told = { ...reads, result: encodeResult(made).cid }
  const lent = (by: Person, bytes: Uint8Array) => desk.trust.lent(of.planned, peerOf(by), bytes, told)
  const by = (who: Person, of: Result, looked = reads, change: Partial<SignedClaim['body']> = {}) =>
    desk.court.claim(who, of, looked, { package: 'one 1.0.0', ...change })
  const good = by(ann, made)
  assert.deepEqual((await lent(ann, good.bytes)).sig, good.sig)
  const unwatched = by(ann, made, { reads: [], env: [] })
  assert.deepEqual((await lent(ann, unwatched.bytes)).sig, unwatched.sig, 'what was looked at need not be its word')
  for (const [who, bytes] of [
    [ivy, good.bytes],
    [ann, new Uint8Array()],
    [ann, by(ann, made, { ...reads, env: [['OTHER', null]] }).bytes],
    [ann, by(ann, of.giving('else')).bytes],
    [ann, by(ann, made, reads, { package: 'made-up 1.0.0' }).bytes],
    [ann, by(ann, made, reads, { tier: 'host' }).bytes],
  ] as const) {
    await assert.rejects(lent(who, bytes), { code: 'ERR_CLAIM' })
  }
  await desk.trust.standings.doubt(subjectOf(good))
  await assert.rejects(
    lent(ann, by(ann, made, reads, { at: 1 }).bytes),
    { code: 'ERR_DISPUTED' },
    'it is doubted in this',
  )
  const another = by(ivy, made)
  assert.deepEqual((await lent(ivy, another.bytes)).sig, another.sig)
  await desk.trust.judge.store.add([by(ann, of.giving('else')), by(max, of.giving('else'))])
  await assert.rejects(lent(ivy, another.bytes), { code: 'ERR_DISPUTED' }, 'somebody says otherwise')
})
