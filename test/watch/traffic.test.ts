import assert from 'node:assert/strict'
import { test } from 'node:test'
import { trafficText } from '../../src/cli/traffic-text.ts'
import { reportOf } from '../../src/watch/report.ts'
import { Traffic } from '../../src/watch/traffic.ts'
import { bench, facts, temporaryFile } from './support.ts'

test('a build is told what was fetched, served, placed and refused while it ran, also after a restart', async (t) => {
  const file = await temporaryFile(t)
  const traffic = new Traffic()
  const { sessions, living } = bench(file, {}, { traffic })
  living.set(10, 'x')
  traffic.note({ what: 'fetched', bytes: 1000 })
  traffic.note({ what: 'hedged' })
  const unit = sessions.begin(10, '/ws')
  for (const bytes of [5, 6]) traffic.note({ what: 'fetched', bytes })
  traffic.note({ what: 'served', bytes: 7 })
  for (const what of ['hedged', 'bad-block', 'placed', 'placed', 'moved', 'kept'] as const) traffic.note({ what })
  unit.finish(facts('a'))
  const running = sessions.find('last')
  assert.ok(running)
  assert.equal(reportOf(running).traffic?.fetchedBytes, 11)
  await sessions.settle(10)
  traffic.note({ what: 'served', bytes: 10_000 })
  const expected = { fetchedBytes: 11, servedBytes: 7, hedged: 1, badBlocks: 1, placed: 2, moved: 1, kept: 1 }
  const after = bench(file)
  await after.sessions.load()
  for (const known of [sessions, after.sessions]) {
    const session = known.find('last')
    assert.ok(session)
    assert.deepEqual(reportOf(session).traffic, expected)
  }
  assert.deepEqual(traffic.counts(), { ...expected, fetchedBytes: 1011, servedBytes: 10_007, hedged: 2 })
  await sessions.close()
})

test('in words, what did not happen is left out', () => {
  const nothing = new Traffic().counts()
  assert.equal(trafficText({ ...nothing }), '0 B fetched, 0 B served')
  assert.equal(
    trafficText({ ...nothing, servedBytes: 2048, hedged: 2, badBlocks: 1, kept: 1 }),
    '0 B fetched, 2.0 KiB served, 2 slow sources helped out, 1 bad block refused, 1 result taken in',
  )
})
