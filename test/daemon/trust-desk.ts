import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { silentLogger } from '../../src/base/log.ts'
import { Trust } from '../../src/daemon/trust.ts'
import type { Rerun } from '../../src/daemon/verdict.ts'
import { encodeAction, encodeResult, encodeTrace, type ReadSet, type Result } from '../../src/plan/action.ts'
import type { LentInputs } from '../../src/plan/lent-inputs.ts'
import type { PlannedAction } from '../../src/plan/plan.ts'
import { outputsDigest, type SignedClaim } from '../../src/recall/signed-claim.ts'
import { openIndexDb } from '../../src/store/index-db.ts'
import { cidOf, hexOf } from '../../src/wire/cid.ts'
import { ManualClock } from '../mesh/fixture.ts'
import type { Person } from '../mesh/office.ts'
import { content, planned as plannedUnit, result } from '../recall/support.ts'
import { Court } from '../recall/words.ts'

export const reads: ReadSet = { reads: [['file', '\0workspace\0/src/lib.rs', content('source')]], env: [] }
export const inputs = { inputs: { cid: content('inputs'), bytes: new Uint8Array() } } as LentInputs

/** max's node, which believes until it knows better. */
export class Desk {
  readonly court = new Court()
  readonly clock = new ManualClock()
  readonly traces = new Map<string, Uint8Array[]>()
  readonly dropped: string[] = []
  readonly purged: string[] = []
  readonly troubles: string[] = []
  /** What comes out when something is run again. */
  rerun: () => Rerun | undefined = () => undefined
  trust: Trust | undefined

  static async open(t: TestContext): Promise<Desk & { trust: Trust }> {
    const dir = await mkdtemp(join(tmpdir(), 'shoal-trust-'))
    const { datastore, close } = await openIndexDb({ dir, log: silentLogger })
    const desk = new Desk()
    const trust = await Trust.open(
      {
        datastore,
        members: desk.court.members,
        traces: { traces: async (key) => desk.traces.get(key) ?? [] },
        clock: desk.clock,
        random: () => 0.5,
        log: silentLogger,
        machine: { cores: 2, busyCores: () => 0, onBattery: () => false, freeMemoryBytes: () => 2 ** 40 },
        isQuiet: () => true,
        guests: { areAll: () => true, hold: () => undefined },
        isReady: () => true,
        trouble: ({ code }) => desk.troubles.push(code),
        rerun: async () => desk.rerun(),
        keepInputs: async () => undefined,
        purge: async (peer) => desk.purged.push(peer),
        given: () => ({
          drop: async (_key, cid) => {
            desk.dropped.push(cid.toString())
            return { results: 1, files: 1 }
          },
        }),
      },
      { trust: { 'audit-share': 0.03, 'audit-first': 20 } },
    )
    t.after(async () => {
      await trust.stop()
      await close()
      await rm(dir, { recursive: true, force: true })
    })
    return Object.assign(desk, { trust })
  }

  /** Waits until everything that is to be run again has been. */
  async rest(): Promise<void> {
    for (let tries = 0; tries < 100_000 && (this.trust?.audits.stats.waiting ?? 0) > 0; tries += 1) {
      this.clock.advance(500)
      for (let turns = 0; turns < 10; turns += 1) await turn()
    }
  }
}

/** A unit of a package, and what it gives. */
export function unit(name: string, change: Partial<PlannedAction> = {}) {
  const action = {
    ...plannedUnit.action,
    env: [['CARGO_PKG_NAME', name] as [string, string], ['CARGO_PKG_VERSION', '1.0.0'] as [string, string]],
  }
  const { cid, bytes } = encodeAction(action)
  const planned: PlannedAction = { ...plannedUnit, action, key: cid, actionBytes: bytes, ...change }
  const giving = (text: string): Result => ({
    ...result,
    action: cid,
    outputs: result.outputs.map((output) => ({ ...output, cid: cidOf(Buffer.from(text)) })),
    depInfo: 'libx-1.rmeta: src/lib.rs\n',
  })
  return { planned, giving }
}

export const comesOut = (text: string): Rerun => ({ outputs: outputsDigest(unit('any').giving(text)), reads })

/** The node has used what somebody gave. */
export async function use(
  desk: Desk & { trust: Trust },
  by: Person,
  of: ReturnType<typeof unit>,
  text: string,
  tier: SignedClaim['body']['tier'],
  bears?: string,
) {
  const made = of.giving(text)
  const env = new Map(of.planned.action.env)
  const named = { tier, package: bears ?? `${env.get('CARGO_PKG_NAME')} 1.0.0` }
  const claim = desk.court.claim(by, made, reads, named)
  const trace = encodeTrace({ v: 2, action: of.planned.key, ...reads, result: encodeResult(made).cid })
  desk.traces.set(hexOf(of.planned.key), [trace.bytes])
  await desk.trust.judge.store.add([claim])
  const { planned } = of
  await desk.trust.accepted(planned, { planned, inputs }, [claim], { result: made, looked: reads })
  return { claim, cid: encodeResult(made).cid.toString() }
}
