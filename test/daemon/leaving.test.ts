import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { shoalPaths } from '../../src/base/paths.ts'
import { setUp } from '../../src/daemon/setup.ts'
import { loadIdentity } from '../../src/mesh/identity.ts'
import { saveRootKey } from '../../src/mesh/root-key.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'

const person = { tell: () => undefined, agrees: async () => true }

test('who leaves destroys its key, and is told where the root key of the mesh still lies', async (t) => {
  const home = await temporaryDirectory(t)
  const paths = shoalPaths({ SHOAL_HOME: home }, home)
  await mkdir(paths.state, { recursive: true, mode: 0o700 })
  await loadIdentity(paths.state)
  await saveRootKey(paths.state, new Uint8Array(32))
  const left = await setUp({ action: 'leave' }, paths, {}, person)
  assert.ok('rootKey' in left && left.rootKey !== null)
  assert.equal((await stat(left.rootKey)).mode & 0o777, 0o600)
  assert.deepEqual(left.touched, [join(paths.state, 'identity.key')])
  assert.ok(!existsSync(join(paths.state, 'identity.key')) && !existsSync(join(paths.state, 'root.key')))
  await loadIdentity(paths.state)
  const again = await setUp({ action: 'leave' }, paths, {}, person)
  assert.ok('rootKey' in again && again.rootKey === null)
})
