import assert from 'node:assert/strict'
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { arePlain, type PlannedScript, planScript, type ScriptCall, waysBetween } from '../../src/plan/script-plan.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'

let dir: string
before(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'shoal-script-plan-')))
})
after(() => rm(dir, { recursive: true }))

interface Place {
  home?: string
  workspace?: string
  target?: string
  env?: Record<string, string>
  script?: string
  umask?: number
  /** Named to cargo. */
  triple?: string
}

/** A script of a package in a workspace, as cargo would start it there. */
async function callIn({ home = 'home', workspace = 'ws', env = {}, ...place }: Place): Promise<ScriptCall> {
  const ws = join(dir, workspace)
  const target = place.target === undefined ? join(ws, 'target') : join(dir, place.target)
  const package_ = join(ws, 'crates/fish')
  const at = (of: string): string => join(of, 'debug/build/fish-0123')
  const outDir = join(at(join(target, place.triple ?? '')), 'out')
  for (const made of [package_, outDir, at(target), join(dir, home)]) await mkdir(made, { recursive: true })
  await writeFile(join(ws, 'Cargo.lock'), '')
  for (const each of [target, join(target, place.triple ?? '')]) await writeFile(join(each, 'debug/.cargo-lock'), '')
  const program = join(at(target), 'build-script.real')
  await writeFile(program, place.script ?? 'script')
  const cargo = { CARGO_MANIFEST_DIR: package_, CARGO_PKG_NAME: 'fish', OUT_DIR: outDir, TARGET: 't', HOST: 't' }
  const variables = { ...shell(home), ...cargo, NUM_JOBS: '4', ...env }
  return {
    program,
    cwd: package_,
    env: new Map(Object.entries(variables)),
    outDir,
    umask: place.umask ?? 0o22,
    cargoPid: 1,
  }
}

const shell = (home: string): Record<string, string> => ({ HOME: join(dir, home), PATH: '/bin', LANG: 'C' })

async function planned(place: Place = {}, toolchain = 'a'): Promise<PlannedScript> {
  const plan = await planScript(await callIn(place), 'salt', {
    digests: new StatDigests(),
    toolchain: async () => ({
      digest: toolchain.repeat(64),
      host: 't',
      sysroot: '/sysroot',
      covered: new Set<string>(),
    }),
    cargoEnvironment: async () => new Map(Object.entries(shell(place.home ?? 'home'))),
    processor: () => 'fast',
  })
  assert.ok(typeof plan !== 'string', String(plan))
  return plan
}

const key = async (place: Place = {}, toolchain = 'a'): Promise<string> =>
  (await planned(place, toolchain)).key.toString()

describe('planScript()', () => {
  test('names a run the same wherever it lies, and however many jobs there are', async () => {
    const here = await key()
    assert.equal(await key({ workspace: 'other/place' }), here)
    assert.equal(await key({ home: 'another' }), here)
    assert.equal(await key({ env: { NUM_JOBS: '8' } }), here)
    // What the script is made for lies beside what it is made of.
    const across = (target: string): Promise<string> => {
      const libraries = ['debug', 'debug/deps'].map((each) => join(dir, target, each)).join(':')
      return key({ target, triple: 'aarch64', env: { TARGET: 'aarch64', LD_LIBRARY_PATH: libraries } })
    }
    assert.equal(await across('made/here'), await across('there'))
    assert.notEqual(await across('there'), here)
    const { action } = await planned()
    assert.equal(action.cwd, '\0package\0')
    assert.deepEqual(new Map(action.env).get('OUT_DIR'), '\0build\0')
    assert.equal(new Map(action.env).has('LANG'), false)
  })

  test('names another run otherwise', async () => {
    const cases: Place[] = [
      { script: 'another' },
      { umask: 0o77 },
      { env: { CARGO_FEATURE_LOUD: '1' } },
      { env: { DEP_Z_INCLUDE: '/usr/include' } },
      { env: { PROFILE: 'release' } },
      { env: { LD_LIBRARY_PATH: '/opt/lib' } },
      // A path in the target directory is no longer one in the workspace.
      { target: 'elsewhere' },
    ]
    // One after the other: they lie in the same place.
    const keys = [await key(), await key({}, 'b')]
    for (const place of cases) keys.push(await key(place))
    assert.equal(new Set(keys).size, keys.length)
    const libraries = { LD_LIBRARY_PATH: join(dir, 'ws/target/debug/build/any/out') }
    assert.equal(await key({ env: libraries }), keys[0])
  })

  test('names none that holds a secret, and says when links are in the way', async () => {
    const needs = { digests: new StatDigests(), toolchain: async () => undefined, processor: () => undefined }
    const cargoEnvironment = async () => new Map<string, string>()
    const secret = await callIn({ env: { FISH_TOKEN: 'abcdefgh1234' } })
    assert.equal(await planScript(secret, '', { ...needs, cargoEnvironment }), 'secret-in-environment')
    assert.equal(await planScript(await callIn({}), '', { ...needs, cargoEnvironment }), 'toolchain-unknown')
    const unknown = { ...needs, cargoEnvironment: async () => undefined }
    assert.equal(await planScript(await callIn({}), '', unknown), 'unobserved')
    assert.equal((await planned()).isLinked, false)
    await mkdir(join(dir, 'real'))
    await symlink(join(dir, 'real'), join(dir, 'linked'))
    assert.equal((await planned({ workspace: 'linked/ws' })).isLinked, true)
  })
})

test('waysBetween() has those that depend on where things lie', () => {
  const roots = [
    { name: 'build', path: '/ws/target/debug/build/fish-0123/out' },
    { name: 'package', path: '/home/a/.cargo/registry/src/index/fish-1.0.0' },
    { name: 'registry', path: '/home/a/.cargo/registry/src' },
    { name: 'target', path: '/ws/target' },
  ] as const
  const ways = waysBetween(roots)
  assert.ok(ways.includes('../../../../../../home/a/.cargo/registry/src/index/fish-1.0.0'))
  assert.ok(!ways.some((way) => way === 'debug/build/fish-0123/out' || way === 'index/fish-1.0.0'))
})

test('arePlain() is for paths that look the same everywhere', () => {
  const at = (path: string) => arePlain([{ name: 'build', path }])
  assert.deepEqual(['/a/b-1.0_2', '/a b', '/a$b', '/a#b', '/ä'].map(at), [true, false, false, false, false])
})
