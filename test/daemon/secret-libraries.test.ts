import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Read } from '../../src/plan/action.ts'
import type { Planned } from '../../src/plan/plan.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import { hexOf } from '../../src/wire/cid.ts'
import { content, result } from '../recall/support.ts'
import { setUp } from './private-desk.ts'

test('a library that holds a secret of its build is for nobody else, nor what uses it', async (t) => {
  const { dir, units, write, depInfo, library, judge } = await setUp(t)
  const env = new Map([
    ['DEPLOY_TOKEN', 'canary-0123456789'],
    ['PROXY', 'http://me:pass@proxy:3128/'],
    ['PLAIN', 'nothing to hide'],
  ])
  const holds: Record<string, string> = {
    token: `${'x'.repeat((1 << 20) - 5)}canary-0123456789`,
    address: 'at http://me:pass@proxy:3128/',
    open: 'nothing to hide',
  }
  for (const [name, text] of Object.entries(holds)) {
    await write(`target/debug/deps/lib${name}-1.rmeta`, text)
    await depInfo(`${name}-1`, 'o/src/lib.rs')
  }
  const user = (name: string) => ({
    ...{ key: content(`uses ${name}`), dependencies: [library(`lib${name}-1.rmeta`)] },
    roots: [{ name: 'registry' as const, path: `${dir}/registry` }],
  })
  for (const name of ['token', 'address']) {
    assert.equal(await units.hasSecretWithin(user(name), env), true, name)
    assert.deepEqual([units.hasKey(hexOf(user(name).key)), await judge(user(name).dependencies)], [true, true], name)
  }
  for (const name of ['open', 'gone']) assert.equal(await units.hasSecretWithin(user(name), env), false, name)
  assert.equal(await units.hasSecretWithin(user('token'), new Map()), false, 'nothing to be told')

  // Told by cargo in another way: whoever uses it may be asked for while it is still at work.
  const args = parseRustcArgs(
    `--crate-name cfg --crate-type lib --emit=metadata --out-dir ${dir}/target/debug/deps`.split(' '),
  )
  const telling: Planned = {
    ...{ crate: 'cfg', kind: 'lib', args, reaches: [] },
    ...{ shareable: false, reason: 'secret-in-environment' },
  }
  const call = { env: new Map([['CARGO_MANIFEST_DIR', join(dir, 'o')]]), cwd: dir, remaps: [{ from: dir, to: '.' }] }
  await depInfo('cfg', 'o/src/lib.rs')
  const judgeUser = (n: number): Promise<boolean> => judge([library('libcfg.rmeta')], { key: content(`user ${n}`) })
  assert.equal(await judgeUser(1), false)
  await units.judge(telling, call, () => undefined)
  assert.deepEqual([await judgeUser(2), units.hasBlock(content('libcfg.rmeta'))], [true, true])
})

test('what is made from a file of keys is for nobody else, nor what uses it, complete or not', async (t) => {
  const { dir, units, depInfo, library } = await setUp(t)
  const roots = [{ name: 'registry' as const, path: `${dir}/registry` }]
  const kept = async (name: string): Promise<boolean> => {
    const made = { ...result, action: content(`read ${name}`) }
    const read: Read = ['file', name, content('any')]
    await units.keeping(made, { reads: [read], env: [] }, false, [])
    return units.hasKey(hexOf(made.action))
  }
  const keys = [
    '\0workspace\0/.env',
    '\0workspace\0/a/.env.production',
    '\0package\0/tls/server.KEY',
    '/home/ann/.aws/credentials',
  ]
  for (const name of [...keys, '\0workspace\0/id_ed25519']) assert.equal(await kept(name), true, name)
  const others = [
    '\0workspace\0/.env.example',
    '\0registry\0/x-1.0.0/tests/ca.pem',
    '\0workspace\0/src/key.rs',
    '\0workspace\0/.sqlx/q.json',
  ]
  for (const name of others) assert.equal(await kept(name), false, name)

  await depInfo('keys-1', 'o/src/lib.rs', 'o/tls/server.pem')
  await depInfo('none-1', 'o/src/lib.rs', `${dir}/registry/x-1.0.0/tests/ca.pem`)
  const user = (name: string) => ({ key: content(name), dependencies: [library(name)], roots })
  assert.equal(await units.hasSecretWithin(user('libkeys-1.rmeta'), new Map()), true)
  assert.equal(await units.hasSecretWithin(user('libnone-1.rmeta'), new Map()), false)
})
