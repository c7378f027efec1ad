import assert from 'node:assert/strict'
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { linksOnTheWay } from '../../src/plan/links.ts'

let dir: string
before(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'shoal-links-')))
  await mkdir(join(dir, 'a/b'), { recursive: true })
  await writeFile(join(dir, 'a/b/file'), '')
  await symlink('a', join(dir, 'relative'))
  await symlink(join(dir, 'relative/b'), join(dir, 'absolute'))
  await symlink('../relative/b/file', join(dir, 'a/up'))
  await symlink('round', join(dir, 'round'))
})
after(() => rm(dir, { recursive: true, force: true }))

const links = (...paths: string[]): string[] =>
  linksOnTheWay(paths.map((path) => `${dir}/${path}`))
    .map((path) => path.slice(dir.length + 1))
    .toSorted()

test('the links on the way of a path, through what they lead to', () => {
  assert.deepEqual(links('a/b/file'), [])
  assert.deepEqual(links('relative/b/file'), ['relative'])
  assert.deepEqual(links('absolute/file'), ['absolute', 'relative'])
  assert.deepEqual(links('a/b/../up'), ['a/../relative', 'a/b/../up'])
  assert.deepEqual(links('absolute/file', 'relative/b', 'none/file'), ['absolute', 'relative'])
})

test('what leads to itself ends', () => {
  assert.deepEqual(links('round/file'), ['round'])
})
