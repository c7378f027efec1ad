import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeResult, type ReadSet, type Result } from '../../src/plan/action.ts'
import type { Holding } from '../../src/recall/candidates.ts'
import { bindTo } from '../../src/recall/evidence.ts'
import type { Policy, Witness } from '../../src/recall/policy.ts'
import type { SignedClaim } from '../../src/recall/signed-claim.ts'
import { cidOf, digestOf, hexOf } from '../../src/wire/cid.ts'
import { bytesOf, court, node, options, place, reads, traceOf, used, word } from './recall-node.ts'
import { content, metadata, planned, result } from './support.ts'
import { Court } from './words.ts'

/** What a peer answers on these words. */
const holding = (claims: readonly SignedClaim[], of: Result = result): Holding => ({
  peer: 'p',
  traces: [bytesOf(traceOf(of))],
  claims: claims.map(({ bytes }) => bytes),
})
const changed: Result = { ...result, outputs: result.outputs.map((output) => ({ ...output, cid: content('changed') })) }

test('what nobody stands behind is not used under any policy', async () => {
  const { ann, max } = court.mesh
  const stranger = court.mesh.hire(court.mesh.ann, 90, ['member'])
  const forged = { ...word(result), bytes: word(result).bytes.map((byte, at) => (at === 40 ? byte ^ 1 : byte)) }
  for (const claims of [
    [],
    [forged],
    [court.claim(stranger, result, reads)],
    // Good words on something else: another result, other sources, another action.
    [court.claim(ann, { ...result, wallMs: 77 }, reads)],
    [court.claim(ann, result, { reads: [], env: [] })],
    [court.claim(ann, { ...result, action: content('other') }, reads)],
  ]) {
    const { recall, fetched } = node([holding(claims)])
    assert.equal(await recall.mesh(planned, place, options), undefined)
    assert.deepEqual(fetched, [])
  }
  assert.deepEqual(
    used(await node([holding([court.claim(max, result, reads)])]).recall.mesh(planned, place, options)).holders,
    ['p'],
  )
})

test('a result whose outputs are not those of the claim is not used', async () => {
  const claim = court.claim(court.mesh.ann, result, reads, { outputs: new Uint8Array(32) })
  assert.equal(await node([holding([claim])]).recall.mesh(planned, place, options), undefined)
})

test('a policy that wants more than one word refuses until there are enough', async () => {
  const { ann, ivy } = court.mesh
  const both = [court.claim(ann, result, reads), court.claim(ivy, { ...result, wallMs: 5 }, reads)]
  for (const [policy, claims, expected] of [
    [{ kind: 'quorum', people: 2 }, both.slice(0, 1), 'policy'],
    [{ kind: 'quorum', people: 2 }, both, 'used'],
    [{ kind: 'quorum', people: 3 }, both, 'policy'],
    [{ kind: 'ci' }, both, 'policy'],
    [{ kind: 'own' }, both, 'policy'],
    [{ kind: 'strict' }, both.slice(0, 1), 'used'],
  ] as const) {
    const { recall } = node([holding(claims)])
    const found = await recall.mesh(planned, place, { ...options, policies: [{ kind: 'team' }, policy] })
    assert.equal(found && ('refused' in found ? found.refused : 'used'), expected, JSON.stringify(policy))
  }
})

test('of what is a verdict two have to say the same, word for word', async () => {
  const { ann, ivy } = court.mesh
  const said = (text: string, wallMs: number): Result => ({ ...result, wallMs, stderr: Buffer.from(text) })
  const warned = JSON.stringify({ message: 'unused', level: 'warning', spans: [], rendered: 'unused' })
  const quiet = said('', 1)
  const policies: Policy[] = [{ kind: 'team' }, { kind: 'vouched' }]
  for (const [others, expected] of [
    [[], 'policy'],
    [[[ann, said('', 2)]], 'policy'],
    [[[ivy, said('', 2)]], 'used'],
    [[[ivy, said(warned, 2)]], 'policy'],
  ] as const) {
    const all = [[ann, quiet] as const, ...others]
    const results = new Map(all.map(([, of]) => [hexOf(encodeResult(of).cid), encodeResult(of).bytes]))
    const holdings = all.map(([who, of]) => holding([court.claim(who, of, reads)], of))
    const { recall } = node(holdings, async (cid) => results.get(hexOf(cid)) ?? assert.fail('not held'))
    const found = await recall.mesh(planned, place, { ...options, policies })
    assert.equal(found && ('refused' in found ? found.refused : 'used'), expected)
    if (expected === 'used') assert.equal(used(found).claims.length, 2)
  }
})

test('who is behind a word is looked for only where people are counted', async () => {
  const lookedFor = async (policies: Policy[]): Promise<number> => {
    const { recall, judge } = node([holding([court.claim(court.mesh.ann, result, reads)])])
    let count = 0
    const witness = judge.witness.bind(judge)
    judge.witness = (claim) => {
      const { name, isCi, isSelf, ...found } = Object.getOwnPropertyDescriptors(witness(claim))
      const people = found.people.get ?? (() => new Set<string>())
      const get = (): ReadonlySet<string> => {
        count += 1
        return people()
      }
      return Object.defineProperties({} as Witness, { name, isCi, isSelf, people: { get } })
    }
    await recall.mesh(planned, place, { ...options, policies })
    return count
  }
  assert.equal(await lookedFor([{ kind: 'team' }]), 0)
  assert.ok((await lookedFor([{ kind: 'quorum', people: 2 }])) > 0)
})

test('what bears a key that the node has no more is not its own, whatever was made of it', async () => {
  const thief = court.mesh.max
  const stolen = court.claim(thief, result, reads)
  // Handed on while the node had that key, and kept.
  const before = new Court()
  await before.judge.keep([stolen])
  assert.equal((await before.judge.ownOf(planned)).length, 1)
  const after = new Court(({ ann }) => ann)
  await after.judge.keep([stolen])
  assert.equal((await after.judge.ownOf(planned)).length, 0)
  const kept = node()
  for (const output of result.outputs) kept.blocks.set(hexOf(output.cid), metadata)
  const old = court.mesh.hire(court.mesh.ann, 91, ['member'])
  await kept.recall.remember(result, reads, [court.claim(old, result, reads)])
  assert.ok(!('result' in (await kept.recall.own(planned, place, [{ kind: 'own' }]))))
})

test('of two that say different things neither is used, whoever they are, and both are remembered', async () => {
  const { ann, ivy } = court.mesh
  const words = [court.claim(ann, result, reads), court.claim(ivy, changed, reads)]
  const { recall, fetched } = node([holding(words), holding(words.slice(1), changed)])
  const found = await recall.mesh(planned, place, options)
  assert.ok(found !== undefined && 'refused' in found)
  assert.equal(found.refused, 'conflict')
  assert.deepEqual(new Set(found.disputed.map(({ claim }) => Buffer.from(claim.sig).toString('hex'))).size, 2)
  assert.deepEqual(fetched, [])
  // The one who has said the other thing need not say it again.
  assert.ok('refused' in ((await recall.mesh(planned, place, options)) ?? {}))
})

test('what is kept on others’ word is used again by those only who would take it now', async () => {
  const { ann, max } = court.mesh
  const fixture = node()
  await fixture.recall.remember(result, reads, [court.claim(ann, result, reads)])
  fixture.blocks.set(hexOf(cidOf(metadata)), metadata)
  const isUsed = async (...asked: Policy[]) => 'result' in (await fixture.recall.own(planned, place, asked))
  assert.deepEqual([await isUsed({ kind: 'team' }), await isUsed({ kind: 'strict' })], [true, true])
  assert.deepEqual([await isUsed({ kind: 'own' }), await isUsed({ kind: 'quorum', people: 2 })], [false, false])
  await fixture.recall.remember(result, reads, [court.claim(max, result, reads)])
  assert.deepEqual([await isUsed({ kind: 'own' }), await isUsed({ kind: 'ci' }, { kind: 'own' })], [true, true])
})

test('what was computed for somebody without a witness is nobody else’s, and not this node’s own either', async () => {
  const { ann, ivy, max } = court.mesh
  const unwatched: ReadSet = { reads: [], env: [] }
  // Made of ivy's sources, with the same action: they are no part of it.
  const lent: Result = { ...changed, wallMs: 9 }
  for (const [lender, policy] of [
    [ann, { kind: 'quorum', people: 2 }],
    [max, { kind: 'ci' }],
    [max, { kind: 'quorum', people: 3 }],
  ] as const) {
    const answer: Holding = {
      peer: 'ivy',
      traces: [bytesOf(traceOf(changed)), bytesOf(traceOf(lent, unwatched))],
      claims: [court.claim(ivy, changed, reads).bytes, court.claim(lender, lent, unwatched).bytes],
    }
    const { recall } = node([answer], async () => encodeResult(changed).bytes)
    const found = await recall.mesh(planned, place, { ...options, policies: [policy] })
    assert.deepEqual(found, { refused: 'policy', disputed: [] })
  }
})

test('what holds for one place only is this node’s own by its word, and not because it is here', async () => {
  const { ann } = court.mesh
  const fixture = node()
  const bound = bindTo(reads, place)
  fixture.blocks.set(hexOf(cidOf(metadata)), metadata)
  // Linked here of what others made: their word is about that part.
  const part = court.claim(ann, { ...result, action: content('codegen') }, reads)
  await fixture.recall.remember(result, bound, [part])
  const isUsed = async (...asked: Policy[]) => 'result' in (await fixture.recall.own(planned, place, asked))
  const strictest: Policy[] = [{ kind: 'own' }, { kind: 'quorum', people: 2 }, { kind: 'ci' }]
  assert.deepEqual([await isUsed({ kind: 'team' }), await isUsed(...strictest)], [true, false])
  const { cid } = encodeResult(result)
  await fixture.judge.signOwn({ ...result, cid }, bound, { package: 'x 1.0.0', tier: 'host', at: 1 })
  assert.equal(await isUsed(...strictest), true)
  assert.deepEqual(await fixture.recall.holdings([digestOf(planned.key)]), [])
})

test('what this node has made itself is used again, though it is known to come out differently each time', async () => {
  const fixture = node()
  fixture.blocks.set(hexOf(cidOf(metadata)), metadata)
  const { cid } = encodeResult(result)
  await fixture.judge.signOwn({ ...result, cid }, reads, { package: 'x 1.0.0', tier: 'host', at: 1 })
  await fixture.recall.remember(result, reads, [])
  assert.equal((await fixture.recall.holdings([digestOf(planned.key)])).length, 1)
  fixture.unsteady.add('x 1.0.0')
  assert.ok('result' in (await fixture.recall.own(planned, place, [{ kind: 'own' }])))
  assert.deepEqual(await fixture.recall.holdings([digestOf(planned.key)]), [])
})
