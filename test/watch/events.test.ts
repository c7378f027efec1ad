import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeRecord, encodeRecord, outcomes, type SessionRecord } from '../../src/watch/events.ts'

const name = fc.string({ minLength: 1, maxLength: 40 })
const unit = fc.record(
  {
    session: name,
    crate: name,
    kind: name,
    outcome: fc.constantFrom(...outcomes),
    where: name,
    reason: name,
    startedAt: fc.nat(),
    ms: fc.nat(),
    bytesIn: fc.nat(),
    bytesOut: fc.nat(),
    peer: name,
    fallback: name,
  },
  {
    requiredKeys: ['session', 'crate', 'kind', 'outcome', 'where', 'reason', 'startedAt', 'ms', 'bytesIn', 'bytesOut'],
  },
)

test('a record reads back as it was written, on one line', () => {
  fc.assert(
    fc.property(unit, (value) => {
      const record = { type: 'unit', unit: { ...value } } as SessionRecord
      const line = encodeRecord(record)
      assert.ok(!line.includes('\n'))
      assert.deepEqual(decodeRecord(line), JSON.parse(JSON.stringify(record)))
    }),
  )
})

test('every beginning of a line is no record', () => {
  const line = encodeRecord({ type: 'started', id: 's', pid: 1, cwd: '/', startedAt: 1 })
  for (let length = 0; length < line.length; length += 1) assert.equal(decodeRecord(line.slice(0, length)), undefined)
  assert.notEqual(decodeRecord(line), undefined)
})

test('a line that is too long is not parsed', () => {
  const cwd = ' '.repeat(70_000)
  assert.equal(
    decodeRecord(`${encodeRecord({ type: 'started', id: 's', pid: 1, cwd: '/', startedAt: 1 })}${cwd}`),
    undefined,
  )
})
