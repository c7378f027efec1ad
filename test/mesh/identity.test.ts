import assert from 'node:assert/strict'
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { loadIdentity } from '../../src/mesh/identity.ts'
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
