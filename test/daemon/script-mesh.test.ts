import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../../src/base/clock.ts'
import { systemClock } from '../../src/base/clock.ts'
import { ShoalError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import type { Audit } from '../../src/daemon/audits.ts'
import { ScriptMesh, type ScriptMeshNeeds } from '../../src/daemon/script-mesh.ts'
import type { ReadSet } from '../../src/plan/action.ts'
import type { ScriptResult } from '../../src/plan/script-action.ts'
import type { PlannedScript } from '../../src/plan/script-plan.ts'
import type { Ground } from '../../src/recall/evidence.ts'
import type { ForeignRun } from '../../src/recall/shared-runs.ts'
import type { SignedClaim } from '../../src/recall/signed-claim.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { content } from '../recall/support.ts'

const key = content('key')
const dir = '/cargo/registry/src/index/fish-sys-1.0.0'
const roots: PlannedScript['roots'] = [
  { name: 'build', path: '/ws/target/debug/build/fish/out' },
  { name: 'package', path: dir },
  { name: 'target', path: '/ws/target' },
  { name: 'registry', path: '/cargo/registry/src' },
]
const env: [string, string][] = [['CARGO_PKG_NAME', 'fish-sys']]
const plannedWith = (change: Partial<PlannedScript> = {}, variables: [string, string][] = []): PlannedScript =>
  ({
    key,
    action: { toolchain: 'a', env, what: 'build-script-run' },
    roots,
    call: { program: 'p', cwd: dir, env: new Map(variables), outDir: roots[0]?.path ?? '', umask: 0o22, cargoPid: 1 },
    ...change,
  }) as PlannedScript
const ground = { env: new Map([['kernel()', 'Linux 6']]), roots } as unknown as Ground
const reads: ReadSet = {
  reads: [
    ['environ', 'session', content('session')],
    ['sorts', '', content('sorts')],
  ],
  env: [],
}
const bytes = Buffer.from('fins')
const result: ScriptResult = {
  v: 2,
  action: key,
  entries: ['x', 'y'].map((path) => ({
    kind: 'file',
    path,
    mode: 0o644,
    cid: cidOf(Buffer.from(path)),
    size: 4,
    named: false,
    mtime: null,
    age: 0,
  })),
  stdout: bytes,
  stderr: new Uint8Array(),
  wallMs: 1,
}
const claim = (signer: string): SignedClaim =>
  ({ body: { signer: Buffer.from(signer), action: key } }) as unknown as SignedClaim

interface Seen {
  did: string[]
  audits: Audit[]
  mesh: ScriptMesh
}

/** A node whose parts say what they are asked to do. */
function node(
  change: Partial<{
    run: ForeignRun
    give: SignedClaim[] | undefined
    isPrivate: boolean
    isUnsteady: boolean
    fails: boolean
    /** Of whom every result is tried. */
    tries: string
  }> = {},
): Seen {
  const did: string[] = []
  const audits: Audit[] = []
  const needs = {
    runs: {
      find: async () => change.run,
      remember: async () => void did.push('remembered'),
      withdraw: async () => true,
      give: async (_planned: unknown, _result: unknown, set: ReadSet) => {
        did.push(`given ${set.env.map((pair) => pair.join('='))}`)
        return 'give' in change ? change.give : []
      },
    },
    sharing: {
      ensure: async (cid: unknown, size: number, from: readonly string[]) => {
        if (change.fails) throw new ShoalError('ERR_BLOCK_MISSING', String(cid))
        did.push(`fetched ${size} from ${from}`)
        return size
      },
      ranScript: (_key: unknown, isHeld: boolean) => void did.push(isHeld ? 'told' : 'taken back'),
    },
    given: {
      note: async ({ dir }: { dir: string }, by: string, alike: boolean) => void did.push(`${by} gave ${dir} ${alike}`),
    },
    trust: {
      giver: ({ body }: SignedClaim) => (body.signer.length === 2 ? undefined : Buffer.from(body.signer).toString()),
      determinism: {
        isUnsteady: () => change.isUnsteady === true,
        note: async (name: string) => void did.push(`unsteady: ${name}`),
      },
      standings: {
        accepted: (by: string) => void did.push(`accepted ${by}`),
        doubt: async () => void did.push('doubted'),
      },
      isToBeTried: (by: string) => by === change.tries,
      audits: {
        add: (audit: Audit) => {
          did.push(`to be tried: ${audit.crate}`)
          audits.push(audit)
        },
      },
      judge: { isWorthTrying: ({ body }: SignedClaim) => Buffer.from(body.signer).toString() !== 'bob' },
    },
    again: { of: () => async () => undefined },
    privateUnits: { isPrivatePackage: () => change.isPrivate === true },
    clock: systemClock satisfies Clock,
    log: silentLogger,
  }
  return { did, audits, mesh: new ScriptMesh(needs as unknown as ScriptMeshNeeds) }
}
const run = {
  result,
  trace: { v: 2, action: key, ...reads, result: key },
  claims: [claim('ann'), claim('bob'), claim('me')],
}
const asked = { dir, policies: [], signal: new AbortController().signal }

test('a run of others is written down by all whose word it is before it is used, and handed on', async () => {
  const { did, mesh } = node({ run: { ...run, holders: ['p'] } as unknown as ForeignRun })
  const taken = await mesh.find(plannedWith(), ground, asked)
  assert.deepEqual(taken, { result, from: 'p', bytes: 8 })
  const out = `${roots[0]?.path} true`
  const before = [
    'fetched 4 from p',
    'fetched 4 from p',
    `ann gave ${out}`,
    'accepted ann',
    `bob gave ${out}`,
    'accepted bob',
  ]
  assert.deepEqual(did, [...before, 'remembered', 'told'])
})

test('a run that others gave is tried if one of them is to be, by all whose word still counts, and what was here already is not', async () => {
  const theirs = { ...run, holders: ['p'] } as unknown as ForeignRun
  const { did, audits, mesh } = node({ run: theirs, tries: 'ann' })
  await mesh.find(plannedWith(), ground, asked)
  assert.equal(did.at(-1), 'to be tried: fish-sys build script')
  const found = await audits[0]?.case()
  assert.deepEqual(
    found?.claims.map(({ claim }) => Buffer.from(claim.body.signer).toString()),
    ['ann'],
  )
  for (const other of [node({ run: theirs, tries: 'me' }), node({ run: { ...theirs, holders: [] }, tries: 'ann' })]) {
    await other.mesh.find(plannedWith(), ground, asked)
    assert.deepEqual(other.audits, [])
  }
})

test('what cannot be fetched is not used, and nobody is asked about what is private, people’s own or unsteady', async () => {
  const theirs = { ...run, holders: ['p'] } as unknown as ForeignRun
  const lost = node({ run: theirs, fails: true })
  assert.equal(await lost.mesh.find(plannedWith(), ground, asked), undefined)
  assert.deepEqual(lost.did, [])
  for (const [change, planned] of [
    [{ isPrivate: true }, plannedWith()],
    [{ isUnsteady: true }, plannedWith()],
    [{}, plannedWith({ roots: roots.filter(({ name }) => name !== 'registry') })],
  ] as const) {
    const { did, mesh } = node({ run: theirs, ...change })
    assert.equal(await mesh.find(planned, ground, asked), undefined)
    assert.deepEqual(did, [])
  }
})

test('what was seen here is told, with the kernel that it ran on, unless it says something of whoever sits here', async () => {
  const told = async (planned: PlannedScript, set = reads, isPrivate = false, left = result): Promise<string[]> => {
    const { did, mesh } = node()
    await mesh.seen(planned, left, set, { ground, isPrivate })
    return did
  }
  assert.deepEqual(await told(plannedWith()), ['given kernel()=Linux 6', 'told'])
  assert.deepEqual(await told(plannedWith(), reads, true), [])
  assert.deepEqual(await told(plannedWith({ roots: roots.filter(({ name }) => name !== 'registry') })), [])
  assert.deepEqual(await told(plannedWith({}, [['FISH_TOKEN', 'x']])), [])
  assert.deepEqual(await told(plannedWith(), { ...reads, reads: [...reads.reads, ['bound', 'build', key]] }), [])
  // What nobody would take.
  const linked: ScriptResult = { ...result, entries: [{ kind: 'link', path: 'l', to: '/etc', mtime: null, age: 0 }] }
  assert.deepEqual(await told(plannedWith(), reads, false, linked), [])
})

test('who comes out otherwise here is doubted, and a script that does so each time is told of no more', async () => {
  const against = node({ give: [claim('ann')] })
  await against.mesh.seen(plannedWith(), result, reads, { ground, isPrivate: false })
  assert.deepEqual(against.did.slice(1), ['doubted', 'told'])
  const unsteady = node({ give: undefined })
  await unsteady.mesh.seen(plannedWith(), result, reads, { ground, isPrivate: false })
  assert.deepEqual(unsteady.did.slice(1), ['unsteady: fish-sys build script', 'taken back'])
})
