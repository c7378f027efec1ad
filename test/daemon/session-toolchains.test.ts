import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SessionToolchains } from '../../src/daemon/session-toolchains.ts'
import type { Invocation } from '../../src/plan/invocation.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'

const argv = ['--crate-name', 'a', 'a.rs', '--out-dir', 'out', '--emit=link']
function invocation(cargoPid: number, env: Record<string, string>, cwd = '/ws'): Invocation {
  return { driver: undefined, rustc: 'rustc', argv, cwd, env: new Map(Object.entries(env)), remaps: [], cargoPid }
}
const named = { PATH: '/bin:/usr/bin', RUSTUP_TOOLCHAIN: 'stable' }

/** What is installed can be changed, and how often somebody looked is counted. */
function bench() {
  const state = { now: 0, looks: 0, digest: 'one' }
  const clock = { now: () => state.now, wall: () => state.now, after: () => () => undefined }
  const toolchains = new SessionToolchains(async () => {
    state.looks++
    if (state.digest === '') throw new Error('unreadable')
    return { digest: state.digest, host: 'h', sysroot: '/s', covered: new Set<string>() }
  }, clock)
  return { state, toolchains }
}

test('one cargo has its toolchain looked at once a second, and another one by itself', async () => {
  const { state, toolchains } = bench()
  for (const cwd of ['/ws', '/registry/a']) await toolchains.of(invocation(1, named, cwd), undefined)
  assert.equal(state.looks, 1)
  state.digest = 'two'
  assert.equal((await toolchains.of(invocation(2, named), undefined))?.digest, 'two')
  state.now = 1000
  assert.equal((await toolchains.of(invocation(1, named), undefined))?.digest, 'two')
})

test('where the directory decides on the toolchain, each has its own', async () => {
  for (const env of [{ PATH: '/bin' }, { ...named, PATH: 'bin:/bin' }, { ...named, PATH: '' }]) {
    const { state, toolchains } = bench()
    for (const cwd of ['/a', '/b']) await toolchains.of(invocation(1, env, cwd), undefined)
    assert.equal(state.looks, 2, JSON.stringify(env))
  }
})

test('a failure is not remembered, and what was planned with is held against what is there', async () => {
  const { state, toolchains } = bench()
  state.digest = ''
  await assert.rejects(toolchains.of(invocation(1, named), undefined), { message: 'unreadable' })
  state.digest = 'one'
  const toolchain = await toolchains.of(invocation(1, named), undefined)
  assert.ok(toolchain)
  const planned = { toolchain, args: parseRustcArgs(argv) }
  assert.equal(await toolchains.isStill(planned, invocation(1, named)), true)
  state.digest = 'two'
  assert.equal(await toolchains.isStill(planned, invocation(1, named)), false)
})
