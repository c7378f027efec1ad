import assert from 'node:assert/strict'
import { test } from 'node:test'
import { outcomes, type UnitEvent } from '../../src/watch/events.ts'
import { reportOf, summaryOf } from '../../src/watch/report.ts'
import type { Session } from '../../src/watch/sessions.ts'
import { facts } from './support.ts'

const startedAt = Date.UTC(2026, 2, 1, 9)
const unit = (crate: string, more: Partial<UnitEvent>): UnitEvent => ({
  ...facts(crate),
  session: 's1',
  startedAt,
  ms: 100,
  ...more,
})
const session: Session = {
  id: 's1',
  pid: 10,
  cwd: '/ws',
  startedAt,
  over: true,
  units: [
    unit('a', { outcome: 'recalled-here', ms: 2 }),
    unit('b', {
      outcome: 'compiled-mesh',
      where: 'bert',
      peer: 'p1',
      bytesIn: 10,
      bytesOut: 4,
      startedAt: startedAt + 50,
    }),
    unit('c', { outcome: 'recalled-mesh', where: 'cleo', peer: 'p2', bytesIn: 7 }),
    unit('d', { outcome: 'compiled-mesh', where: 'bert', peer: 'p1', ms: 400 }),
    unit('e', { outcome: 'compiled-here', fallback: 'ERR_LEASE_LOST' }),
    unit('f', { outcome: 'passed-through', kind: 'bin', reason: 'kind', startedAt: startedAt - 5000 }),
  ],
}

test('reportOf() adds up outcomes, bytes, fallbacks and what each peer did', () => {
  const report = reportOf(session)
  assert.deepEqual(report.totals, {
    'recalled-here': 1,
    'recalled-mesh': 1,
    'compiled-here': 1,
    'compiled-mesh': 2,
    'passed-through': 1,
  })
  assert.equal(report.schema, 1)
  assert.equal(report.startedAt, '2026-03-01T09:00:00.000Z')
  assert.deepEqual([report.wallMs, report.bytesIn, report.bytesOut, report.fallbacks], [400, 17, 4, 1])
  assert.deepEqual(report.peers, [
    { name: 'bert', compiled: 2, recalled: 0, ms: 500 },
    { name: 'cleo', compiled: 0, recalled: 1, ms: 100 },
  ])
})

test('reportOf() keeps the order of the units and what is known of each', () => {
  const { units } = reportOf(session)
  assert.deepEqual(
    units.map((row) => row.crate),
    ['a', 'b', 'c', 'd', 'e', 'f'],
  )
  assert.deepEqual(units[1], {
    crate: 'b',
    kind: 'lib',
    outcome: 'compiled-mesh',
    where: 'bert',
    reason: 'a slot was free',
    startMs: 50,
    ms: 100,
    bytesIn: 10,
    bytesOut: 4,
  })
  assert.equal(units[4]?.fallback, 'ERR_LEASE_LOST')
  assert.equal(units[5]?.startMs, 0, 'a clock that was set back gives no negative time')
})

test('a session without units is a report of zeros', () => {
  const report = reportOf({ ...session, units: [] })
  assert.equal(report.wallMs, 0)
  assert.deepEqual(
    Object.values(report.totals),
    outcomes.map(() => 0),
  )
})

test('summaryOf() counts what the report lists', () => {
  const { units, session: id, wallMs } = summaryOf(session)
  assert.deepEqual([units, id, wallMs], [6, 's1', 400])
})
