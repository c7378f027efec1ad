import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { frame } from '../../src/market/frames.ts'
import { build, LenderBench, terms } from './bench.ts'

function lends(slots: number): LenderBench {
  const bench = new LenderBench(slots)
  bench.connect('ana', 'bob')
  return bench
}

const announce = frame('building', { build, active: true })

describe('the owner who comes back', () => {
  const room = (bench: LenderBench, guests: number) => bench.tell({ kind: 'terms', terms: { ...terms, room: guests } })

  it('is given slots at once, of the guests that came last', () => {
    const bench = lends(3)
    const [first, second, third] = [bench.guest('ana', 1), bench.guest('bob', 2), bench.guest('ana', 3)]
    const killed = bench.of('kill', room(bench, 1)).map(({ guest }) => guest)
    assert.deepEqual(killed, [second, third])
    assert.deepEqual(bench.of('kill', room(bench, 0)), [{ kind: 'kill', guest: first }])
    assert.deepEqual(bench.of('kill', room(bench, 0)), [])
  })

  it('costs nobody a unit: its builder hears that it does not run any more, whatever came of it', () => {
    const bench = lends(1)
    const guest = bench.guest('ana', 1)
    room(bench, 0)
    const sent = bench.finish(guest)
    assert.deepEqual(bench.sent('done', sent), [])
    assert.equal(bench.sent('cancelled', sent)[0]?.to, 'ana')
  })

  it('is offered to nobody, until there is room again', () => {
    const bench = lends(2)
    bench.receive('ana', announce)
    bench.pass(1000)
    bench.clear()
    room(bench, 0)
    bench.reserve('bob', 7)
    assert.equal(bench.sent('offer', bench.pass(1000)).at(-1)?.free, 0)
    assert.deepEqual(bench.sent('bid'), [])
    const later = [...room(bench, 2), ...bench.pass(300)]
    assert.equal(bench.sent('offer', later).at(-1)?.free, 1)
    assert.equal(bench.sent('bid', later)[0]?.to, 'bob')
  })
})
