import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { chmod, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { base32 } from 'multiformats/bases/base32'
import { createMembership, loadMembership, saveMembership } from '../../src/mesh/membership.ts'
import { temporaryDirectory } from './fixture.ts'

test('the id of a mesh follows from its secret', () => {
  const { id, secret } = createMembership({ name: 'office' })
  const digest = createHash('sha256').update('shoal/1/mesh').update(secret).digest()
  assert.equal(id, base32.encode(digest).slice(1, 27))
  assert.equal(secret.length, 32)
  assert.notEqual(createMembership({ name: 'office' }).id, id)
})

test('a membership survives being saved, with fields of later versions', async (t) => {
  const directory = await temporaryDirectory(t)
  const membership = createMembership({ name: 'office', open: true })
  await saveMembership(directory, membership)
  const file = join(directory, 'mesh.json')
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.deepEqual(await loadMembership(directory), membership)

  const document = JSON.parse(await readFile(file, 'utf8'))
  await writeFile(file, JSON.stringify({ ...document, certificate: { serial: 7 } }))
  await saveMembership(directory, await loadMembership(directory))
  assert.deepEqual(JSON.parse(await readFile(file, 'utf8')).certificate, { serial: 7 })
})

test('loadMembership() names what is wrong', async (t) => {
  const directory = await temporaryDirectory(t)
  await assert.rejects(loadMembership(directory), { code: 'ERR_NO_MESH' })
  await saveMembership(directory, createMembership({ name: 'office' }))
  const file = join(directory, 'mesh.json')
  const good = JSON.parse(await readFile(file, 'utf8'))
  const other = createMembership({ name: 'x' })
  const bad: [string, RegExp][] = [
    ['{', /not JSON/],
    ['[]', /./],
    [JSON.stringify({ ...good, v: 2 }), /: v: /],
    [JSON.stringify({ ...good, name: '' }), /: name: /],
    [JSON.stringify({ ...good, secret: 'AAAA' }), /secret: not 32 bytes/],
    [JSON.stringify({ ...good, id: other.id }), /id: does not belong/],
    [JSON.stringify({ ...good, padding: 'x'.repeat(70_000) }), /larger than/],
  ]
  for (const [content, message] of bad) {
    await writeFile(file, content)
    await assert.rejects(loadMembership(directory), { code: 'ERR_CONFIG', message })
  }
  await writeFile(file, JSON.stringify(good))
  await chmod(file, 0o644)
  await assert.rejects(loadMembership(directory), { code: 'ERR_CONFIG', message: /read by others/ })
})
