import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Observation } from '../../src/plan/observation.ts'
import type { ReadScope } from '../../src/plan/read-set.ts'
import type { Root } from '../../src/plan/roots.ts'
import type { PlannedScript } from '../../src/plan/script-plan.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { LocalView } from '../../src/plan/view.ts'
import { firstDifference, type Ground } from '../../src/recall/evidence.ts'
import { formForOthers, mayBeTold } from '../../src/recall/foreign-run.ts'
import { readSetOfScript } from '../../src/recall/script-reads.ts'

let dir: string
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'shoal-script-reads-'))
})
after(() => rm(dir, { recursive: true }))

interface Person {
  planned: PlannedScript
  scope: ReadScope
  ground: Ground
  home: string
  shim: string
}

/** Somebody with everything in a home, as a script of a published package finds it. */
async function person(name: string, isShim = true): Promise<Person> {
  const home = join(dir, 'home', name)
  const shim = join(home, '.local/state/shoal/bin/shoal-rustc')
  const path = [join(home, '.cargo/bin'), join(dir, 'bin')]
  const registry = join(home, '.cargo/registry/src')
  const outDir = join(home, 'ws/target/debug/build/x/out')
  for (const each of [join(shim, '..'), ...path, join(registry, 'x'), outDir]) await mkdir(each, { recursive: true })
  await writeFile(shim, 'the shim')
  const env = new Map([
    ['HOME', home],
    ['PATH', path.join(':')],
    ['RUSTC_WRAPPER', shim],
  ])
  const roots: Root[] = [
    { name: 'build', path: outDir },
    { name: 'target', path: join(home, 'ws/target') },
    { name: 'package', path: join(registry, 'x') },
    { name: 'registry', path: registry },
  ]
  const call = { program: join(outDir, '../script'), cwd: join(registry, 'x'), env, outDir, umask: 0o22, cargoPid: 1 }
  const toolchain = { digest: 'a'.repeat(64), host: 't', sysroot: join(dir, 'rust'), covered: new Set<string>() }
  const planned = { action: { env: [] }, toolchain, roots, call } as unknown as PlannedScript
  const scope: ReadScope = {
    products: [outDir],
    temporary: [],
    owned: [],
    dependencyDirs: [],
    dependencies: new Set(),
    complete: true,
    covered: () => false,
    unnamedDirs: [],
    programDirs: new Set(path),
  }
  const told = new Map([...env, ['kernel()', 'Linux'], ...(isShim ? [['RUSTC_WRAPPER', 'shoal'] as const] : [])])
  const view = new LocalView(new StatDigests(), path.join(':'))
  return {
    planned,
    scope,
    ground: { roots, dependencyDirs: [], env: told, view, tree: async () => undefined },
    home,
    shim,
  }
}

/** What the script of libc does: asks the compiler, through what stands before it, and looks for a program that nobody has. */
async function probed({ planned, scope, ground, shim, home }: Person, program = 'shoal-emcc') {
  const event = (kind: Observation['kind'], path: string, errno = 0): Observation => ({
    kind,
    path,
    errno,
    macro: true,
  })
  const events = [
    event('env', 'RUSTC_WRAPPER'),
    event('exec', shim),
    event('exec', join(home, '.cargo/bin', program), 2),
    event('exec', join(dir, 'bin', program), 2),
  ]
  const since = Number.MAX_SAFE_INTEGER
  const set = await readSetOfScript(planned, { events, scope, since, boundTo: [] }, ground)
  assert.ok(typeof set !== 'string', String(set))
  return set
}

test('who asks the compiler and looks for a program that nobody has tells nothing of the home of whoever builds', async () => {
  const ada = await person('ada')
  const set = await probed(ada)
  assert.deepEqual(set.env, [['RUSTC_WRAPPER', 'shoal']])
  const told = formForOthers(set, 'Linux')
  assert.ok(!JSON.stringify(told).includes(dir), JSON.stringify(told))
  assert.ok(mayBeTold(told, ada.planned.call.env))
  // The same for everybody else who has no such program.
  const benny = await person('benny')
  assert.equal(await firstDifference(told, benny.ground), undefined)
  await writeFile(join(benny.home, '.cargo/bin/shoal-emcc'), '', { mode: 0o755 })
  assert.equal((await firstDifference(told, benny.ground))?.kind, 'program')
})

test('where the roots lay is in it, and not in what others are told', async () => {
  const set = await probed(await person('cy'), 'shoal-other')
  const places = set.reads.filter(([kind]) => kind === 'place').map(([, name]) => name.split(' ')[0])
  assert.deepEqual(places, ['build', 'package', 'registry', 'target'])
  assert.ok(formForOthers(set, 'Linux').reads.every(([kind]) => kind !== 'place'))
})

test('what stands before the compiler and is no shim counts by where it lies', async () => {
  const ada = await person('dan', false)
  const told = formForOthers(await probed(ada), 'Linux')
  assert.ok(told.reads.some(([kind, name]) => kind === 'file' && name === ada.shim))
  assert.ok(!mayBeTold(told, ada.planned.call.env))
})

test('a program that comes while it is looked for is no program that nobody has', async () => {
  const eve = await person('eve')
  await writeFile(join(dir, 'bin/shoal-late'), '', { mode: 0o755 })
  const { planned, scope, ground, home } = eve
  const events = [join(home, '.cargo/bin'), join(dir, 'bin')].map(
    (at): Observation => ({ kind: 'exec', path: join(at, 'shoal-late'), errno: 2, macro: true }),
  )
  const set = await readSetOfScript(planned, { events, scope, since: Number.MAX_SAFE_INTEGER, boundTo: [] }, ground)
  assert.equal(set, 'source-changed')
})
