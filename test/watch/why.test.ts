import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CauseEvent, decodeRecord, encodeRecord, type UnitEvent } from '../../src/watch/events.ts'
import { reportOf } from '../../src/watch/report.ts'
import type { Session } from '../../src/watch/sessions.ts'
import { nearNames, type Why, whyOf } from '../../src/watch/why.ts'
import { bench, facts, temporaryFile } from './support.ts'

const startedAt = Date.UTC(2026, 2, 1, 9)
const meanings = { 'path-bound': 'its outputs hold paths of this machine' }

const file = (name: string): CauseEvent => ({ what: 'file', name, recorded: 'aaa', here: 'bbb' })
const on = (unit: string): CauseEvent => ({ what: 'dependency', name: unit, recorded: 'aaa', here: 'bbb', unit })
const missed = (stem: string, ...causes: CauseEvent[]): Partial<UnitEvent> & { crate: string } => ({
  crate: stem,
  stem,
  package: `${stem}@0.1.0`,
  causes,
})

function session(...units: (Partial<UnitEvent> & { crate: string })[]): Session {
  return {
    id: 's1',
    pid: 10,
    cwd: '/ws',
    startedAt,
    over: true,
    units: units.map((unit, at) => ({
      ...facts(unit.crate),
      session: 's1',
      startedAt: startedAt + at,
      ms: 5,
      ...unit,
    })),
  }
}

/** From the root on: crate and name of what differs. */
const ways = ({ units }: Why): string[][] =>
  units.flatMap(({ because }) => because.map((way) => way.map(({ crate, cause }) => `${crate}: ${cause.name}`)))

test('a unit that itself differs has one step', () => {
  const why = whyOf(session(missed('app', file('src/main.rs'))), 'app', meanings)
  assert.deepEqual(ways(why), [['app: src/main.rs']])
  assert.deepEqual(why.units[0]?.causes, [file('src/main.rs')])
})

test('a dependency that was not recalled either is followed to the root', () => {
  const units = [missed('leaf', file('leaf.rs')), missed('mid', on('leaf')), missed('app', on('leaf'), on('mid'))]
  assert.deepEqual(ways(whyOf(session(...units), 'app', meanings)), [['leaf: leaf.rs', 'app: leaf']])
  assert.deepEqual(ways(whyOf(session(...units), 'mid', meanings)), [['leaf: leaf.rs', 'mid: leaf']])
  const onlyMid = [missed('leaf', file('leaf.rs')), missed('mid', on('leaf')), missed('app', on('mid'))]
  assert.deepEqual(ways(whyOf(session(...onlyMid), 'app', meanings)), [['leaf: leaf.rs', 'mid: leaf', 'app: mid']])
})

test('several roots come in the order in which they were compiled, behind what differs in the unit itself', () => {
  const units = [missed('late', file('late.rs')), missed('app', file('app.rs'), on('late'), on('early'))]
  const early = { ...missed('early', file('early.rs')), startedAt: startedAt - 5 }
  assert.deepEqual(ways(whyOf(session(...units, early), 'app', meanings)), [
    ['app: app.rs'],
    ['early: early.rs', 'app: early'],
    ['late: late.rs', 'app: late'],
  ])
})

test('the same variable in a unit and in its dependency is one cause', () => {
  const units = [missed('leaf', file('common.rs')), missed('app', file('common.rs'), on('leaf'))]
  assert.deepEqual(ways(whyOf(session(...units), 'app', meanings)), [['app: common.rs']])
})

test('a dependency is not followed when it was recalled, never seen before, new to the unit or gone', () => {
  const first: CauseEvent = { what: 'first-time', name: 'leaf', recorded: null, here: null }
  const others = [
    { ...missed('leaf', file('leaf.rs')), outcome: 'recalled-mesh' as const },
    missed('leaf', first),
    { crate: 'leaf', stem: 'leaf' },
    missed('leaf-2', file('leaf.rs')),
  ]
  for (const leaf of others) {
    assert.deepEqual(ways(whyOf(session(leaf, missed('app', on('leaf'))), 'app', meanings)), [['app: leaf']])
  }
  const fresh = missed('app', { ...on('leaf'), recorded: null })
  assert.deepEqual(ways(whyOf(session(missed('leaf', file('leaf.rs')), fresh), 'app', meanings)), [['app: leaf']])
})

test('what a new dependency of a dependency brought along comes behind the root', () => {
  const wish: CauseEvent = { ...on('wish'), recorded: null }
  const units = [missed('leaf', wish), missed('app', on('leaf'), { ...wish, name: 'wish of wish' })]
  assert.deepEqual(ways(whyOf(session(...units), 'app', meanings)), [
    ['leaf: wish', 'app: leaf'],
    ['app: wish of wish'],
  ])
})

test('a dependency that was recalled comes behind one that was not', () => {
  const recalled = { ...missed('early', file('early.rs')), outcome: 'recalled-here' as const }
  const units = [recalled, missed('leaf', file('leaf.rs')), missed('app', on('early'), on('leaf'))]
  assert.deepEqual(ways(whyOf(session(...units), 'app', meanings)), [['leaf: leaf.rs', 'app: leaf'], ['app: early']])
})

test('what a build script made is followed to the build script of the same package', () => {
  const generated: CauseEvent = { what: 'out-dir', name: 'gen.rs', recorded: 'a', here: 'b' }
  const script = {
    ...missed('build_script_build', file('build.rs')),
    kind: 'build-script',
    package: 'app@0.1.0',
  }
  const units = (of: string): Session =>
    session({ ...script, package: of }, { ...missed('app', generated), package: 'app@0.1.0' })
  assert.deepEqual(ways(whyOf(units('app@0.1.0'), 'app', meanings)).slice(0, 1), [
    ['build_script_build: build.rs', 'app: gen.rs'],
  ])
  assert.deepEqual(ways(whyOf(units('other@0.1.0'), 'app', meanings)), [['app: gen.rs']])
})

test('units that name each other in a circle end somewhere', () => {
  const units = [missed('a', on('b')), missed('b', on('c')), missed('c', on('a')), missed('d', on('d'))]
  assert.deepEqual(ways(whyOf(session(...units), 'a', meanings)), [['a: b']])
  assert.deepEqual(ways(whyOf(session(...units), 'd', meanings)), [['d: d']])
  const chain = Array.from({ length: 2000 }, (_, n) => missed(`c${n}`, on(`c${n + 1}`), on(`c${n - 1}`)))
  const { units: explained } = whyOf(session(...chain, missed('c2000', file('root.rs'))), 'c0', meanings)
  assert.equal(explained[0]?.because[0]?.[0]?.cause.name, 'root.rs')
})

test('units are found by crate and by package, with either dash; what was not recalled comes first', () => {
  const units = [
    { ...missed('my_lib', file('x')), package: 'my-lib@1.0.0', kind: 'test', outcome: 'recalled-here' as const },
    { ...missed('build_script_build', file('y')), package: 'my-lib@1.0.0' },
    { ...missed('my_lib', file('z')), package: 'my-lib@2.0.0' },
    missed('other'),
  ]
  const found = (name: string): string[] =>
    whyOf(session(...units), name, meanings).units.map((unit) => `${unit.crate} ${unit.package} ${unit.outcome}`)
  const all = [
    'my_lib my-lib@2.0.0 compiled-here',
    'build_script_build my-lib@1.0.0 compiled-here',
    'my_lib my-lib@1.0.0 recalled-here',
  ]
  assert.deepEqual(found('my-lib'), all)
  assert.deepEqual(found('my_lib'), all)
  assert.deepEqual(found('my-lib@2.0.0'), all.slice(0, 1))
  assert.deepEqual(found('mylib'), [])
})

test('a version is news only where the build has not both', () => {
  const version: CauseEvent = { what: 'version', name: 'syn', recorded: '1.0.0', here: '2.0.0' }
  const unit = (crate: string, version_: string, ...causes: CauseEvent[]) => ({
    ...missed(`${crate}-${version_}`, ...causes),
    crate,
    package: `${crate}@${version_}`,
  })
  const what = (...units: Parameters<typeof session>): (string | undefined)[] =>
    whyOf(session(...units), 'syn@2.0.0', meanings).units.map(({ causes }) => causes[0]?.what)
  assert.deepEqual(what(unit('syn', '2.0.0', version)), ['version'])
  assert.deepEqual(what(unit('syn', '1.0.0'), unit('syn', '2.0.0', version)), ['first-time'])
  const app = missed('app', on('syn-2.0.0'))
  assert.deepEqual(ways(whyOf(session(unit('syn', '2.0.0', version), app), 'app', meanings)), [
    ['syn: syn', 'app: syn-2.0.0'],
  ])
})

test('a reason comes with its meaning, if it has one; a unit that was recalled has no causes', () => {
  const units = [
    { crate: 'a', outcome: 'passed-through' as const, reason: 'path-bound' },
    { crate: 'b', reason: 'toString' },
    { ...missed('c', file('x')), outcome: 'recalled-mesh' as const },
  ]
  const unit = (name: string): Why['units'][number] | undefined => whyOf(session(...units), name, meanings).units[0]
  assert.equal(unit('a')?.meaning, 'its outputs hold paths of this machine')
  assert.equal(Object.hasOwn(unit('b') ?? {}, 'meaning'), false)
  assert.deepEqual([unit('c')?.causes, unit('c')?.because], [[], []])
})

test('nearNames() proposes what is spelt almost alike', () => {
  const build = session(
    { crate: 'serde' },
    { crate: 'serde_json' },
    { crate: 'serde' },
    { crate: 'syn' },
    { crate: 'x' },
  )
  assert.deepEqual(nearNames(build, 'sedre'), [])
  assert.deepEqual(nearNames(build, 'serd'), ['serde', 'serde_json'])
  assert.deepEqual(nearNames(build, 'serde-jsom'), ['serde', 'serde_json'])
  assert.deepEqual(nearNames(build, 'sny'), [])
  assert.deepEqual(nearNames(build, 'sym'), ['syn'])
  assert.deepEqual(nearNames(build, 'tokio'), [])
})

test('causes survive a restart and show in the report', async (t) => {
  const path = await temporaryFile(t)
  const causes = [file('src/lib.rs'), on('leaf-1')]
  const first = bench(path)
  await first.sessions.load()
  first.living.set(10, 'cargo')
  first.sessions.begin(10, '/ws').finish(facts('app', { causes, package: 'app@0.1.0', stem: 'app-1' }))
  await first.sessions.close()
  const second = bench(path)
  await second.sessions.load()
  const again = second.sessions.find('last') ?? assert.fail()
  assert.deepEqual(again.units[0]?.causes, causes)
  const [row] = reportOf(again).units
  assert.deepEqual([row?.causes, row?.package], [causes, 'app@0.1.0'])
})

test('more than eight causes are no record', () => {
  const record = (count: number): string => {
    const causes = Array.from({ length: count }, () => file('x'))
    const [unit] = session({ crate: 'a', causes }).units
    return encodeRecord({ type: 'unit', unit: unit ?? assert.fail() })
  }
  assert.notEqual(decodeRecord(record(8)), undefined)
  assert.equal(decodeRecord(record(9)), undefined)
})
