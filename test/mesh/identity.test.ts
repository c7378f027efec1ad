import assert from 'node:assert/strict'
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { loadIdentity, putKeyAside } from '../../src/mesh/identity.ts'
import { temporaryDirectory } from './fixture.ts'

test('loadIdentity() makes a key once and finds it again', async (t) => {
  const directory = join(await temporaryDirectory(t), 'not', 'there', 'yet')
  const first = await loadIdentity(directory)
  const second = await loadIdentity(directory)
  assert.equal(second.peerId, first.peerId)
  assert.match(first.peerId, /^12D3Koo/)
  assert.deepEqual(await readdir(directory), ['identity.key'])
  assert.equal((await stat(join(directory, 'identity.key'))).mode & 0o777, 0o600)
})

test('loadIdentity() refuses a key that others can read, and leaves it alone', async (t) => {
  const directory = await temporaryDirectory(t)
  await loadIdentity(directory)
  const file = join(directory, 'identity.key')
  const before = await readFile(file)
  for (const mode of [0o640, 0o604, 0o660]) {
    await chmod(file, mode)
    await assert.rejects(loadIdentity(directory), { code: 'ERR_CONFIG', hint: `chmod 600 ${file}` })
  }
  assert.deepEqual(await readFile(file), before)
})

test('loadIdentity() refuses what is no Ed25519 key', async (t) => {
  const directory = await temporaryDirectory(t)
  const file = join(directory, 'identity.key')
  const other = Buffer.from(privateKeyToProtobuf(await generateKeyPair('secp256k1'))).toString('base64')
  for (const content of ['', 'not a key', other, 'A'.repeat(2000)]) {
    await writeFile(file, content, { mode: 0o600 })
    await assert.rejects(loadIdentity(directory), { code: 'ERR_CONFIG' })
  }
})

test('a key is used on the machine where it was made, and nowhere else', async (t) => {
  const directory = await temporaryDirectory(t)
  const [here, there] = [join(directory, 'here'), join(directory, 'there')]
  await writeFile(here, `${'1'.repeat(32)}\n`)
  await writeFile(there, `${'2'.repeat(32)}\n`)
  const { peerId } = await loadIdentity(directory, here)
  assert.equal((await loadIdentity(directory, here)).peerId, peerId)
  const file = join(directory, 'identity.key')
  const text = await readFile(file, 'utf8')
  assert.match(text, /^\S+\nmachine [0-9a-f]{64}\n$/)
  assert.ok(!text.includes('1'.repeat(32)))
  await assert.rejects(loadIdentity(directory, there), { code: 'ERR_CLONED' })
  assert.equal(await readFile(file, 'utf8'), text)
  await putKeyAside(directory, 'copied')
  assert.notEqual((await loadIdentity(directory, there)).peerId, peerId)
})

test('a machine without a number of its own takes every key, and binds none', async (t) => {
  const directory = await temporaryDirectory(t)
  const [none, here, odd] = [join(directory, 'none'), join(directory, 'here'), join(directory, 'odd')]
  await writeFile(here, `${'1'.repeat(32)}\n`)
  await writeFile(odd, 'uninitialized\n')
  const unbound = join(directory, 'unbound')
  const { peerId } = await loadIdentity(unbound, none)
  for (const machine of [here, odd, none]) assert.equal((await loadIdentity(unbound, machine)).peerId, peerId)
  const bound = join(directory, 'bound')
  const other = await loadIdentity(bound, here)
  for (const machine of [odd, none]) assert.equal((await loadIdentity(bound, machine)).peerId, other.peerId)
})
