import assert from 'node:assert/strict'
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { foundMesh } from '../../src/mesh/found.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { Members } from '../../src/mesh/members.ts'
import { loadMembership, putAside, saveMembership } from '../../src/mesh/membership.ts'
import { rootFromPhrase } from '../../src/mesh/recovery.ts'
import { temporaryDirectory } from './fixture.ts'
import { createMembership } from './hiring.ts'

test('a membership survives being saved, with fields of later versions', async (t) => {
  const directory = await temporaryDirectory(t)
  const membership = createMembership({ name: 'office', open: true })
  await saveMembership(directory, membership)
  const file = join(directory, 'mesh.json')
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.deepEqual(await loadMembership(directory), membership)

  const document = JSON.parse(await readFile(file, 'utf8'))
  await writeFile(file, JSON.stringify({ ...document, later: { serial: 7 } }))
  await saveMembership(directory, await loadMembership(directory))
  assert.deepEqual(JSON.parse(await readFile(file, 'utf8')).later, { serial: 7 })
})

test('loadMembership() names what is wrong', async (t) => {
  const directory = await temporaryDirectory(t)
  await assert.rejects(loadMembership(directory), { code: 'ERR_NO_MESH' })
  await saveMembership(directory, createMembership({ name: 'office' }))
  const file = join(directory, 'mesh.json')
  const good = JSON.parse(await readFile(file, 'utf8'))
  const bad: [string, RegExp][] = [
    ['{', /not JSON/],
    ['[]', /./],
    [JSON.stringify({ ...good, v: 3 }), /: v: /],
    [JSON.stringify({ ...good, name: '' }), /: name: /],
    [JSON.stringify({ ...good, secret: 'AAAA' }), /secret: not 32 bytes/],
    [JSON.stringify({ ...good, id: 'short' }), /: id: /],
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

test('a mesh from before there were certificates is told from others, and stays when another takes its place', async (t) => {
  const directory = await temporaryDirectory(t)
  const before = { v: 1, id: 'a'.repeat(26), name: 'office', secret: 'AAAA', open: false, seeds: [] }
  await writeFile(join(directory, 'mesh.json'), JSON.stringify(before), { mode: 0o600 })
  await assert.rejects(loadMembership(directory), { code: 'ERR_MESH_OUTDATED', hint: /shoal init/ })
  await putAside(directory, 'before')
  assert.deepEqual(JSON.parse(await readFile(join(directory, 'mesh.json.before'), 'utf8')), before)
})

test('who founds a mesh is its first administrator, holds its root key, and gets that as words', async (t) => {
  const directory = await temporaryDirectory(t)
  const identity = await loadIdentity(directory)
  const init = { name: 'office', nodeName: 'anna', open: false }
  const { membership, phrase } = await foundMesh(systemClock, directory, identity, init)
  assert.deepEqual(await loadMembership(directory), membership)
  for (const name of await readdir(directory)) {
    assert.equal((await stat(join(directory, name))).mode & 0o077, 0, name)
    assert.ok(!(await readFile(join(directory, name), 'utf8')).includes(phrase.split(' ', 3).join(' ')), name)
  }
  const members = await Members.load({ clock: systemClock, log: silentLogger }, directory, identity, membership.id)
  assert.deepEqual(members.member(identity.peerId).roles, ['member', 'lender', 'inviter', 'admin'])
  assert.deepEqual(rootFromPhrase(phrase).key.publicKey, members.genesis.body.root)
  assert.deepEqual(members.highestIssuer().key.publicKey, members.genesis.body.root)
})
