import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { removeDrafts, removeDurably, writeDurably } from '../../src/store/durable.ts'
import { namesIn, tempDir } from './support.ts'

test('writeDurably() makes the directory, replaces the file and leaves nothing beside it', async (t) => {
  const dir = join(await tempDir(t), 'state')
  const file = join(dir, 'key')
  await writeDurably(file, 'one')
  assert.equal(statSync(dir).mode & 0o777, 0o700)
  assert.equal(statSync(file).mode & 0o777, 0o600)
  const { ino } = statSync(file)
  await writeDurably(file, Buffer.from('two'), 0o644)
  assert.equal(readFileSync(file, 'utf8'), 'two')
  assert.notEqual(statSync(file).ino, ino, 'whoever has the old one open keeps it whole')
  assert.deepEqual(await namesIn(dir), ['key'])
})

test('writeDurably() of what cannot be replaced leaves nothing behind', async (t) => {
  const dir = await tempDir(t)
  mkdirSync(join(dir, 'key'))
  await assert.rejects(writeDurably(join(dir, 'key'), 'x'))
  assert.deepEqual(await namesIn(dir), ['key'])
})

test('writers of one file at once leave one of their contents', async (t) => {
  const dir = await tempDir(t)
  const texts = Array.from({ length: 20 }, (_, n) => `text ${n} `.repeat(1000))
  await Promise.all(texts.map((text) => writeDurably(join(dir, 'key'), text)))
  assert.ok(texts.includes(readFileSync(join(dir, 'key'), 'utf8')))
  assert.deepEqual(await namesIn(dir), ['key'])
})

test('removeDurably() and removeDrafts() remove what they say, and mind nothing that is absent', async (t) => {
  const dir = await tempDir(t)
  const draft = 'key.01234567-89ab-cdef-0123-456789abcdef'
  for (const name of ['key', draft, `${draft}.tmp`, 'mine.tmp']) writeFileSync(join(dir, name), '')
  await removeDrafts(dir)
  assert.deepEqual(await namesIn(dir), ['key', 'mine.tmp'])
  await removeDurably(join(dir, 'key'))
  await removeDurably(join(dir, 'key'))
  assert.deepEqual(await namesIn(dir), ['mine.tmp'])
  await removeDrafts(join(dir, 'absent'))
  for (const [name, seconds] of [
    [draft, 1000],
    [`${draft}.tmp`, 2000],
  ] as const) {
    writeFileSync(join(dir, name), '')
    utimesSync(join(dir, name), seconds, seconds)
  }
  await removeDrafts(dir, 1_500_000)
  assert.deepEqual(await namesIn(dir), [`${draft}.tmp`, 'mine.tmp'])
})
