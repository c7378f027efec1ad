import assert from 'node:assert/strict'
import type { CID } from 'multiformats/cid'
import { silentLogger } from '../../src/base/log.ts'
import { encodeResult, encodeTrace, type ReadSet, type Result, type Trace } from '../../src/plan/action.ts'
import type { Holding } from '../../src/recall/candidates.ts'
import type { Place } from '../../src/recall/evidence.ts'
import type { Judge } from '../../src/recall/judge.ts'
import type { Policy } from '../../src/recall/policy.ts'
import { type MeshOptions, Recall, type Recalled, type RecallNeeds } from '../../src/recall/recall.ts'
import type { SignedClaim } from '../../src/recall/signed-claim.ts'
import { cidOf, hexOf } from '../../src/wire/cid.ts'
import { content, placeIn, planned, result } from './support.ts'
import { Court } from './words.ts'

export const keyHex = hexOf(planned.key)
const signal: AbortSignal = new AbortController().signal
export const work = Buffer.alloc(32, 7)
export const policies: Policy[] = [{ kind: 'team' }]
export const options: MeshOptions = { expectedMs: 100, signal, work, policies }

export const court = new Court()

export interface Fixture {
  recall: Recall
  blocks: Map<string, Uint8Array>
  traces: Map<string, Uint8Array[]>
  /** What was asked of the mesh and fetched from it. */
  asked: { budgetMs: number; work: Uint8Array | undefined }[]
  fetched: { cid: string; from: readonly string[]; maxBytes: number }[]
  judge: Judge
  /** Packages that come out differently each time. */
  unsteady: Set<string>
}

/** A node; its peers hold these traces, and each the blocks of the result. */
export function node(holdings: readonly Holding[] = [], fetch?: RecallNeeds['fetch']): Fixture {
  const blocks = new Map<string, Uint8Array>()
  const traces = new Map<string, Uint8Array[]>()
  const asked: Fixture['asked'] = []
  const fetched: Fixture['fetched'] = []
  const { judge, unsteady } = new Court()
  const recall = new Recall({
    blocks: {
      get: async (cid) => blocks.get(hexOf(cid)),
      has: async (cid) => blocks.has(hexOf(cid)),
      put: async (bytes, codec) => {
        blocks.set(hexOf(cidOf(bytes)), bytes)
        return cidOf(bytes, codec)
      },
    },
    traces: {
      traces: async (hex) => traces.get(hex) ?? [],
      add: async (hex, trace) => {
        const others = (traces.get(hex) ?? []).filter((other) => Buffer.compare(other, trace) !== 0)
        traces.set(hex, [trace, ...others])
      },
      remove: async (hex, trace) => {
        const others = (traces.get(hex) ?? []).filter((other) => Buffer.compare(other, trace) !== 0)
        traces.set(hex, others)
      },
    },
    ask: async (_key, { budgetMs, work }) => {
      asked.push({ budgetMs, work })
      return holdings
    },
    fetch: async (cid, { from, maxBytes, signal }) => {
      fetched.push({ cid: cid.toString(), from, maxBytes })
      return fetch === undefined ? encodeResult(result).bytes : await fetch(cid, { from, maxBytes, signal })
    },
    judge,
    log: silentLogger,
  })
  return { recall, blocks, traces, asked, fetched, judge, unsteady }
}

/** Sees a schema of this content and nothing else. */
export const placeWith = (schema: CID | undefined, change: Partial<Place> = {}): Place =>
  placeIn('', {
    env: new Map([['COLOUR', 'red']]),
    view: {
      see: (kind, path) => {
        if (path !== '/ws/schema.json') return kind === 'absent' ? 'there' : undefined
        return kind === 'file' ? schema : undefined
      },
      what: () => undefined,
    },
    ...change,
  })
export const place = placeWith(content('schema'))
export const reads: ReadSet = {
  reads: [
    ['absent', '\0workspace\0/none', null],
    ['file', '\0workspace\0/schema.json', content('schema')],
  ],
  env: [
    ['COLOUR', 'red'],
    ['UNSET', null],
  ],
}
export const traceOf = (of: Result, set = reads): Trace => ({
  v: 2,
  action: planned.key,
  ...set,
  result: encodeResult(of).cid,
})
export const bytesOf = (trace: Trace): Uint8Array => encodeTrace(trace).bytes

/** What ann says of it. */
export const word = (of: Result, set = reads): SignedClaim => court.claim(court.mesh.ann, of, set)
/** What a peer answers, on ann's word. */
export const held = (peer: string, of: Result, set = reads): Holding => ({
  peer,
  traces: [bytesOf(traceOf(of, set))],
  claims: [word(of, set).bytes],
})
export function used(recalled: Awaited<ReturnType<Recall['mesh']>>): Recalled {
  assert.ok(recalled !== undefined && 'result' in recalled)
  return recalled
}
