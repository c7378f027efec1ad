import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { peopleBehind } from '../../src/mesh/people.ts'
import { hex } from '../../src/mesh/statement.ts'
import { encodeResult, type ReadSet, type Result, type Trace } from '../../src/plan/action.ts'
import { contradict } from '../../src/recall/judge.ts'
import { subjectOf, unwatched } from '../../src/recall/signed-claim.ts'
import { hexOf } from '../../src/wire/cid.ts'
import { plain, start, trusted } from '../mesh/office.ts'
import { content, planned, result } from './support.ts'
import { Court, kickStatement, peerOf } from './words.ts'

const reads: ReadSet = { reads: [['file', '\0workspace\0/a', content('a')]], env: [] }
const other: Result = { ...result, outputs: result.outputs.map((output) => ({ ...output, cid: content('other') })) }

describe('a claim counts', () => {
  test('when a member has signed it, and the node itself', () => {
    const { judge, mesh, claim } = courtWith()
    const claims = [claim(mesh.ann), claim(mesh.max)]
    const bytes = claims.map((one) => one.bytes)
    assert.deepEqual(
      judge.admit(planned, bytes).map((one) => one.bytes),
      bytes,
    )
    assert.deepEqual(
      claims.map((one) => judge.witness(one).isSelf),
      [false, true],
    )
  })

  test('not when it is forged, of another mesh or action, of a stranger, of one who was shut out or caught, or of what is unsteady', () => {
    const court = new Court()
    const { judge, mesh } = court
    const good = court.claim(mesh.ann, result, reads)
    const stranger = mesh.hire(mesh.ann, 77, plain)
    const cases = [
      new Uint8Array(good.bytes.map((byte, at) => (at === good.bytes.length - 1 ? byte ^ 1 : byte))),
      court.claim(mesh.ann, result, reads, { mesh: new Uint8Array(16) }).bytes,
      court.claim(mesh.ann, { ...result, action: content('else') }, reads).bytes,
      court.claim(stranger, result, reads).bytes,
      court.claim(mesh.ann, result, reads, { package: 'made-up 1.0.0' }).bytes,
      court.claim(mesh.ann, result, unwatched).bytes,
    ]
    assert.deepEqual(judge.admit(planned, cases), [])
    assert.equal(judge.admit(planned, [good.bytes]).length, 1)
    assert.equal(judge.delivered(planned, cases).length, 1, 'what nobody watched is good for whoever awarded it')
    court.unsteady.add('x 1.0.0')
    assert.deepEqual(judge.admit(planned, [good.bytes]), [])
    court.unsteady.clear()
    court.liars.add(peerOf(mesh.ann))
    assert.deepEqual(judge.admit(planned, [good.bytes]), [])
    court.liars.clear()
    court.roster.add(kickStatement(mesh.ann, mesh.ivy), start)
    assert.deepEqual(judge.admit(planned, [court.claim(mesh.ivy, result, reads).bytes]), [])
  })
})

test('a claim of one who is doubted in this, or of whom too much cannot be explained, does not count in any words', () => {
  const court = new Court()
  const { judge, mesh } = court
  const first = court.claim(mesh.ann, result, reads)
  court.doubted.add(Buffer.from(subjectOf(first)).toString('hex'))
  const wider: ReadSet = { ...reads, env: [['MORE', null]] }
  for (const again of [
    first,
    court.claim(mesh.ann, result, reads, { at: start + 1 }),
    court.claim(mesh.ann, other, wider),
  ]) {
    assert.deepEqual([judge.counts(again), judge.isWorthTrying(again)], [false, true])
  }
  assert.ok(judge.counts(court.claim(mesh.ivy, result, reads)))
  court.unreliable.add(peerOf(mesh.ivy))
  assert.equal(judge.counts(court.claim(mesh.ivy, result, reads)), false)
  court.unreliable.add(peerOf(mesh.max))
  assert.ok(judge.counts(court.claim(mesh.max, result, reads)), 'this node itself')
})

describe('what this node has computed', () => {
  test('is signed once for the same outputs, and not at all for two different ones', async () => {
    const { judge } = new Court()
    const sign = (of: Result, wallMs: number) => {
      const made = { ...of, wallMs }
      return judge.sign({ ...made, cid: encodeResult(made).cid }, reads, {
        package: 'x 1.0.0',
        tier: 'host',
        at: start,
      })
    }
    assert.ok(await sign(result, 1))
    assert.ok(await sign(result, 2))
    assert.equal(await sign(other, 3), undefined)
    assert.equal((await judge.kept(hexOf(planned.key))).length, 2)
  })

  test('is its own also when it comes out differently each time, and is nobody else’s then', async () => {
    const { judge } = new Court()
    const traces: Trace[] = []
    for (const made of [result, other]) {
      const { cid } = encodeResult(made)
      await judge.signOwn({ ...made, cid }, reads, { package: 'x 1.0.0', tier: 'host', at: start })
      traces.push({ v: 2, action: planned.key, ...reads, result: cid })
    }
    const own = await judge.ownOf(planned)
    for (const trace of traces) {
      assert.equal(own.filter((claim) => judge.isAbout(claim, trace)).length, 1)
      assert.deepEqual(await judge.about(trace), [])
    }
  })

  test('is not said to differ where nobody watched what it was made from', async () => {
    const { judge } = new Court()
    for (const made of [result, other]) {
      const signed = await judge.sign({ ...made, cid: encodeResult(made).cid }, unwatched, {
        package: 'x 1',
        tier: 'watched',
        at: start,
      })
      assert.ok(signed)
    }
  })

  test('is stood by whatever others say; of what others say nothing is handed on while they disagree', async () => {
    const court = new Court()
    const { judge, mesh, store } = court
    const [theirs, against] = [court.claim(mesh.ann, result, reads), court.claim(mesh.ivy, other, reads)]
    assert.ok(contradict(theirs, against))
    const trace = { v: 2 as const, action: planned.key, ...reads, result: encodeResult(result).cid }
    await store.add([theirs])
    assert.deepEqual(await judge.about(trace), [theirs])
    await store.add([against])
    assert.deepEqual(await judge.about(trace), [])
    const own = court.claim(mesh.max, result, reads)
    await store.add([own])
    assert.deepEqual(new Set(await judge.about(trace)), new Set([theirs, own]))
  })
})

test('claims are kept as they came, and one signer crowds out nobody else', async () => {
  const court = new Court()
  const { mesh, store } = court
  const first = court.claim(mesh.ivy, result, reads)
  await store.add([first])
  const many = Array.from({ length: 12 }, (_, at) => court.claim(mesh.ann, result, reads, { at: start + at }))
  for (const one of many) await store.add([one])
  await store.add([first])
  assert.deepEqual(await store.of(hexOf(planned.key)), [first, ...many.slice(-8)])
})

test('where too many say something, what counts for nothing makes room, and this node’s own word always has some', async () => {
  const court = new Court()
  const { mesh, judge, store } = court
  const hired = Array.from({ length: 8 }, (_, at) => mesh.hire(mesh.ann, 40 + at, plain))
  for (const by of hired) {
    court.roster.add(by.certificate.bytes, start)
    await judge.keep(Array.from({ length: 8 }, (_, at) => court.claim(by, result, reads, { at: start + at })))
  }
  const all = async () => await store.of(hexOf(planned.key))
  const late = court.claim(mesh.ivy, result, reads)
  await judge.keep([late])
  assert.deepEqual([(await all()).length, (await all()).includes(late)], [64, false])
  const signed = await judge.sign({ ...result, cid: encodeResult(result).cid }, reads, {
    package: 'x 1.0.0',
    tier: 'host',
    at: start,
  })
  assert.ok(signed !== undefined && (await all()).includes(signed))
  assert.equal((await all()).length, 64)
  const [liar] = hired
  assert.ok(liar)
  court.liars.add(peerOf(liar))
  await judge.keep([late])
  assert.deepEqual([(await all()).length, (await all()).includes(late)], [64, true])
})

test('machines that somebody has let in count as that person, unless it is an administrator', () => {
  const court = new Court()
  const { mesh, roster } = court
  // ivy, who may invite, has made herself another machine.
  const second = mesh.hire(mesh.ivy, 20, plain)
  const third = mesh.hire(mesh.ann, 21, plain)
  const admin = mesh.hire(mesh.ann, 22, trusted)
  for (const { certificate } of [second, third, admin]) roster.add(certificate.bytes, start)
  const person = ({ key }: typeof second) => [...peopleBehind(roster, key.publicKey, start)].join()
  const ivy = hex(mesh.ivy.key.publicKey)
  assert.deepEqual([mesh.ivy, mesh.max, second].map(person), [ivy, ivy, ivy])
  assert.equal(new Set([mesh.ann, mesh.ivy, third, admin].map(person)).size, 4)
})

function courtWith() {
  const court = new Court()
  const claim = (by: Parameters<Court['claim']>[0]) => court.claim(by, result, reads)
  return { judge: court.judge, mesh: court.mesh, claim }
}
