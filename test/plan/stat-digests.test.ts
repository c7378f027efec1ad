import assert from 'node:assert/strict'
import { linkSync, mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { identityOf, StatDigests } from '../../src/plan/stat-digests.ts'
import { cidOf } from '../../src/wire/cid.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'shoal-digests-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const content = (text: string) => cidOf(Buffer.from(text))
function put(name: string, text: string): string {
  writeFileSync(join(dir, name), text)
  return join(dir, name)
}
const identity = (path: string): string => identityOf(statSync(path, { bigint: true }))

test('what was read is remembered until the file is touched', async () => {
  const digests = new StatDigests(0)
  const path = put('a', 'one')
  assert.equal(digests.known(path), undefined)
  assert.ok((await digests.digest(path)).cid.equals(content('one')))
  assert.equal(digests.known(path)?.size, 3)
  utimesSync(path, 1000, 1000)
  assert.equal(digests.known(path), undefined)
  assert.equal(digests.known(join(dir, 'none')), undefined)
})

test('a file that was changed only now is not remembered: its next change may not show', async () => {
  const digests = new StatDigests(3_600_000)
  const path = put('a', 'one')
  await digests.digest(path)
  assert.equal(digests.known(path), undefined)
})

test('digest() reads large files like small ones', async () => {
  const bytes = Buffer.alloc((8 << 20) + 1, 'ab')
  writeFileSync(join(dir, 'large'), bytes)
  const { cid, size } = await new StatDigests().digest(join(dir, 'large'))
  assert.deepEqual([size, cid.toString()], [bytes.length, cidOf(bytes).toString()])
})

test('digest() fails for what is no file', async () => {
  mkdirSync(join(dir, 'directory'))
  await assert.rejects(new StatDigests().digest(join(dir, 'directory')), { code: 'EISDIR' })
  await assert.rejects(new StatDigests().digest(join(dir, 'none')), { code: 'ENOENT' })
})

test('a file whose content is known need not be read, also under another name', async () => {
  const digests = new StatDigests()
  const path = put('made', 'one')
  const before = identity(path)
  linkSync(path, join(dir, 'placed'))
  // A content that the file does not have: it can only come from what was said.
  digests.prime(join(dir, 'placed'), content('said'), before)
  assert.ok(digests.known(join(dir, 'placed'))?.cid.equals(content('said')))
  writeFileSync(path, 'another')
  assert.ok((await digests.digest(join(dir, 'placed'))).cid.equals(content('another')))
})

test('what is said of another file is not believed', async () => {
  const digests = new StatDigests()
  const path = put('a', 'one')
  const before = identity(path)
  utimesSync(path, 1000, 1000)
  digests.prime(path, content('said'), before)
  rmSync(path)
  digests.prime(path, content('said'), before)
  put('a', 'other')
  digests.prime(path, content('said'), before)
  assert.equal(digests.known(path), undefined)
  assert.ok((await digests.digest(path)).cid.equals(content('other')))
})
