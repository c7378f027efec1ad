import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import type { Action } from '../../src/plan/action.ts'
import { cause } from '../../src/recall/cause.ts'
import { explainAction, explainEnvironment, type Remembered } from '../../src/recall/explain.ts'
import {
  circumstancesOf,
  decodeCircumstances,
  decodeSketch,
  encodeCircumstances,
  encodeSketch,
  sketchEnvironment,
  sketchOf,
} from '../../src/recall/sketch.ts'
import { action as base } from './support.ts'

const short = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 12)

test('toolchains and profiles are called what people call them, when that is known', () => {
  const circumstances = (toolchain: string, profile: string | null) => ({
    ...{ toolchain, profile, environments: [] },
    ...{ directory: '/ws/x', incremental: false },
  })
  const withArgv = (...argv: string[]): Action => ({ ...base, argv: [...argv, 'src/lib.rs'] })
  const action = withArgv('-C', 'opt-level=1')
  const before = { sketch: sketchOf(action), circumstances: circumstances('stable', 'debug') }
  const now = (changed: Action, toolchain: string, profile: string | null): Remembered => ({
    sketch: sketchOf(changed),
    circumstances: circumstances(toolchain, profile),
  })
  const optimised = withArgv('-C', 'opt-level=3')
  const flag = cause('codegen', 'opt-level', '1', '3')
  assert.deepEqual(explainAction(before, now(optimised, 'stable', 'release')), [
    cause('profile', 'profile', 'dev', 'release'),
    flag,
  ])
  assert.deepEqual(explainAction(before, now(optimised, 'stable', 'debug')), [flag])
  assert.deepEqual(explainAction(before, now(optimised, 'stable', null)), [flag])
  // Another profile with the same options makes the same.
  assert.deepEqual(
    explainAction(before, now(withArgv('-C', 'opt-level=1', '--cfg', 'backend="b"'), 'stable', 'fast')),
    [cause('cfg', 'backend', null, '"b"')],
  )
  assert.deepEqual(explainAction(before, now({ ...action, toolchain: 'b'.repeat(64) }, 'nightly', 'debug')), [
    cause('toolchain', 'toolchain', `stable (${'a'.repeat(12)})`, `nightly (${'b'.repeat(12)})`),
  ])
  assert.deepEqual(explainAction(before, now(action, 'another name of the same', 'release')), [])
})

test('what stands behind the names that cargo makes up comes before them', () => {
  const named = (metadata: string): Action => ({ ...base, argv: ['-C', `metadata=${metadata}`, 'src/lib.rs'] })
  const usual = { toolchain: 'stable', profile: 'debug', directory: '/a/x', incremental: false, environments: [] }
  const before = { sketch: sketchOf(named('1111')), circumstances: usual }
  const now = (change: Partial<typeof usual>, metadata = '2222'): Remembered => ({
    sketch: sketchOf(named(metadata)),
    circumstances: { ...usual, ...change },
  })
  const madeUp = cause('codegen', 'metadata', '1111', '2222')
  assert.deepEqual(explainAction(before, now({})), [madeUp])
  assert.deepEqual(explainAction(before, now({ directory: '/b/x' })), [
    cause('place', 'package', '/a/x', '/b/x'),
    madeUp,
  ])
  assert.deepEqual(explainAction(before, now({ incremental: true, profile: 'fast' })), [
    cause('profile', 'profile', 'dev', 'fast'),
    cause('option', 'incremental compilation', null, 'on'),
    madeUp,
  ])
  // Where cargo calls it the same, the place makes no difference.
  assert.deepEqual(explainAction(before, now({ directory: '/b/x' }, '1111')), [])
})

test('environments are told apart by name, the nearest first, and no value is kept', () => {
  const roots = [{ name: 'workspace' as const, path: '/home/ann/ws' }]
  const sketched = (env: Record<string, string>) => sketchEnvironment({ env: new Map(Object.entries(env)), roots })
  const before = sketched({ SAME: '/home/ann/ws/x', COLOUR: 'red', API_TOKEN: 'hunter2', SHLVL: '1', GONE: '' })
  const now = sketched({ SAME: '/home/ann/ws/x', COLOUR: 'blue', API_TOKEN: 'hunter3', SHLVL: '2', NEW: 'new' })
  const causes = explainEnvironment([before], now)
  assert.deepEqual(
    causes.map(({ what, name }) => `${what} ${name}`),
    ['environment COLOUR', 'environment API_TOKEN', 'environment GONE', 'environment NEW'],
  )
  assert.deepEqual(causes[0], cause('environment', 'COLOUR', short('red'), short('blue')))
  assert.deepEqual([causes[1]?.recorded, causes[1]?.here], ['(hidden)', '(hidden)'])
  assert.deepEqual([causes[3]?.recorded, causes[3]?.here], [null, short('new')])
  assert.doesNotMatch(JSON.stringify(before), /hunter|red|home/)
  // Four digits of the digest of a secret say that it changed, and fit one in 65536 of all guesses.
  assert.equal(new Map(before.variables).get('API_TOKEN')?.length, 4)
  const nearer = sketched({ SAME: '/home/ann/ws/x', COLOUR: 'blue', API_TOKEN: 'hunter3' })
  assert.deepEqual(
    explainEnvironment([before, nearer], now).map(({ name }) => name),
    ['NEW'],
  )
  assert.deepEqual(explainEnvironment([], now), [])
})

test('circumstances that are damaged or of another version are none', () => {
  const environment = { cid: 'x', variables: [['A', 'aa'] as [string, string]] }
  const toolchain = {
    digest: 'a',
    host: 'h',
    sysroot: '/home/ann/.rustup/toolchains/stable',
    covered: new Set<string>(),
  }
  const at = (out: string) => ({
    toolchain,
    source: { root: 'workspace' as const, path: 'x', dir: '/ws/x' },
    incremental: undefined,
    roots: [
      { name: 'out' as const, path: out },
      { name: 'target' as const, path: '/ws/target' },
    ],
  })
  const whole = circumstancesOf(at('/ws/target/debug/deps'), [environment])
  assert.deepEqual(whole, {
    ...{ toolchain: 'stable', profile: 'debug', environments: [environment] },
    ...{ directory: '/ws/x', incremental: false },
  })
  assert.deepEqual(decodeCircumstances(encodeCircumstances(whole)), whole)
  assert.equal(circumstancesOf(at('/ws/target/wasm32-wasip1/release/examples'), []).profile, 'release')
  for (const out of ['/elsewhere/debug/deps', '/ws/target/deps', '/ws/target/what/ever']) {
    assert.equal(circumstancesOf(at(out), []).profile, null)
  }
  for (const bad of [encodeCircumstances(whole).subarray(1), Buffer.from('{}'), new Uint8Array()]) {
    assert.equal(decodeCircumstances(bad), undefined)
  }
})

test('a sketch that is damaged or of another version is none', () => {
  const bytes = encodeSketch(sketchOf(base))
  const other = Buffer.from(JSON.stringify({ ...sketchOf(base), v: 3 }))
  for (const bad of [new Uint8Array(), bytes.subarray(0, -1), other, Buffer.from('[]'), Buffer.from([0xff, 0xfe])]) {
    assert.equal(decodeSketch(bad), undefined)
  }
  assert.deepEqual(decodeSketch(bytes), sketchOf(base))
})
