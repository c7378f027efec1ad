import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { rmSync, statSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { codeOf } from '../../src/base/errors.ts'
import { place } from '../../src/store/checkout.ts'
import { afterwards, assertSame, ManualClock, namesIn, openStore, recordingLog, tempDir, withCode } from './support.ts'

/** A file system of its own of `mebibytes`, unmounted after the test; undefined where mounting is not allowed. */
async function smallDisk(t: TestContext, mebibytes: number): Promise<string | undefined> {
  const dir = join(await tempDir(t), 'disk')
  await mkdir(dir)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', dir], { stdio: 'ignore' })
  } catch {
    t.skip('needs the right to mount')
    return undefined
  }
  afterwards(t, () => execFileSync('umount', [dir]))
  return dir
}

/** Fills what is left of a file system. */
function fill(file: string): void {
  for (let size = 1 << 20; size >= 4096; size >>= 1) {
    try {
      for (;;) writeFileSync(file, Buffer.alloc(size), { flag: 'a' })
    } catch (error) {
      if (codeOf(error) !== 'ENOSPC') throw error
    }
  }
}

test('a full disk refuses puts for a while, serves reads, and is tried again', async (t) => {
  const disk = await smallDisk(t, 8)
  if (disk === undefined) return
  const dir = join(disk, 'store')
  const clock = new ManualClock()
  const store = await openStore(t, { dir, clock, maxBytes: 1 << 30 })
  const kept = randomBytes(500_000)
  const cid = await store.put(kept)
  fill(join(disk, 'ballast'))

  await assert.rejects(store.put(randomBytes(2_000_000)), withCode('ERR_DISK_FULL'))
  assert.equal(store.stats().refusing, true)
  assert.deepEqual(await namesIn(join(dir, 'tmp')), [], 'nothing is left of a write that failed')
  await assert.rejects(store.put(Buffer.from('small')), withCode('ERR_DISK_FULL'))
  const source = join(await tempDir(t), 'source')
  writeFileSync(source, randomBytes(2_000_000))
  await assert.rejects(store.putFile(source, { maxBytes: 1 << 30 }), withCode('ERR_DISK_FULL'))
  assertSame(await store.get(cid), kept)
  assert.ok(await store.path(cid))
  assert.ok((await store.put(kept)).equals(cid), 'what is there needs no room')

  rmSync(join(disk, 'ballast'))
  clock.ms += 29_999
  await assert.rejects(store.put(Buffer.from('too soon')), withCode('ERR_DISK_FULL'))
  clock.ms += 1
  const later = await store.put(randomBytes(2_000_000))
  assert.equal((await store.get(later))?.length, 2_000_000)
  assert.equal(store.stats().refusing, false)
  assert.deepEqual(await store.verify(), { checked: 2, bad: 0, replaced: 0 })
})

test('putFile() of a large file onto a full disk leaves nothing behind', async (t) => {
  const disk = await smallDisk(t, 8)
  if (disk === undefined) return
  const store = await openStore(t, { dir: join(disk, 'store'), clock: new ManualClock() })
  await store.put(Buffer.from('free space has been looked at'))
  fill(join(disk, 'ballast'))
  const source = join(await tempDir(t), 'source')
  writeFileSync(source, randomBytes(3_000_000))
  await assert.rejects(store.putFile(source, { maxBytes: 1 << 30 }), withCode('ERR_DISK_FULL'))
  assert.deepEqual(await namesIn(join(disk, 'store', 'tmp')), [])
  assert.equal(store.stats().blocks, 1)
})

test('a store makes room for itself before its file system is full', async (t) => {
  const disk = await smallDisk(t, 16)
  if (disk === undefined) return
  const clock = new ManualClock()
  const minFreeBytes = 4 << 20
  const store = await openStore(t, { dir: join(disk, 'store'), clock, minFreeBytes })
  for (let n = 0; n < 60; n++) await store.put(randomBytes(1_000_000))
  assert.ok(store.stats().evicted > 0)
  assert.ok(store.stats().bytes <= 12 << 20, `${store.stats().bytes}`)
  assert.equal(store.stats().refusing, false)
})

test('place() into a full target directory fails as ERR_DISK_FULL and leaves nothing there', async (t) => {
  const disk = await smallDisk(t, 2)
  if (disk === undefined) return
  const store = await openStore(t)
  const cid = await store.put(randomBytes(4 << 20))
  await assert.rejects(
    place([{ name: 'libfoo.rlib', cid }], { outDir: disk, blocks: store }),
    withCode('ERR_DISK_FULL'),
  )
  assert.deepEqual(await namesIn(disk), [])
})

test('a store on a read-only file system refuses puts and serves reads', async (t) => {
  const disk = await smallDisk(t, 8)
  if (disk === undefined) return
  const store = await openStore(t, { dir: join(disk, 'store'), clock: new ManualClock() })
  const cid = await store.put(Buffer.from('kept'))
  execFileSync('mount', ['-o', 'remount,ro', disk])
  try {
    await assert.rejects(store.put(Buffer.from('new')), withCode('ERR_STORE'))
    assert.equal(store.stats().refusing, true)
    assert.equal(Buffer.from((await store.get(cid)) ?? []).toString(), 'kept')
  } finally {
    execFileSync('mount', ['-o', 'remount,rw', disk])
  }
})

test('the reserve is given back when the disk is full, what was used longest ago goes, and the write is done once more', async (t) => {
  const disk = await smallDisk(t, 24)
  if (disk === undefined) return
  const dir = join(disk, 'store')
  const { log, lines } = recordingLog()
  const store = await openStore(t, { dir, log, reserveBytes: 1 << 20, clock: new ManualClock() })
  assert.equal(statSync(join(dir, 'reserve')).size, 1 << 20)
  assert.ok(statSync(join(dir, 'reserve')).blocks * 512 >= 1 << 20, 'set aside in full')
  const old = await store.put(randomBytes(9 << 20))
  const young = await store.put(randomBytes(2 << 20))
  fill(join(disk, 'ballast'))

  const bytes = randomBytes(3 << 20)
  const cid = await store.put(bytes)
  assertSame(await store.get(cid), bytes)
  assert.deepEqual(await namesIn(dir), ['blocks', 'lock', 'pins', 'quarantine', 'tmp'], 'no reserve any more')
  assert.deepEqual([await store.has(old), await store.has(young)], [false, true])
  assert.equal(store.stats().refusing, false)

  fill(join(disk, 'ballast'))
  const source = join(await tempDir(t), 'source')
  writeFileSync(source, bytes)
  const release = [store.hold(cid), store.hold(young)]
  await assert.rejects(store.put(randomBytes(3 << 20)), withCode('ERR_DISK_FULL'))
  assert.equal(store.stats().refusing, true, 'nothing can be made of what is in use')
  assert.deepEqual(
    lines.flatMap(({ message, fields }) => (fields.code === undefined ? [] : [[message, fields.code]])),
    [['nothing new is kept for now', 'ERR_DISK_FULL']],
  )
  for (const each of release) each()
})

test('a large file that has to be copied a second time is seen once by whoever watches', async (t) => {
  const disk = await smallDisk(t, 16)
  if (disk === undefined) return
  const store = await openStore(t, { dir: join(disk, 'store'), clock: new ManualClock() })
  await store.put(randomBytes(9 << 20))
  fill(join(disk, 'ballast'))
  const bytes = randomBytes((4 << 20) + 7)
  const source = join(await tempDir(t), 'source')
  writeFileSync(source, bytes)
  const seen: Uint8Array[] = []
  const { cid } = await store.putFile(source, {
    maxBytes: 1 << 30,
    watch: (chunk) => void seen.push(Buffer.from(chunk)),
  })
  assert.equal(store.stats().evicted, 1)
  assertSame(Buffer.concat(seen), bytes)
  assertSame(await store.get(cid), bytes)
})

test('the reserve is taken again when there is room, and not where there is little', async (t) => {
  const disk = await smallDisk(t, 24)
  if (disk === undefined) return
  const dir = join(disk, 'store')
  const clock = new ManualClock()
  const store = await openStore(t, { dir, clock, reserveBytes: 1 << 20 })
  await store.put(randomBytes(10 << 20))
  fill(join(disk, 'ballast'))
  await store.put(randomBytes(1 << 20))
  assert.ok(!(await namesIn(dir)).includes('reserve'))
  clock.ms += 60_000
  await store.put(randomBytes(100))
  assert.ok(!(await namesIn(dir)).includes('reserve'), 'still full')
  rmSync(join(disk, 'ballast'))
  clock.ms += 60_000
  await store.put(randomBytes(100))
  assert.ok((await namesIn(dir)).includes('reserve'))
})
