import assert from 'node:assert/strict'
import { mkdir, readdir, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import { Leftovers } from '../../src/daemon/leftovers.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'

test('what a node left that died is removed a day later, once, and nothing else', async (t) => {
  const dir = await temporaryDirectory(t)
  const named = (digit: number): string => `.shoal-${`${digit}`.repeat(16)}`
  const [old, other, young, link] = [named(0), named(1), named(2), named(3)]
  const leave = async (name: string): Promise<void> => {
    await mkdir(join(dir, name, '0'), { recursive: true })
    await writeFile(join(dir, name, '0/0.o'), 'object')
  }
  const yesterday = new Date(Date.now() - 86_401_000)
  for (const name of [old, young, '.shoal-run', 'incremental']) await leave(name)
  await symlink(dir, join(dir, link))
  await writeFile(join(dir, named(4)), '')
  for (const name of await readdir(dir)) if (name !== young) await utimes(join(dir, name), yesterday, yesterday)
  const kept = (await readdir(dir)).filter((name) => name !== old)
  const needs = { clock: { wall: () => Date.now() }, log: silentLogger }
  const leftovers = new Leftovers(needs)
  const own = join(dir, '.shoal-own')
  await mkdir(own)
  await leftovers.discard(own)
  assert.deepEqual((await readdir(dir)).sort(), kept.sort())

  await leave(other)
  await utimes(join(dir, other), yesterday, yesterday)
  await leftovers.discard(own)
  assert.ok((await readdir(dir)).includes(other))
  await new Leftovers(needs).discard(own)
  assert.ok(!(await readdir(dir)).includes(other))
})
