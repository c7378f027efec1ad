import assert from 'node:assert/strict'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Key } from 'interface-datastore'
import { silentLogger } from '../../src/base/log.ts'
import { PrivatePaths } from '../../src/daemon/private-paths.ts'
import { PrivateUnits } from '../../src/daemon/private-units.ts'
import type { Read } from '../../src/plan/action.ts'
import type { PlannedAction } from '../../src/plan/plan.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { Trees } from '../../src/plan/trees.ts'
import { openIndexDb } from '../../src/store/index-db.ts'
import { encodeCbor } from '../../src/wire/cbor.ts'
import { cidOf, dagCborCodec, hexOf } from '../../src/wire/cid.ts'
import { afterwards, ManualClock, temporaryDirectory } from '../mesh/fixture.ts'
import { content, planned, result } from '../recall/support.ts'
import { setUp } from './private-desk.ts'

test('what a node has not seen being made tells by its dep-info whether it is private', async (t) => {
  const { dir, units, depInfo, library, judge } = await setUp(t)
  await depInfo('p-1', 'p/src/lib.rs')
  await depInfo('o-1', 'o/src/lib.rs', `${dir}/o/src/other.rs`)
  await depInfo('peeks-1', 'o/src/lib.rs', 'd/../p/src/lib.rs')
  assert.equal(await judge([library('libo-1.rmeta')]), false)
  assert.equal(await judge([library('libo-1.rmeta'), library('libp-1.rmeta')]), true)
  assert.equal(await judge([library('libp-1.rlib')]), true)
  assert.equal(await judge([library('libpeeks-1.so')]), true)
  assert.ok(units.hasBlock(content('libp-1.rmeta')), 'nor is it served any more')
  assert.ok(!units.hasBlock(content('libo-1.rmeta')))
  // Built anew from elsewhere.
  await depInfo('o-1', 'p/src/lib.rs')
  assert.equal(await judge([library('libo-1.rmeta')]), true)
})

test('what does not tell is taken for private', async (t) => {
  const { dir, units, depInfo, library, judge } = await setUp(t)
  assert.equal(await judge([library('libgone-1.rmeta')]), true)
  await writeFile(join(dir, 'libodd-1.rmeta'), '')
  await writeFile(join(dir, 'odd-1.d'), 'no rule')
  assert.equal(await judge([library('libodd-1.rmeta', dir)]), true)
  await depInfo('o-1', 'o/src/lib.rs')
  assert.equal(await judge([library('libo-1.rmeta')], {}, []), true, 'where it was compiled is not known')
  assert.ok(!units.hasBlock(content('libo-1.rmeta')))
})

test('of a run of a build script what may tell a secret, or is of a private package, is for nobody else', async (t) => {
  const { dir, units } = await setUp(t)
  const keep = async (
    name: string,
    of: string,
    environ: string,
    env: Record<string, string> = {},
  ): Promise<boolean> => {
    const reads: Read[] = [['environ', environ, content('environment')]]
    const about = { dir: join(dir, of), roots: [], env: new Map(Object.entries(env)) }
    const isPrivate = await units.keepingRun([content(name)], { reads }, about)
    assert.equal(units.hasBlock(content(name)), isPrivate)
    return isPrivate
  }
  const token = { FISH_TOKEN: 'abcdefgh12345' }
  assert.equal(await keep('plain', 'o', 'shells'), false)
  assert.equal(await keep('asking', 'o', 'session', token), false)
  assert.equal(await keep('telling', 'o', 'shells', token), true)
  assert.equal(await keep('private', 'p', 'session'), true)
  // Nobody is asked about what it would do, either.
  assert.deepEqual(
    ['o', 'p'].map((name) => units.isPrivatePackage(join(dir, name))),
    [false, true],
  )
})

test('a package with a link into a private one is not lent', async (t) => {
  const { dir, units, write } = await setUp(t)
  await write('p/src/secret.rs', 'private')
  await write('d/src/lib.rs', 'mod shared;')
  await write('o/src/shared.rs', 'everybody may have it')
  const isAmong = async (): Promise<boolean> =>
    units.isAmong(await new Trees(new StatDigests()).tree(join(dir, 'd'), false))
  await symlink('../../o/src/shared.rs', join(dir, 'd/src/shared.rs'))
  assert.equal(await isAmong(), false)
  await symlink('../../p/src/secret.rs', join(dir, 'd/src/more.rs'))
  assert.equal(await isAmong(), true)
})

test('where it is not known what a dependency reaches, nothing private lies beside it', async (t) => {
  const { depInfo, library, judge } = await setUp(t)
  await depInfo('o-1', 'o/src/lib.rs')
  const unknown = { reaches: undefined, notAway: 'dependency-unknown' } as const
  assert.equal(await judge([library('libo-1.rmeta')], unknown), false)
  await depInfo('p-1', 'p/src/lib.rs')
  assert.equal(await judge([library('libo-1.rmeta')]), false)
  assert.equal(await judge([library('libo-1.rmeta')], unknown), true)
})

/** Packages, and an index for what is known of them. @returns `manifest` writes one, private or not */
async function packages(t: TestContext, names: readonly string[]) {
  const dir = await temporaryDirectory(t)
  const { datastore, close } = await openIndexDb({ dir: join(dir, 'index'), log: silentLogger })
  afterwards(t, close)
  const manifest = async (name: string, isPrivate: boolean): Promise<void> => {
    await mkdir(join(dir, name), { recursive: true })
    const mark = isPrivate ? '[package.metadata.shoal]\nprivate = true\n' : ''
    await writeFile(join(dir, name, 'Cargo.toml'), `[package]\nname = "${name}"\n${mark}`)
  }
  for (const name of names) await manifest(name, false)
  const paths = () => new PrivatePaths({ workspaces: [], packages: [] })
  const dependenciesOn = (uses: readonly string[]): PlannedAction['dependencies'] =>
    uses.map((name) => ({ name, path: join(dir, name), cid: content(name), size: 1 }))
  return { dir, datastore, manifest, paths, dependenciesOn }
}

test('what was kept and given of a package before it was private is taken back, with all that was made from it', async (t) => {
  const names = ['base', 'uses', 'top', 'other']
  const { dir, datastore, manifest, paths, dependenciesOn } = await packages(t, names)
  const gone: string[] = []
  const open = () =>
    PrivateUnits.open({
      datastore,
      clock: new ManualClock(),
      paths: paths(),
      onChange: (key) => gone.push(key),
    })
  const unit = (name: string, dependencies: string[] = [], root: 'workspace' | 'registry' = 'workspace') => ({
    planned: {
      ...planned,
      key: cidOf(Buffer.from(name), dagCborCodec),
      source: { root, path: name, dir: join(dir, name) },
      dependencies: dependenciesOn(dependencies),
    },
    result: { ...result, outputs: result.outputs.map((output) => ({ ...output, cid: content(name) })) },
  })
  // The one that uses it was complete first, as cargo has it.
  const all = [
    unit('uses', ['base']),
    unit('base'),
    unit('top', ['uses']),
    unit('other'),
    // From a registry, made from a package of this machine: patched.
    unit('far', ['base'], 'registry'),
    unit('farther', ['far'], 'registry'),
    unit('else', ['not-ours'], 'registry'),
  ]
  const units = await open()
  for (const each of all) await units.given(each.planned, each.result)
  const taken = (of: PrivateUnits) => all.map(({ planned: { key } }) => of.hasKey(hexOf(key)))
  assert.deepEqual(taken(await open()), Array(7).fill(false))
  await manifest('base', true)
  const expected = [true, true, true, false, true, true, false]
  // Once the node starts …
  const after = await open()
  assert.deepEqual(taken(after), expected)
  for (const [at, name] of ['uses', 'base', 'top', 'other'].entries())
    assert.equal(after.hasBlock(content(name)), at < 3)
  assert.deepEqual(gone, [])
  // … or its next unit is asked for.
  const env = new Map([['CARGO_MANIFEST_DIR', join(dir, 'base')]])
  const { planned: changed } = unit('base')
  const next = { ...changed, key: cidOf(Buffer.from('other sources'), dagCborCodec) }
  assert.equal(await units.judge(next, { env, cwd: dir, remaps: [] }, () => undefined), true)
  assert.deepEqual(taken(units), expected)
  assert.equal(gone.length, 6)
})

test('a package of a registry that is patched onto one of this machine goes with it, whichever is complete first', async (t) => {
  const { dir, datastore, manifest, paths, dependenciesOn } = await packages(t, ['base'])
  const needs = { datastore, clock: new ManualClock(), onChange: () => undefined }
  const units = await PrivateUnits.open({ ...needs, paths: paths() })
  const dependencies = dependenciesOn(['base'])
  const make = (name: string, root: 'workspace' | 'registry', uses: PlannedAction['dependencies']): PlannedAction => ({
    ...planned,
    key: cidOf(Buffer.from(name), dagCborCodec),
    source: { root, path: name, dir: join(dir, name) },
    dependencies: uses,
    reaches: uses,
  })
  const far = make('far', 'registry', dependencies)
  const base = make('base', 'workspace', [])
  const resultOf = (name: string) => ({
    ...result,
    outputs: result.outputs.map((each) => ({ ...each, cid: content(name) })),
  })
  const env = new Map([['CARGO_MANIFEST_DIR', join(dir, 'far')]])
  const isPrivate = await units.judge(far, { env, cwd: dir, remaps: [] }, () => base.source)
  assert.equal(isPrivate, false)
  await units.given(far, resultOf('far'))
  await units.given(base, resultOf('base'))
  await manifest('base', true)
  const after = await PrivateUnits.open({ ...needs, paths: paths() })
  assert.deepEqual(
    [far, base].map(({ key }) => after.hasKey(hexOf(key))),
    [true, true],
  )
})

/** A unit of a registry that is patched, and one of a package of this machine, both made from `base`, of which nothing was given. */
async function usersOfBase(t: TestContext) {
  const { dir, datastore, manifest, paths, dependenciesOn } = await packages(t, ['base', 'uses'])
  const open = () =>
    PrivateUnits.open({ datastore, clock: new ManualClock(), onChange: () => undefined, paths: paths() })
  const unit = (name: string, root: 'workspace' | 'registry', uses: readonly string[]): PlannedAction => ({
    ...planned,
    key: cidOf(Buffer.from(name), dagCborCodec),
    source: { root, path: name, dir: join(dir, name) },
    dependencies: dependenciesOn(uses),
    reaches: dependenciesOn(uses),
  })
  const env = (name: string) => ({ env: new Map([['CARGO_MANIFEST_DIR', join(dir, name)]]), cwd: dir, remaps: [] })
  const far = unit('far', 'registry', ['base'])
  const uses = unit('uses', 'workspace', ['base'])
  const give = async (units: PrivateUnits, sourceOf: Parameters<PrivateUnits['judge']>[2]): Promise<void> => {
    for (const each of [far, uses]) {
      assert.equal(await units.judge(each, env(each.source.path), sourceOf), false)
      const outputs = result.outputs.map((output) => ({ ...output, cid: content(each.source.path) }))
      await units.given(each, { ...result, outputs })
    }
  }
  const taken = (units: PrivateUnits) => [far, uses].map(({ key }) => units.hasKey(hexOf(key)))
  return { dir, datastore, manifest, open, unit, env, give, taken }
}

test('what was made from a package of this machine goes with it, also where nothing of that was ever given', async (t) => {
  const { manifest, open, unit, env, give, taken } = await usersOfBase(t)
  const units = await open()
  // As of a package that is compiled incrementally.
  await give(units, () => unit('base', 'workspace', []).source)
  assert.deepEqual(taken(units), [false, false])
  await manifest('base', true)
  assert.deepEqual(taken(await open()), [true, true])
  // Or when its next unit is asked for.
  const next = unit('base', 'workspace', [])
  assert.equal(await units.judge(next, env('base'), () => undefined), true)
  assert.deepEqual(taken(units), [true, true])
})

test('so does what was made from one that only its dep-info tells of', async (t) => {
  const { dir, manifest, open, unit, env, give, taken } = await usersOfBase(t)
  await writeFile(join(dir, 'base.d'), `${dir}/base: ${dir}/base/src/lib.rs ${dir}/base/src/more/a.rs\n`)
  const units = await open()
  await give(units, () => undefined)
  await manifest('base', true)
  assert.deepEqual(taken(await open()), [true, true])
  const next = unit('base', 'workspace', [])
  assert.equal(await units.judge(next, env('base'), () => undefined), true)
  assert.deepEqual(taken(units), [true, true])
})

test('of what is made from packages of registries alone nothing is noted', async (t) => {
  const { dir, datastore, open, unit, env } = await usersOfBase(t)
  await writeFile(join(dir, 'base.d'), `${dir}/base: ${dir}/base/src/lib.rs\n`)
  const units = await open()
  const far = unit('far', 'registry', ['base'])
  const remaps = [{ from: dir, to: '/cargo/registry/src' }]
  for (const source of [unit('base', 'registry', []).source, undefined]) {
    assert.equal(await units.judge(far, { ...env('far'), remaps }, () => source), false)
    await units.given(far, result)
    for await (const { key } of datastore.query({ prefix: '/origin/' })) assert.fail(key.toString())
  }
})

test('what an earlier version noted is taken back too', async (t) => {
  const { dir, datastore, manifest, open } = await usersOfBase(t)
  const key = hexOf(cidOf(Buffer.from('base'), dagCborCodec))
  const made = [hexOf(content('base'))]
  await datastore.put(new Key(`/origin/${key}`), encodeCbor({ v: 1, dir: join(dir, 'base'), made, uses: [] }).bytes)
  await manifest('base', true)
  const units = await open()
  assert.ok(units.hasKey(key))
  assert.ok(units.hasBlock(content('base')))
})

test('a crash while that is taken back loses nothing of it, and every checkout of a package is known', async (t) => {
  const names = ['base', 'uses', 'top']
  const { dir, datastore, manifest, paths, dependenciesOn } = await packages(t, [...names, 'copy'])
  let writesLeft = Number.POSITIVE_INFINITY
  const write = (): void => {
    if (writesLeft === 0) throw new Error('the machine died')
    writesLeft -= 1
  }
  const failing: typeof datastore = Object.assign(Object.create(datastore), {
    put: async (...args: Parameters<typeof datastore.put>) => {
      write()
      return await datastore.put(...args)
    },
    delete: async (...args: Parameters<typeof datastore.delete>) => {
      write()
      return await datastore.delete(...args)
    },
    query: (...args: Parameters<typeof datastore.query>) => datastore.query(...args),
  })
  const open = () =>
    PrivateUnits.open({ datastore: failing, clock: new ManualClock(), paths: paths(), onChange: () => undefined })
  const keyOf = (name: string) => cidOf(Buffer.from(name), dagCborCodec)
  const given = async (units: PrivateUnits, name: string, from: string, uses: readonly string[] = []) => {
    const dependencies = dependenciesOn(uses)
    const source = { root: 'workspace' as const, path: name, dir: join(dir, from) }
    const outputs = result.outputs.map((output) => ({ ...output, cid: content(name) }))
    await units.given({ ...planned, key: keyOf(name), source, dependencies }, { ...result, outputs })
  }
  const units = await open()
  await given(units, 'base', 'base')
  await given(units, 'base', 'copy')
  await given(units, 'uses', 'uses', ['base'])
  await given(units, 'top', 'top', ['uses'])
  await manifest('base', true)
  // Whichever write it is.
  for (let writes = 0, isDone = false; !isDone; writes += 1) {
    assert.ok(writes < 100)
    writesLeft = 1
    isDone = await open().then(
      () => true,
      () => false,
    )
    writesLeft = Number.POSITIVE_INFINITY
  }
  const after = await open()
  for (const name of names) assert.ok(after.hasKey(hexOf(keyOf(name))), name)
})
