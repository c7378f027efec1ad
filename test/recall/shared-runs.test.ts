import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import { encodeTrace, type ReadSet } from '../../src/plan/action.ts'
import type { Root } from '../../src/plan/roots.ts'
import {
  encodeScriptAction,
  encodeScriptResult,
  type ScriptAction,
  type ScriptResult,
} from '../../src/plan/script-action.ts'
import type { PlannedScript } from '../../src/plan/script-plan.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { LocalView } from '../../src/plan/view.ts'
import type { Ground } from '../../src/recall/evidence.ts'
import { formForOthers } from '../../src/recall/foreign-run.ts'
import { type Judge, packageOf } from '../../src/recall/judge.ts'
import type { Policy } from '../../src/recall/policy.ts'
import { placeHere } from '../../src/recall/run-place.ts'
import { sessionDigest, sortsDigest } from '../../src/recall/script-evidence.ts'
import { SharedRuns } from '../../src/recall/shared-runs.ts'
import { outputsDigest } from '../../src/recall/signed-claim.ts'
import { cidOf, digestOf, hexOf } from '../../src/wire/cid.ts'
import { type Person, start } from '../mesh/office.ts'
import { content } from './support.ts'
import { Court } from './words.ts'

const action: ScriptAction = {
  v: 3,
  what: 'build-script-run',
  salt: 'mesh',
  toolchain: 'a'.repeat(64),
  host: 't',
  script: content('script'),
  processor: 'fast',
  cwd: '\0package\0',
  nesting: [],
  env: [
    ['CARGO_PKG_NAME', 'fish-sys'],
    ['CARGO_PKG_VERSION', '1.0.0'],
  ],
  umask: 0o22,
}
const { bytes: actionBytes, cid: key } = encodeScriptAction(action)
const call: PlannedScript['call'] = {
  program: '/target/build/fish/build-script.real',
  cwd: '/registry/fish',
  env: new Map(),
  outDir: '/target/build/fish/out',
  umask: 0o22,
  cargoPid: 1,
}
const toolchain = { digest: 'a'.repeat(64), host: 't', sysroot: '/sysroot', covered: new Set<string>() }
const planned: PlannedScript = { key, action, actionBytes, toolchain, roots: [], isLinked: false, call }

const kernel = 'Linux 6.1.0 x86_64'
const groundWith = (variables: Record<string, string>): Ground => ({
  roots: [],
  dependencyDirs: [],
  env: new Map(Object.entries({ 'kernel()': kernel, ...variables })),
  view: new LocalView(new StatDigests(), ''),
  tree: async () => undefined,
})
const ground = groundWith({})
const reads: ReadSet = formForOthers(
  {
    reads: [
      ['environ', 'session', sessionDigest(ground)],
      ['sorts', '', sortsDigest([], ground)],
      ['absent', '/nowhere/at/all', null],
    ],
    env: [],
  },
  kernel,
)

const file = Buffer.from('fins')
const result: ScriptResult = {
  v: 2,
  action: key,
  entries: [
    { kind: 'file', path: 'x', mode: 0o644, cid: cidOf(file), size: file.length, named: false, mtime: null, age: 5 },
  ],
  stdout: Buffer.from('cargo::rustc-link-lib=fish\n'),
  stderr: new Uint8Array(),
  wallMs: 7,
}
/** Another run that left the same, in its own time. */
const again: ScriptResult = { ...result, wallMs: 9, entries: result.entries.map((entry) => ({ ...entry, age: 8 })) }
const other: ScriptResult = { ...result, stdout: Buffer.from('cargo::rustc-link-lib=other\n') }

/** A node of somebody, which hears what the others have. */
class Node {
  readonly court: Court
  readonly blocks = new Map<string, Uint8Array>([[hexOf(cidOf(file)), file]])
  readonly traces = new Map<string, Uint8Array[]>()
  readonly runs: SharedRuns
  readonly privates = new Set<string>()
  asked = 0

  constructor(of: (mesh: Court['mesh']) => Person, others: readonly Node[] = []) {
    this.court = new Court(of)
    this.runs = new SharedRuns({
      blocks: {
        get: async (cid) => this.blocks.get(hexOf(cid)),
        has: async (cid) => this.blocks.has(hexOf(cid)),
        put: async (bytes, codec) => {
          this.blocks.set(hexOf(cidOf(bytes, codec)), bytes)
          return cidOf(bytes, codec)
        },
      },
      traces: {
        traces: async (hex) => this.traces.get(hex) ?? [],
        add: async (hex, trace) => void this.traces.set(hex, [trace, ...(this.traces.get(hex) ?? [])]),
        remove: async (hex) => void this.traces.delete(hex),
        async *keys() {
          yield* []
        },
      },
      ask: async (asked) => {
        this.asked += 1
        const held = others.map(async (node, at) =>
          (await node.runs.holdings([digestOf(asked)])).map((holding) => ({ ...holding, peer: `${at}` })),
        )
        return (await Promise.all(held)).flat()
      },
      fetch: async (cid, { from }) => {
        const bytes = [this, ...from.map((at) => others[Number(at)])].map((node) => node?.blocks.get(hexOf(cid)))
        const found = bytes.find((each) => each !== undefined)
        assert.ok(found)
        return found
      },
      judge: this.judge,
      isPrivate: (name) => this.privates.has(name),
      log: silentLogger,
    })
  }

  get judge(): Judge {
    return this.court.judge
  }

  async saw(left: ScriptResult, at: readonly Root[] = [], set = reads): Promise<this> {
    await this.runs.give(planned, left, set, { at: 1, place: placeHere(at) })
    return this
  }
}
const signal = new AbortController().signal
const ann = (mesh: Court['mesh']): Person => mesh.ann
const ivy = (mesh: Court['mesh']): Person => mesh.ivy
const quorum: Policy[] = [{ kind: 'quorum', people: 2 }]
const found = async (node: Node, policies = quorum, place = ground, roots: Root[] = []): Promise<string> => {
  const run = await node.runs.find({ ...planned, roots }, { ...place, roots }, { policies, signal })
  return run === undefined ? 'nothing' : 'refused' in run ? run.refused : 'taken'
}

test('what two runs have in common that did the same is pinned', () => {
  const digest = Buffer.from(outputsDigest(result)).toString('hex')
  assert.equal(digest, '0c4afef0149c668607f5ba44a5b2f2d53dbbedf98ea1f8adbf5db6390794e364')
  assert.deepEqual(outputsDigest(again), outputsDigest(result))
  const [entry] = result.entries
  assert.ok(entry?.kind === 'file')
  for (const change of [
    { stdout: file },
    { stderr: file },
    { entries: [{ ...entry, mode: 0o755 }] },
    { entries: [{ ...entry, mtime: 1 }] },
  ])
    assert.notDeepEqual(outputsDigest({ ...result, ...change }), outputsDigest(result))
})

test('what two people saw alike is taken, and kept as their word', async () => {
  const both = [await new Node(ann).saw(result), await new Node(ivy).saw(again)]
  const max = new Node(({ max }) => max, both)
  const run = await max.runs.find(planned, ground, { policies: quorum, signal })
  assert.ok(run !== undefined && 'result' in run)
  assert.deepEqual(Buffer.from(run.result.stdout), result.stdout)
  assert.equal(run.claims.length, 2)
  assert.ok(run.holders.length === 1)
  assert.equal(packageOf(planned), 'fish-sys 1.0.0 build script')
  await max.runs.remember(run)
  assert.equal(max.asked, 1)
  const kept = await max.runs.find(planned, ground, { policies: quorum, signal })
  assert.ok(kept !== undefined && 'result' in kept && kept.holders.length === 0)
  assert.equal(max.asked, 1)
  // What it is given on is others' word as it came, and enough of it.
  const next = new Node(({ max }) => max, [max])
  assert.equal(await found(next), 'taken')
  assert.equal(await found(next, [{ kind: 'quorum', people: 3 }]), 'policy')
})

test('on the word of one it is taken where that is the machine of all', async () => {
  const one = [await new Node(ann).saw(result)]
  const node = (): Node => new Node(ivy, one)
  assert.equal(await found(node()), 'policy')
  assert.equal(await found(node(), [{ kind: 'ci' }]), 'policy')
  assert.equal(await found(node(), [{ kind: 'team' }]), 'policy')
  const hired = (mesh: Court['mesh']): Person => mesh.hire(mesh.ann, 50, ['member', 'ci'])
  const asking = new Node(ivy, [await new Node(hired).saw(result)])
  asking.court.roster.add(hired(asking.court.mesh).certificate.bytes, start)
  assert.equal(await found(asking), 'policy')
  assert.equal(await found(asking, [{ kind: 'ci' }]), 'taken')
  assert.equal(await found(asking, [{ kind: 'ci' }, ...quorum]), 'policy')
  for (const policies of [
    [{ kind: 'own' }],
    [{ kind: 'strict' }],
    [...quorum, { kind: 'own' }],
    [...quorum, { kind: 'strict' }],
  ] satisfies Policy[][]) {
    const refusing = node()
    assert.equal(await found(refusing, policies), 'nothing')
    assert.equal(refusing.asked, 0)
  }
})

test('of two who saw different things neither is believed, until it was seen here', async () => {
  const liars = [await new Node(ann).saw(other), await new Node(ivy).saw(result)]
  const max = new Node(({ max }) => max, liars)
  assert.equal(await found(max), 'conflict')
  const against = await max.runs.give(planned, again, reads, { at: 1, place: placeHere([]) })
  assert.equal(against?.length, 1)
  assert.equal(
    max.judge.isAbout(against[0] as never, { v: 2, action: key, ...reads, result: encodeScriptResult(other).cid }),
    true,
  )
})

/** Where somebody builds, whose home and directory have these names. */
const placeOf = (name: string, toolchain = '/opt/rust'): Root[] => [
  { name: 'build', path: `/home/${name}/work/target/release/build/fish-1/out` },
  { name: 'target', path: `/home/${name}/work/target` },
  { name: 'registry', path: `/home/${name}/.cargo/registry/src` },
  { name: 'toolchain', path: toolchain },
]

test('it is taken elsewhere when two have seen it alike in places whose paths differ in length', async () => {
  const node = async (...at: [left: ScriptResult, place: Root[]][]): Promise<Node> => {
    const [one, two] = at
    assert.ok(one !== undefined && two !== undefined)
    return new Node(({ max }) => max, [await new Node(ann).saw(...one), await new Node(ivy).saw(...two)])
  }
  const there: [ScriptResult, Root[]] = [result, placeOf('ann')]
  const isTaken = async (of: Node, here: Root[]): Promise<string> => await found(of, quorum, ground, here)
  assert.equal(await isTaken(await node(there, [again, placeOf('isabel')]), placeOf('max')), 'taken')
  // A path of the same length, and one that nobody had.
  assert.equal(await isTaken(await node(there, [again, placeOf('ivy')]), placeOf('max')), 'new-place')
  const other = placeOf('max', '/home/max/rust')
  assert.equal(await isTaken(await node(there, [again, placeOf('isabel')]), other), 'new-place')
  assert.equal(await isTaken(await node(there, [again, placeOf('isabel', '/usr/lib/rust')]), other), 'taken')
  // In the very place of one, whatever the other one has.
  assert.equal(await isTaken(await node(there, [again, placeOf('ivy')]), placeOf('ann')), 'taken')
})

test('what comes out differently where it lies elsewhere is taken nowhere, and nobody is doubted for it', async () => {
  const both = [await new Node(ann).saw(result, placeOf('ann')), await new Node(ivy).saw(other, placeOf('isabel'))]
  const max = new Node(({ max }) => max, both)
  assert.equal(await found(max, quorum, ground, placeOf('max')), 'new-place')
  const place = placeHere(placeOf('maximilian'))
  assert.deepEqual(await max.runs.give(planned, again, reads, { at: 1, place }), [])
  // The same node, in two places of its own: it is not what comes out differently each time.
  const node = await new Node(ann).saw(result, placeOf('ann'))
  assert.deepEqual(await node.runs.give(planned, other, reads, { at: 2, place }), [])
  // Two in one place, and somebody else elsewhere who has seen another thing: that place is no other one.
  const alike = [await new Node(ann).saw(result, placeOf('ann')), await new Node(ivy).saw(again, placeOf('ann'))]
  const hired = (mesh: Court['mesh']): Person => mesh.hire(mesh.ann, 50, ['member'])
  const asking = new Node(({ max }) => max, [...alike, await new Node(hired).saw(other, placeOf('isabel'))])
  asking.court.roster.add(hired(asking.court.mesh).certificate.bytes, start)
  assert.equal(await found(asking, quorum, ground, placeOf('ann')), 'taken')
  assert.equal(await found(asking, quorum, ground, placeOf('max')), 'new-place')
})

test('where the machine of all is wanted, it alone says what holds elsewhere', async () => {
  const hired = (mesh: Court['mesh']): Person => mesh.hire(mesh.ann, 50, ['member', 'ci'])
  const machine = await new Node(hired).saw(result, placeOf('ci'))
  const asking = (of: Node[]): Node => {
    const node = new Node(({ max }) => max, of)
    node.court.roster.add(hired(node.court.mesh).certificate.bytes, start)
    return node
  }
  const ofAll: Policy[] = [{ kind: 'ci' }]
  const isTaken = async (of: Node[]): Promise<string> => await found(asking(of), ofAll, ground, placeOf('max'))
  const helped = [machine, await new Node(ann).saw(again, placeOf('isabel'))]
  assert.equal(await isTaken(helped), 'new-place')
  await machine.saw(again, placeOf('runner'))
  assert.equal(await isTaken([machine]), 'taken')
})

test('a word that does not say where is nobody’s word', async () => {
  const silent = async (of: (mesh: Court['mesh']) => Person): Promise<Node> => {
    const node = new Node(of)
    await node.runs.give(planned, result, reads, { at: 1, place: undefined as never })
    return node
  }
  assert.equal(await found(new Node(({ max }) => max, [await silent(ann), await silent(ivy)])), 'nothing')
})

test('who sees something else the second time has nothing to tell', async () => {
  const node = await new Node(ann).saw(result)
  assert.equal(await node.runs.give(planned, other, reads, { at: 2, place: placeHere([]) }), undefined)
})

test('it is taken only where all that was looked at is the same, with the words of those who stand behind it', async () => {
  const both = [await new Node(ann).saw(result), await new Node(ivy).saw(again)]
  const node = (): Node => new Node(({ max }) => max, both)
  assert.equal(await found(node(), quorum, groundWith({ CFLAGS: '-O2' })), 'nothing')
  assert.equal(await found(node(), quorum, groundWith({ 'kernel()': 'Linux 6.2.0 x86_64' })), 'nothing')
  // Whoever holds it has changed it, or the list of what was left, or has thought of an evidence.
  for (const forged of [other, { ...result, entries: [] }]) {
    const thief = new Node(ann)
    const trace = { v: 2 as const, action: key, ...reads, result: encodeScriptResult(forged).cid }
    const about = (by: Person) =>
      thief.court.claim(by, forged as never, reads, { package: packageOf(planned), outputs: new Uint8Array(32) })
    await thief.judge.keep(
      [about(thief.court.mesh.ann), about(thief.court.mesh.ivy)].map((claim) => ({
        ...claim,
        body: { ...claim.body },
      })),
    )
    thief.traces.set(hexOf(key), [encodeTrace(trace).bytes])
    thief.blocks.set(hexOf(encodeScriptResult(forged).cid), encodeScriptResult(forged).bytes)
    assert.equal(await found(new Node(({ max }) => max, [thief])), 'nothing')
  }
  const strange: ScriptResult = { ...result, entries: [{ kind: 'link', path: 'l', to: '/etc', mtime: null, age: 0 }] }
  const agreed = [await new Node(ann).saw(strange), await new Node(ivy).saw(strange)]
  assert.equal(await found(new Node(({ max }) => max, agreed)), 'nothing')
})

test('it is given only while all of it is here, and it is nobody’s secret', async () => {
  const node = await new Node(ann).saw(result)
  const count = async (): Promise<number> => (await node.runs.holdings([digestOf(key)])).length
  assert.equal(await count(), 1)
  node.privates.add('fish-sys')
  assert.equal(await count(), 0)
  node.privates.clear()
  node.blocks.delete(hexOf(cidOf(file)))
  assert.equal(await count(), 0)
  node.blocks.set(hexOf(cidOf(file)), file)
  node.court.unsteady.add(packageOf(planned))
  assert.equal(await count(), 0)
  node.court.unsteady.clear()
  assert.equal(await node.runs.withdraw(hexOf(key)), true)
  assert.equal(await count(), 0)
})
