import assert from 'node:assert/strict'
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { readsKeys } from '../../src/daemon/observed.ts'
import type { Read } from '../../src/plan/action.ts'
import { isKeyFile } from '../../src/plan/key-files.ts'
import { observationFile } from '../../src/plan/observation.ts'
import type { Planned } from '../../src/plan/plan.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { Trees } from '../../src/plan/trees.ts'
import { hexOf } from '../../src/wire/cid.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'
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
  // In what everybody can read a short one stands by chance.
  const short = new Map([['PGPASSWORD', 'password123']])
  await write('target/debug/deps/libdoc-1.rmeta', 'such as password123, or canary-0123456789-abc')
  await depInfo('doc-1', `${dir}/registry/doc-1.0.0/src/lib.rs`)
  assert.equal(await units.hasSecretWithin(user('doc'), short), false)
  await depInfo('doc-1', 'o/src/lib.rs')
  assert.equal(await units.hasSecretWithin(user('doc'), short), true)
  await depInfo('doc-1', `${dir}/registry/doc-1.0.0/src/lib.rs`)
  assert.equal(await units.hasSecretWithin(user('doc'), new Map([['API_TOKEN', 'canary-0123456789-abc']])), true)
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
    '\0workspace\0/docker/local.env',
    '\0workspace\0/credentials.json',
  ]
  for (const name of [...keys, '\0workspace\0/id_ed25519']) assert.equal(await kept(name), true, name)
  const others = [
    '\0workspace\0/.env.example',
    '\0registry\0/x-1.0.0/tests/ca.pem',
    '/etc/ssl/certs/ca.pem',
    '\0workspace\0/src/key.rs',
    '\0workspace\0/src/credentials.rs',
    '\0workspace\0/example.env',
    '\0workspace\0/.sqlx/q.json',
  ]
  for (const name of others) assert.equal(await kept(name), false, name)

  await depInfo('keys-1', 'o/src/lib.rs', 'o/tls/server.pem')
  await depInfo('none-1', 'o/src/lib.rs', `${dir}/registry/x-1.0.0/tests/ca.pem`)
  const user = (name: string) => ({ key: content(name), dependencies: [library(name)], roots })
  assert.equal(await units.hasSecretWithin(user('libkeys-1.rmeta'), new Map()), true)
  assert.equal(await units.hasSecretWithin(user('libnone-1.rmeta'), new Map()), false)
})

test('a library of which a source has asked for a secret is one from the moment its metadata is there', async (t) => {
  const { dir, units, write, library } = await setUp(t)
  const asks = async (name: string, ...variables: string[]): Promise<boolean> => {
    const lines = variables.map((variable) => `# env-dep:${variable}\n`)
    await write(`target/debug/deps/${name}-1.d`, `${dir}/x.rmeta: o/src/lib.rs\n\n${lines.join('')}`)
    const of = { key: content(`uses ${name}`), dependencies: [library(`lib${name}-1.rmeta`)], roots: [] }
    return await units.hasSecretWithin(of, new Map())
  }
  assert.equal(await asks('hook', 'SLACK_WEBHOOK_URL=https://hooks/T0/B0'), true)
  assert.equal(await asks('pass', 'PROXY=http://me:pass@proxy/'), true)
  assert.equal(await asks('unset', 'SLACK_WEBHOOK_URL', 'CARGO_PKG_NAME=token', 'LANG=C'), false)
})

test('what a build script makes of a file of keys stays here with its package', async (t) => {
  const { dir, units, write, judge } = await setUp(t)
  const outDir = join(dir, 'target/debug/build/d-1/out')
  let count = 0
  const made = async (files: Record<string, string>, said = '', root: 'package' | 'registry' | 'git' = 'package') => {
    await rm(join(outDir, '..'), { recursive: true, force: true })
    await write('target/debug/build/d-1/output', said)
    for (const [path, text] of Object.entries(files)) await write(`target/debug/build/d-1/out/${path}`, text)
    const build = await new Trees(new StatDigests()).outDir(outDir)
    return await judge([], { build, key: content(`${count++}`), source: { root, path: '', dir: join(dir, 'd') } })
  }
  const key = `-----BEGIN PRIVATE KEY-----\\n${'MIIEvAIBADAN'.repeat(20)}`
  await mkdir(outDir, { recursive: true })
  assert.equal(await made({ 'made.rs': 'pub fn f() {}' }, 'cargo:rerun-if-changed=build.rs\n'), false)
  assert.equal(await made({ 'made.rs': 'pub fn f() {}' }, 'cargo:rerun-if-changed=../.env\n'), true)
  assert.equal(await made({ 'made.rs': 'pub fn f() {}' }, 'cargo::rerun-if-changed=tls/server.key\n'), true)
  assert.equal(await made({ 'tls/server.pem': 'x' }), true)
  assert.equal(await made({ 'made.rs': `pub const KEY: &str = "${key}";` }), true)
  assert.equal(await made({ 'made.rs': 'const LABEL: &str = "-----BEGIN PRIVATE KEY-----";' }), false, 'who reads keys')
  assert.equal(await made({ 'openssl/test/ca.pem': key }, '', 'registry'), false, 'everybody has it')
  assert.equal(await made({ 'openssl/test/ca.pem': key }, '', 'git'), true, 'not everybody may check it out')

  // Seen while it ran, whatever it has said.
  const keep = (name: string, home: string): Promise<boolean> => {
    const reads: Read[] = [['file', name, content('key')]]
    const roots = [
      { name: 'package' as const, path: join(dir, home) },
      { name: 'registry' as const, path: join(dir, 'registry') },
      { name: 'git' as const, path: join(dir, 'git') },
    ]
    return units.keepingRun([content('of the key')], { reads }, { dir: join(dir, home), roots, env: new Map() })
  }
  assert.equal(await made({ 'made.bin': 'of the key' }), false)
  assert.equal(await keep('\0package\0/tests/ca.pem', 'registry/x-1.0.0'), false)
  assert.equal(await keep('\0package\0/tls/server.key', 'd'), true)
  assert.equal(await keep('\0package\0/tls/server.key', 'git/checkouts/x-1'), true)
  assert.equal(await made({ 'made.bin': 'of the key' }), true)
  assert.equal(await made({ 'made.bin': 'of the key' }, '', 'registry'), false)
})

test('a compile that was seen to read a file of keys is known by it, kept or not', async (t) => {
  const dir = await temporaryDirectory(t)
  const roots = [{ name: 'workspace' as const, path: join(dir, 'ws') }]
  const readsOf = async (...opened: [path: string, errno: number][]): Promise<boolean> => {
    const records = opened.map(([path, errno]) => {
      const bytes = Buffer.alloc(Math.ceil((12 + path.length) / 8) * 8)
      bytes.writeUInt32LE(bytes.length, 0)
      bytes.writeUInt16LE(path.length, 4)
      bytes.writeUInt16LE(errno, 6)
      bytes.writeUInt8(1, 8)
      bytes.write(path, 12)
      return bytes
    })
    const head = Buffer.alloc(64 + 8 * 8192)
    head.write('shoalob1')
    head.writeBigUInt64LE(BigInt(Buffer.concat(records).length), 8)
    head.writeBigInt64LE(1n, 32)
    await writeFile(join(dir, observationFile), Buffer.concat([head, ...records]))
    return readsKeys({ roots }, dir)
  }
  assert.equal(readsKeys({ roots }, dir), false, 'where nothing was seen')
  assert.equal(await readsOf([`${dir}/ws/src/lib.rs`, 0], [`${dir}/ws/.env`, 0]), true)
  assert.equal(await readsOf([`${dir}/ws/src/lib.rs`, 0], [`${dir}/ws/.env`, 2]), false)
})

test('certificates alone are no keys', async (t) => {
  const dir = await temporaryDirectory(t)
  const isKey = async (name: string, text: string): Promise<boolean> => {
    await writeFile(join(dir, name), text)
    return isKeyFile(`\0workspace\0/${name}`, join(dir, name))
  }
  const part = (label: string): string => `-----BEGIN ${label}-----\nMIIE\n-----END ${label}-----\n`
  assert.equal(await isKey('ca.pem', part('CERTIFICATE').repeat(100)), false)
  assert.equal(await isKey('public.pem', `# of the server\n${part('PUBLIC KEY')}`), false)
  for (const label of ['PRIVATE KEY', 'RSA PRIVATE KEY', 'ENCRYPTED PRIVATE KEY', 'PGP MESSAGE'])
    assert.equal(await isKey('both.pem', part('CERTIFICATE') + part(label)), true, label)
  assert.equal(await isKey('odd.pem', 'MIIE'), true)
  assert.equal(await isKey('long.pem', part('CERTIFICATE').repeat(30_000)), true)
  assert.equal(await isKey('ca.key', part('CERTIFICATE')), true)
  assert.equal(isKeyFile('\0workspace\0/gone.pem', join(dir, 'gone.pem')), true)
  assert.equal(isKeyFile('\0workspace\0/ca.pem', undefined), true)
})

test('a link to a file of keys is one, whatever it or a directory on the way is called', async (t) => {
  const dir = await temporaryDirectory(t)
  const isKey = (name: string): boolean => isKeyFile(`\0workspace\0/${name}`, join(dir, name))
  await mkdir(join(dir, '.aws'))
  for (const name of ['.env', '.aws/config', 'notes.txt']) await writeFile(join(dir, name), 'k')
  await writeFile(join(dir, 'ca.pem'), '-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----\n')
  await symlink('.env', join(dir, 'settings.txt'))
  await symlink(join(dir, '.aws'), join(dir, 'cloud'))
  await symlink('notes.txt', join(dir, 'more.txt'))
  await symlink('ca.pem', join(dir, 'roots.txt'))
  await symlink('gone.env', join(dir, 'gone.txt'))
  assert.deepEqual(['settings.txt', 'cloud/config'].map(isKey), [true, true])
  assert.deepEqual(['notes.txt', 'more.txt', 'roots.txt', 'gone.txt'].map(isKey), [false, false, false, false])
})
