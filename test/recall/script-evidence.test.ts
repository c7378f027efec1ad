import assert from 'node:assert/strict'
import { link, mkdtemp, realpath, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Read } from '../../src/plan/action.ts'
import { sortsDigest, takesAllVariables, timesDigest } from '../../src/recall/script-evidence.ts'
import { withTimes } from '../../src/recall/script-reads.ts'
import { cidOf } from '../../src/wire/cid.ts'

let dir: string
before(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'shoal-evidence-')))
  await writeFile(join(dir, 'x.h'), '')
})
after(() => rm(dir, { recursive: true }))

const roots = (): { roots: { name: 'package'; path: string }[] } => ({ roots: [{ name: 'package', path: dir }] })
const reads: Read[] = [['file', '\0package\0/x.h', cidOf(Buffer.from(''))]]

test('how many names a file has is compared, and where its time was given on, that', async () => {
  const sorts = (): string => sortsDigest(reads, roots()).toString()
  const one = sorts()
  await link(join(dir, 'x.h'), join(dir, 'y.h'))
  assert.notEqual(sorts(), one)
  await rm(join(dir, 'y.h'))
  assert.equal(sorts(), one)

  await utimes(join(dir, 'x.h'), 12, 12)
  const set = { reads, env: [] }
  const left = (mtime: number | null) => [{ mtime: null }, { mtime }]
  assert.equal(withTimes(set, left(null), roots()), set)
  assert.equal(withTimes(set, left(11_000_000), roots()), set)
  const timed = withTimes(set, left(12_000_000), roots())
  assert.deepEqual(timed.reads, [...reads, ['sorts', 'times', timesDigest(reads, roots())]])
  await utimes(join(dir, 'x.h'), 13, 13)
  assert.notDeepEqual(timed.reads.at(-1)?.[2], timesDigest(reads, roots()))
})

test('who takes all variables is known by what is compared of them', () => {
  const environ = (name: string): Read => ['environ', name, cidOf(Buffer.from(name))]
  assert.equal(takesAllVariables({ reads: [environ('session')] }), false)
  assert.equal(takesAllVariables({ reads: [...reads, environ('shells')] }), true)
})
