import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import type { Lent } from '../../src/daemon/compile-needs.ts'
import { Trust } from '../../src/daemon/trust.ts'
import { unitTrust } from '../../src/daemon/unit-trust.ts'
import type { ReadSet } from '../../src/plan/action.ts'
import type { LentInputs } from '../../src/plan/lent-inputs.ts'
import { openIndexDb } from '../../src/store/index-db.ts'
import { afterwards, ManualClock, temporaryDirectory } from '../mesh/fixture.ts'
import { content, planned, result } from '../recall/support.ts'
import { Court } from '../recall/words.ts'
import { comesOut, Desk, unit, use } from './trust-desk.ts'

const reads: ReadSet = { reads: [['file', '\0workspace\0/src/lib.rs', content('source')]], env: [] }
const lent: Lent = { planned, inputs: { inputs: { cid: content('inputs'), bytes: new Uint8Array() } } as LentInputs }

test('what nothing may leave of is not put within the reach of others to be run again', async (t) => {
  const { datastore, close } = await openIndexDb({ dir: await temporaryDirectory(t), log: silentLogger })
  afterwards(t, close)
  const court = new Court()
  let offered = 0
  const trust = await Trust.open(
    {
      datastore,
      members: court.members,
      traces: { traces: async () => [] },
      clock: new ManualClock(),
      random: () => 0,
      log: silentLogger,
      machine: { cores: 2, busyCores: () => 0, onBattery: () => false, freeMemoryBytes: () => 2 ** 40 },
      isQuiet: () => false,
      guests: { areAll: () => true, hold: () => undefined },
      isReady: () => true,
      trouble: () => undefined,
      rerun: async () => undefined,
      keepInputs: async () => {
        offered += 1
      },
      purge: async () => undefined,
      given: () => ({ drop: async () => ({ results: 0, files: 0 }) }),
    },
    { trust: { 'audit-share': 1, 'audit-first': 20 } },
  )
  afterwards(t, () => trust.stop())
  const claim = court.claim(court.mesh.ann, result, reads)
  const other = { ...result, outputs: result.outputs.map((output) => ({ ...output, cid: content('other') })) }
  const disputed = [{ claim: court.claim(court.mesh.ivy, other, reads), reads }]
  for (const [may, expected] of [
    [false, 0],
    [true, 2],
  ] as const) {
    const { accepted, made } = unitTrust(
      trust,
      [{ kind: 'team' }],
      async () => (may ? lent : undefined),
      () => async () => undefined,
    )
    await accepted(planned, [claim], { result, looked: reads })
    await made(planned, { result, reads }, disputed)
    assert.equal(offered, expected)
  }
})

test('a unit of which something else came out here than others say is not asked of them, nor lent, and says why', async (t) => {
  const desk = await Desk.open(t)
  desk.rerun = () => comesOut('here')
  const of = unit('one', { usesMacros: true })
  const { objection } = unitTrust(
    desk.trust,
    [{ kind: 'team' }],
    async () => undefined,
    () => async () => undefined,
  )
  assert.equal(objection(of.planned), undefined)
  await use(desk, desk.court.mesh.ann, of, 'elsewhere', 'host')
  await desk.rest()
  assert.deepEqual([objection(of.planned), objection(unit('two').planned)], ['conflict', undefined])
})
