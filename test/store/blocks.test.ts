import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { FsBlockstore } from 'blockstore-fs'
import fc from 'fast-check'
import { silentLogger } from '../../src/base/log.ts'
import { type BlockStore, createBlockStore } from '../../src/store/blocks.ts'
import { cidOf, dagCborCodec, hexOf, rawCodec } from '../../src/wire/cid.ts'
import { assertSame, namesIn, openStore, tamper, tempDir, withCode } from './support.ts'

test('put() names bytes by their content and get() returns them', async (t) => {
  const store = await openStore(t)
  for (const size of [0, 1, 1000, 128 << 10, (128 << 10) + 1, 5 << 20]) {
    const bytes = randomBytes(size)
    const cid = await store.put(bytes)
    assert.ok(cid.equals(cidOf(bytes)))
    assertSame(await store.get(cid), bytes, `${size} bytes`)
    assert.equal(await store.has(cid), true)
  }
})

test('get(), has() and path() know nothing of a block that was never put', async (t) => {
  const store = await openStore(t)
  const cid = cidOf(Buffer.from('absent'))
  assert.equal(await store.get(cid), undefined)
  assert.equal(await store.has(cid), false)
  assert.equal(await store.path(cid), undefined)
})

test('the codec is part of the CID that put() returns and not of what is kept', async (t) => {
  const store = await openStore(t)
  const bytes = Buffer.from('bytes')
  const cbor = await store.put(bytes, dagCborCodec)
  assert.equal(cbor.code, dagCborCodec)
  assert.equal(await store.has(cidOf(bytes, rawCodec)), true)
  assert.equal(store.stats().blocks, 1)
})

test('path() is a read-only file of the store with the bytes of the block', async (t) => {
  const store = await openStore(t)
  const bytes = randomBytes(3 << 20)
  const path = await store.path(await store.put(bytes))
  assert.ok(path)
  assertSame(readFileSync(path), bytes)
  assert.equal(lstatSync(path).mode & 0o777, 0o444)
})

test('many puts of one block at once write it once', async (t) => {
  const dir = await tempDir(t)
  const store = await openStore(t, { dir })
  const bytes = randomBytes(2 << 20)
  const file = join(dir, 'source')
  writeFileSync(file, bytes)
  const puts = Array.from({ length: 20 }, () => store.put(bytes))
  const copies = Array.from({ length: 5 }, async () => (await store.putFile(file, { maxBytes: 4 << 20 })).cid)
  const cids = await Promise.all([...puts, ...copies])
  assert.equal(new Set(cids.map(hexOf)).size, 1)
  const path = (await store.path(cidOf(bytes))) ?? ''
  const { ino } = lstatSync(path)
  await store.put(bytes)
  assert.equal(lstatSync(path).ino, ino, 'what is there is not written again')
  assert.deepEqual(store.stats().blocks, 1)
  assert.equal(store.stats().bytes, bytes.length)
  assert.deepEqual(await namesIn(join(dir, 'tmp')), [])
})

test('putFile() copies small and large files', async (t) => {
  const dir = await tempDir(t)
  const store = await openStore(t, { dir })
  for (const size of [0, 17, 1 << 20, (1 << 20) + 1, (3 << 20) + 5]) {
    const bytes = randomBytes(size)
    const file = join(dir, 'source')
    writeFileSync(file, bytes)
    const put = await store.putFile(file, { maxBytes: 8 << 20 })
    assert.equal(put.size, size)
    assert.ok(put.cid.equals(cidOf(bytes)))
    assertSame(await store.get(put.cid), bytes)
    const path = (await store.path(put.cid)) ?? ''
    assert.notEqual(lstatSync(path).ino, lstatSync(file).ino, 'a copy, not a link')
  }
  assert.deepEqual(await namesIn(join(dir, 'tmp')), [])
})

test('putFile() refuses links, directories, what is absent and what is too long', async (t) => {
  const dir = await tempDir(t)
  const store = await openStore(t, { dir: join(dir, 'store') })
  writeFileSync(join(dir, 'file'), randomBytes(100))
  symlinkSync(join(dir, 'file'), join(dir, 'link'))
  mkdirSync(join(dir, 'directory'))
  for (const name of ['link', 'directory', 'absent']) {
    await assert.rejects(store.putFile(join(dir, name), { maxBytes: 1000 }), withCode('ERR_OUTPUT'), name)
  }
  await assert.rejects(store.putFile(join(dir, 'file'), { maxBytes: 99 }), withCode('ERR_BLOCK_TOO_LARGE'))
  assert.equal(store.stats().blocks, 0)
  assert.deepEqual(await namesIn(join(dir, 'store', 'tmp')), [])
})

test('putFile() refuses a file that changes while it is copied, even to the same length', async (t) => {
  const dir = await tempDir(t)
  const store = await openStore(t, { dir: join(dir, 'store') })
  const file = join(dir, 'source')
  const changes: ((fd: number) => void)[] = [
    (fd) => void writeSync(fd, 'x', 5),
    (fd) => void writeSync(fd, 'x', 64 << 20),
    (fd) => ftruncateSync(fd, 1000),
  ]
  for (const change of changes) {
    writeFileSync(file, Buffer.alloc(64 << 20))
    utimesSync(file, 1_000_000, 1_000_000)
    const put = store.putFile(file, { maxBytes: 1 << 30 })
    while (readdirSync(join(dir, 'store', 'tmp')).length === 0) await nextTurn()
    const fd = openSync(file, 'r+')
    change(fd)
    closeSync(fd)
    await assert.rejects(put, withCode('ERR_OUTPUT'))
  }
  assert.equal(store.stats().blocks, 0)
  assert.deepEqual(await namesIn(join(dir, 'store', 'tmp')), [])
})

test('put() refuses what is larger than the store may become', async (t) => {
  const store = await openStore(t, { maxBytes: 1000 })
  await assert.rejects(store.put(randomBytes(1001)), withCode('ERR_BLOCK_TOO_LARGE'))
  await store.put(randomBytes(1000))
})

test('a store that was not started or is stopped refuses puts', async (t) => {
  const store = createBlockStore({ dir: await tempDir(t), log: silentLogger, maxBytes: 1000 })
  await assert.rejects(store.put(Buffer.from('early')), withCode('ERR_STORE'))
  await store.start()
  await store.stop()
  await assert.rejects(store.put(Buffer.from('late')), withCode('ERR_STORE'))
})

test('what was put before a restart is there after it', async (t) => {
  const dir = await tempDir(t)
  const first = await openStore(t, { dir })
  const blocks = Array.from({ length: 50 }, (_, size) => randomBytes(size + 1))
  for (const bytes of blocks) await first.put(bytes)
  const before = first.stats()
  await first.stop()
  const second = await openStore(t, { dir })
  assert.deepEqual({ ...second.stats() }, before)
  for (const bytes of blocks) {
    assert.equal(await second.has(cidOf(bytes)), true)
    assertSame(readFileSync((await second.path(cidOf(bytes))) ?? ''), bytes)
  }
  assert.deepEqual(second.keys().toSorted(), blocks.map((bytes) => hexOf(cidOf(bytes))).toSorted())
})

test('start() removes unfinished files and leaves strange ones alone', async (t) => {
  const dir = await tempDir(t)
  const first = await openStore(t, { dir })
  const path = (await first.path(await first.put(Buffer.from('kept')))) ?? ''
  await first.stop()
  writeFileSync(join(dir, 'tmp', 'unfinished'), 'half')
  const shard = join(path, '..')
  writeFileSync(join(shard, '.BCIQ.data.tmp'), 'half')
  writeFileSync(join(shard, 'notes.txt'), 'mine')
  writeFileSync(join(shard, 'BCIQ.data'), 'no block name')
  const second = await openStore(t, { dir })
  assert.deepEqual(await namesIn(join(dir, 'tmp')), [])
  assert.deepEqual((await namesIn(shard)).length, 3)
  assert.equal(second.stats().blocks, 1)
})

test('a store whose directory is removed under it misses and takes new blocks', async (t) => {
  const dir = await tempDir(t)
  const store = await openStore(t, { dir })
  const bytes = Buffer.from('there and gone')
  const cid = await store.put(bytes)
  rmSync(dir, { recursive: true })
  assert.equal(await store.get(cid), undefined)
  await store.put(bytes)
  assertSame(await store.get(cid), bytes)
})

test('remove() takes a block out, shrink() as many as it takes', async (t) => {
  const store = await openStore(t)
  const cids = await Promise.all(Array.from({ length: 10 }, () => store.put(randomBytes(100))))
  const [first] = cids
  assert.ok(first)
  await store.remove(first)
  assert.equal(await store.has(first), false)
  assert.equal(await store.get(first), undefined)
  await store.shrink(450)
  assert.equal(store.stats().bytes, 400)
  await store.shrink(0)
  assert.equal(store.stats().blocks, 0)
})

test('a block that is removed while it is read does not come back', async (t) => {
  const store = await openStore(t)
  const bytes = randomBytes(8 << 20)
  const cid = await store.put(bytes)
  const reading = store.get(cid)
  await store.remove(cid)
  const read = await reading
  if (read !== undefined) assertSame(read, bytes)
  assert.equal(store.stats().blocks, 0)
})

test('the files are laid out as blockstore-fs lays them out', async (t) => {
  const dir = await tempDir(t)
  const ours = await openStore(t, { dir })
  const theirs = new FsBlockstore(join(dir, 'blocks'))
  const one = randomBytes(70_000)
  const cid = await ours.put(one)
  const chunks: Uint8Array[] = []
  for await (const chunk of theirs.get(cid)) chunks.push(chunk)
  assertSame(Buffer.concat(chunks), one)
  const two = randomBytes(70_000)
  await theirs.put(cidOf(two), two)
  assertSame(await ours.get(cidOf(two)), two)
})

test('lend() serves a file from where it is, as long as it matches', async (t) => {
  const dir = await tempDir(t)
  const store = await openStore(t, { dir: join(dir, 'store') })
  const file = join(dir, 'lib.rs')
  const bytes = Buffer.from('fn main() {}')
  writeFileSync(file, bytes)
  const cid = cidOf(bytes)
  store.lend(cid, file)
  assert.equal(await store.has(cid), true)
  assertSame(await store.get(cid), bytes)
  assert.equal(await store.path(cid), undefined, 'somebody else can change it at any time')
  assert.deepEqual(store.stats().blocks, 0)
  tamper(file, () => Buffer.from('fn mein() {}'))
  assert.equal(await store.get(cid), undefined)
  assert.equal(await store.has(cid), false)
  assert.equal(store.stats().lent, 0)
  assert.equal(store.stats().bad, 0, 'an edited source is no corruption')
  store.lend(cid, join(dir, 'absent'))
  assert.equal(await store.get(cid), undefined)
  store.lend(cid, dir)
  assert.equal(await store.get(cid), undefined)
})

test('lend() forgets the oldest when there are too many', async (t) => {
  const dir = await tempDir(t)
  const store = await openStore(t, { dir })
  for (let n = 0; n < 65_537; n++) store.lend(cidOf(Buffer.from(String(n))), join(dir, 'absent'))
  assert.equal(store.stats().lent, 65_536)
  assert.equal(await store.has(cidOf(Buffer.from('0'))), false)
  assert.equal(await store.has(cidOf(Buffer.from('1'))), true)
})

type Step = { do: 'put' | 'get' | 'has' | 'path' | 'remove' | 'spoil' | 'verify' | 'restart'; block: number }

test('any sequence of calls behaves as a map that loses what is spoilt', async (t) => {
  const pool = [Buffer.alloc(0), Buffer.from('a'), randomBytes(500), randomBytes(200_000), randomBytes(1_500_000)]
  const step: fc.Arbitrary<Step> = fc.record({
    do: fc.constantFrom('put', 'put', 'get', 'has', 'path', 'remove', 'spoil', 'verify', 'restart'),
    block: fc.nat(pool.length - 1),
  })
  const root = await tempDir(t)
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const dir = await mkdtemp(join(root, 'model-'))
      const open = async (): Promise<BlockStore> => {
        const store = createBlockStore({ dir, log: silentLogger, maxBytes: 1 << 30, minFreeBytes: 0, reserveBytes: 0 })
        await store.start()
        await store.indexed()
        return store
      }
      let store = await open()
      const good = new Set<number>()
      const spoilt = new Set<number>()
      try {
        for (const { do: call, block } of steps) {
          const bytes = pool[block] ?? Buffer.alloc(0)
          const cid = cidOf(bytes)
          if (call === 'put') {
            await store.put(bytes)
            good.add(block)
            spoilt.delete(block)
          } else if (call === 'get') {
            const got = await store.get(cid)
            assertSame(got, good.has(block) ? bytes : undefined)
            spoilt.delete(block)
          } else if (call === 'has') {
            assert.equal(await store.has(cid), good.has(block) || spoilt.has(block))
          } else if (call === 'path') {
            const path = await store.path(cid)
            assertSame(path && readFileSync(path), good.has(block) ? bytes : undefined)
            spoilt.delete(block)
          } else if (call === 'remove') {
            await store.remove(cid)
            good.delete(block)
            spoilt.delete(block)
          } else if (call === 'spoil' && good.has(block)) {
            const path = (await store.path(cid)) ?? ''
            tamper(path, (now) => Buffer.concat([now.subarray(1), Buffer.from([7, 7])]))
            good.delete(block)
            spoilt.add(block)
          } else if (call === 'verify') {
            assert.deepEqual(await store.verify(), { checked: good.size + spoilt.size, bad: spoilt.size, replaced: 0 })
            spoilt.clear()
          } else if (call === 'restart') {
            await store.stop()
            store = await open()
          }
        }
        assert.deepEqual(await namesIn(join(dir, 'tmp')), [])
        await store.verify()
        let total = 0
        for (const block of good) total += pool[block]?.length ?? 0
        assert.equal(store.stats().bytes, total)
        assert.equal(store.stats().blocks, good.size)
      } finally {
        await store.stop()
        await rm(dir, { recursive: true, force: true })
      }
    }),
    { numRuns: 60 },
  )
})

test('path() verifies again what was touched, even by nothing but chmod', async (t) => {
  const store = await openStore(t)
  const cid = await store.put(Buffer.from('content'))
  const path = (await store.path(cid)) ?? ''
  chmodSync(path, 0o600)
  assert.equal(await store.path(cid), path)
})
