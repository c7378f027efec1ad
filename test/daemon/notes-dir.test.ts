import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readdir, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { makeNotesDir } from '../../src/daemon/notes-dir.ts'

const tmpfs = 0x01021994
const shared = '/dev/shm'
const isHere = process.platform === 'linux' && (await statfs(shared).catch(() => undefined))?.type === tmpfs
const skip = isHere ? false : 'needs /dev/shm'
let onDisk: string
let inMemory: string
const made: string[] = []

before(async () => {
  onDisk = await mkdtemp(join(tmpdir(), 'shoal-notes-'))
  inMemory = isHere ? await mkdtemp(join(shared, 'shoal-notes-')) : onDisk
})

after(async () => {
  for (const dir of [onDisk, inMemory, ...made]) await rm(dir, { recursive: true, force: true })
})

async function makeIn(run: string, cache: string, everybodys?: string): Promise<string> {
  const dir = await makeNotesDir({ run, cache: join(onDisk, cache) }, everybodys)
  made.push(dir)
  assert.equal((await stat(dir)).mode & 0o777, 0o700)
  assert.deepEqual(await readdir(dir), [])
  return dir
}

test('the notes of runs lie in memory, beside the socket if that does', { skip }, async () => {
  assert.equal(dirname(await makeIn(inMemory, 'one')), inMemory)
  const isDisk = (await statfs(onDisk)).type !== tmpfs
  if (isDisk) assert.equal(dirname(await makeIn(onDisk, 'one')), shared)
})

test('another node has another directory, and what one has left there is gone', { skip }, async () => {
  const missing = join(onDisk, 'none')
  const first = await makeIn(missing, 'first')
  assert.notEqual(await makeIn(missing, 'second'), first)
  await mkdir(join(first, 'run'))
  assert.equal(await makeIn(missing, 'first'), first)
})

test('where nothing lies in memory, or others could put something there, they lie in the cache', { skip }, async () => {
  const missing = join(onDisk, 'none')
  const own = join(onDisk, 'third', 'runs')
  assert.equal(await makeIn(missing, 'third', missing), own)
  await writeFile(join(own, 'left'), '')
  const open = join(inMemory, 'open')
  await mkdir(open)
  await chmod(open, 0o777)
  assert.equal(await makeIn(missing, 'third', open), own)
  await chmod(open, 0o1777)
  assert.equal(dirname(await makeIn(missing, 'third', open)), open)
})
