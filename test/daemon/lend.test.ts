import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import type { CID } from 'multiformats/cid'
import { ShoalError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import { type LendNeeds, lend } from '../../src/daemon/lend.ts'
import type { Observed } from '../../src/execute/observed.ts'
import type { EarlyMetadata } from '../../src/execute/runner.ts'
import type { WorkOptions } from '../../src/market/guests.ts'
import type { WorkResult } from '../../src/market/task.ts'
import { workKey } from '../../src/mesh/claims.ts'
import {
  type Action,
  decodeTrace,
  encodeAction,
  encodeInputs,
  encodeTree,
  type ReadSet,
  type Result,
} from '../../src/plan/action.ts'
import { KnownTrees } from '../../src/plan/known-trees.ts'
import { sortRoots } from '../../src/plan/roots.ts'
import { cidOf, dagCborCodec, digestOf } from '../../src/wire/cid.ts'
import { type Award, AwardSchema, Outcome } from '../../src/wire/generated/market_pb.ts'
import { content } from '../recall/support.ts'
import { Court } from '../recall/words.ts'

const marker = '/shoal-12345678123456781234567812345678'
const roots = sortRoots(
  (['workspace', 'deps', 'out', 'toolchain'] as const).map((name) => ({ name, path: `${marker}/${name}` })),
)
const macro = ['libmake-1.so', content('macro')] as const
const tree = encodeTree({ v: 1, files: [{ path: 'src/lib.rs', cid: content('lib'), size: 3 }] })
const depInfo = '\0out\0/x-1.d: src/lib.rs\n'
const events: Observed['events'] = [
  { kind: 'open', path: `${marker}/workspace/src/lib.rs`, errno: 0, macro: false },
  { kind: 'open', path: `${marker}/workspace/.env`, errno: 2, macro: false },
]

function actionWith(deps: Action['deps']): Action {
  return {
    v: 2,
    salt: 'mesh',
    toolchain: 'a'.repeat(64),
    driver: null,
    target: 'x86_64-unknown-linux-gnu',
    crate: 'x',
    argv: [
      ...['--crate-name', 'x', '--crate-type', 'lib', '--error-format', 'json', '--emit', 'dep-info,metadata'],
      ...['-C', 'extra-filename=-1', '--out-dir', '\0out\0', 'src/lib.rs'],
    ],
    env: [],
    cwd: '\0workspace\0',
    remaps: [],
    deps,
    build: null,
    outputs: [
      ['x-1.d', 'dep-info'],
      ['libx-1.rmeta', 'metadata'],
    ],
  }
}

const court = new Court()

interface Lent {
  ended: Awaited<ReturnType<typeof lend>>
  early: Parameters<WorkOptions['onMetadata']>[0][]
  remembered: ReadSet[]
  result: Result
  key: CID
  fetched: number
  /** What other members were told of the work, and when it ran. */
  told: string[]
}

/** Has a unit compiled that left these observations. */
async function lent(
  usesMacros: boolean,
  seen: Observed['events'] | undefined,
  change: Partial<LendNeeds> = {},
  award: Partial<Pick<Award, 'observer' | 'observerBytes'>> = {},
): Promise<Lent> {
  const action = actionWith(usesMacros ? [[...macro]] : [])
  const { bytes, cid: key } = encodeAction(action)
  const inputs = encodeInputs({
    v: 1,
    trees: [{ root: 'workspace', path: '', tree: tree.cid }],
    files: usesMacros ? [{ root: 'deps', path: macro[0], cid: macro[1], size: 5 }] : [],
  })
  const metadata: EarlyMetadata = {
    name: 'libx-1.rmeta',
    cid: content('metadata'),
    size: 8,
    depInfo,
    observed: seen && { events: seen, roots, marker, links: false },
  }
  const { name, cid, size } = metadata
  const outputs: Result['outputs'] = [{ name, kind: 'metadata', cid, size, executable: false }]
  const result: Result = { v: 2, action: key, outputs, stderr: new Uint8Array(), depInfo, wallMs: 1 }
  const remembered: ReadSet[] = []
  const early: Lent['early'] = []
  const told: string[] = []
  const answered: WorkResult[] = []
  let fetched = 0
  const ended = await lend(
    create(AwardSchema, { action: bytes, inputs: inputs.cid.bytes, expectedMs: 700, ...award }),
    {
      peer: 'ana',
      signal: new AbortController().signal,
      onMetadata: (ready) => early.push(ready),
      onResult: (answer) => {
        told.push('answers')
        answered.push(answer)
      },
    },
    {
      salt: 'mesh',
      bytes: async (wanted) => {
        fetched++
        return wanted.equals(inputs.cid) ? inputs.bytes : tree.bytes
      },
      ensure: async () => 0,
      trees: new KnownTrees(),
      observes: () => true,
      fileOf: async () => undefined,
      covered: () => new Set(),
      usesEnviron: async () => false,
      math: 'of the lender',
      run: async (_action, _inputs, { onRmeta }) => {
        told.push('runs')
        onRmeta(metadata)
        return { kind: 'ok', result, observed: metadata.observed, wallMs: 1 }
      },
      sign: async (_action, made) => court.claim(court.mesh.max, made.result, made.reads),
      remember: async (_result, reads) => {
        told.push('kept')
        remembered.push(reads)
      },
      claim: (work, expectedMs) => {
        told.push(`claims ${Buffer.from(work).toString('hex')} for ${expectedMs}`)
        return { commit: () => told.push('goes on'), done: (held) => told.push(held ? 'holds it' : 'gives up') }
      },
      log: silentLogger,
      ...change,
    },
  )
  // Whoever was told something is told nothing else in the end.
  assert.ok(answered.length === 0 || answered[0] === ended)
  return { ended, early, remembered, result, key, fetched, told }
}

const kinds = ({ reads }: ReadSet): string[] => reads.map(([kind, name]) => `${kind} ${name}`)
const observed = ['absent \0workspace\0/.env', 'file \0workspace\0/src/lib.rs']

describe('a lender', () => {
  test('tells what a compile looked at, with the metadata and with the result', async () => {
    const { ended, early, remembered, key } = await lent(false, events)
    assert.equal(ended.outcome, Outcome.OK)
    for (const [bytes, cid] of [
      [early[0]?.trace ?? new Uint8Array(), content('metadata')],
      [ended.trace, cidOf(ended.result, dagCborCodec)],
    ] as const) {
      const trace = decodeTrace(bytes)
      assert.deepEqual([trace.action.toString(), trace.result.toString()], [key.toString(), cid.toString()])
      assert.deepEqual(kinds(trace), observed)
    }
    assert.deepEqual(remembered.map(kinds), [observed])
  })

  test('claims what it compiles as the builder does, until it can be asked for it', async () => {
    const { key, told } = await lent(false, events)
    const work = Buffer.from(workKey(digestOf(key), digestOf(tree.cid))).toString('hex')
    assert.deepEqual(told, [`claims ${work} for 700`, 'goes on', 'runs', 'answers', 'kept', 'holds it'])
  })

  test('gives its claim up when there is no result, or none for others', async () => {
    const failing: [Parameters<typeof lent>[1], Partial<LendNeeds>][] = [
      [undefined, {}],
      [events, { run: async () => ({ kind: 'failed', status: 1, stderr: '', wallMs: 1 }) }],
      [events, { run: () => Promise.reject(new ShoalError('ERR_DEADLINE', 'too slow')) }],
    ]
    for (const [seen, change] of failing) {
      const { told } = await lent(true, seen, change)
      assert.match(told[0] ?? '', /^claims /)
      assert.equal(told.at(-1), 'gives up')
    }
    const { told } = await lent(true, events, { ensure: () => Promise.reject(new ShoalError('ERR_PEER_LOST', 'gone')) })
    assert.deepEqual(told, [])
  })

  test('announces no metadata of a unit that reaches a macro', async () => {
    const { ended, early } = await lent(true, events)
    assert.equal(ended.outcome, Outcome.OK)
    assert.deepEqual(kinds(decodeTrace(ended.trace)), observed)
    assert.equal(early.length, 0)
  })

  test('says nothing of an unobserved compile, and keeps it by the package as a whole', async () => {
    const { ended, early, remembered } = await lent(false, undefined)
    assert.deepEqual([ended.outcome, ended.trace.length, early[0]?.trace.length], [Outcome.OK, 0, 0])
    assert.deepEqual(remembered.map(kinds), [['tree \0workspace\0']])
  })

  test('gives nobody what an unobserved macro made, nor one that looked beside the roots', async () => {
    const beside: Observed['events'] = [...events, { kind: 'open', path: `${marker}/x.txt`, errno: 2, macro: false }]
    for (const seen of [undefined, beside]) {
      const { ended, remembered } = await lent(true, seen)
      assert.deepEqual([ended.outcome, ended.code], [Outcome.UNUSABLE, 'ERR_OUTPUT'])
      assert.deepEqual([ended.result.length, ended.trace.length, remembered.length], [0, 0, 0])
    }
  })

  test('fetches nothing for a unit with a macro that it could not observe', async () => {
    const { ended, fetched } = await lent(true, events, { observes: () => false })
    assert.deepEqual([ended.outcome, ended.code, fetched], [Outcome.UNUSABLE, 'ERR_OUTPUT', 0])
    assert.equal((await lent(false, undefined, { observes: () => false })).ended.outcome, Outcome.OK)
  })

  test('observes with the builder’s own library where it has none, and keeps nothing of that', async () => {
    const observer = content('observer')
    const used: (string | undefined)[] = []
    const needs: Partial<LendNeeds> = {
      observes: () => false,
      fileOf: async (cid) => (cid.equals(observer) ? '/store/observer' : undefined),
      run: async (_action, _inputs, options) => {
        used.push(options.observer)
        throw new ShoalError('ERR_LIMIT', 'enough is known')
      },
    }
    await lent(true, events, needs, { observer: observer.bytes, observerBytes: 8 })
    assert.deepEqual(used, ['/store/observer'])
    for (const award of [
      { observer: observer.bytes, observerBytes: (1 << 20) + 1 },
      { observer: content('another').bytes, observerBytes: 8 },
    ]) {
      const { ended } = await lent(true, events, needs, award)
      assert.deepEqual([ended.code, used.length], ['ERR_OUTPUT', 1])
    }
    const { run: _, ...rest } = needs
    const { ended, remembered } = await lent(true, events, rest, { observer: observer.bytes, observerBytes: 8 })
    assert.deepEqual([ended.outcome, remembered.length], [Outcome.OK, 0])
  })

  test('gives nobody what a macro made from more than a trace can name', async () => {
    const many = Array.from({ length: 12_000 }, (_, at) => ({
      kind: 'open' as const,
      path: `${marker}/workspace/templates/which/are/absent/${at}.html`,
      errno: 2,
      macro: false,
    }))
    const { ended } = await lent(true, [...events, ...many])
    assert.deepEqual([ended.outcome, ended.code], [Outcome.UNUSABLE, 'ERR_LIMIT'])
    const without = await lent(false, [...events, ...many])
    assert.deepEqual([without.ended.outcome, without.ended.trace.length], [Outcome.OK, 0])
  })
})
