import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { lstatSync, mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { CID } from 'multiformats/cid'
import { cidOf } from '../../src/wire/cid.ts'
import { assertSame, flipBit, namesIn, openStore, recordingLog, tamper, tempDir } from './support.ts'

const sizes = { small: 5000, large: 3 << 20 }

/** Ways in which the file of a block can go wrong. */
const damages: Record<string, (path: string) => void> = {
  'a flipped bit, mtime put back': (path) => tamper(path, flipBit),
  'cut short': (path) => truncateSync(path, lstatSync(path).size >> 1),
  'cut to nothing': (path) => truncateSync(path, 0),
  'a longer file': (path) => tamper(path, (bytes) => Buffer.concat([bytes, Buffer.from('x')])),
  'filled with zeros': (path) => tamper(path, (bytes) => Buffer.alloc(bytes.length)),
  'replaced by another file': (path) => {
    rmSync(path)
    writeFileSync(path, 'other')
  },
  'replaced by a symbolic link to the right bytes': (path) => {
    renameSync(path, `${path}.moved`)
    symlinkSync(`${path}.moved`, path)
  },
  'replaced by a dangling link': (path) => {
    rmSync(path)
    symlinkSync('/nonexistent', path)
  },
  'replaced by a directory': (path) => {
    rmSync(path)
    mkdirSync(path)
  },
  'replaced by a pipe': (path) => {
    rmSync(path)
    execFileSync('mkfifo', [path])
  },
}

for (const [how, damage] of Object.entries(damages)) {
  for (const [kind, size] of Object.entries(sizes)) {
    for (const read of ['get', 'path', 'verify'] as const) {
      test(`${read}() takes a ${kind} block out that is ${how}`, async (t) => {
        const dir = await tempDir(t)
        const { log, lines } = recordingLog()
        const bad: CID[] = []
        const store = await openStore(t, { dir, log, onBad: (cid) => void bad.push(cid) })
        const bytes = randomBytes(size)
        const cid = await store.put(bytes)
        const path = (await store.path(cid)) ?? ''
        // A whole second, so that it can be put back exactly; then the store looks at the file as it is now.
        const seconds = Math.floor(Date.now() / 1000) - 10
        utimesSync(path, seconds, seconds)
        assert.equal(await store.path(cid), path)
        damage(path)

        if (read === 'verify') assert.deepEqual(await store.verify(), { checked: 1, bad: 1, replaced: 0 })
        else assert.equal(await store[read](cid), undefined)

        assert.equal(await store.has(cid), false)
        assert.equal(lstatSync(path, { throwIfNoEntry: false }), undefined)
        assert.equal((await namesIn(join(dir, 'quarantine'))).length, 1)
        assert.deepEqual(store.stats().bad, 1)
        assert.deepEqual(store.stats().blocks, 0)
        assert.equal(bad.length, 1)
        assert.ok(bad[0]?.multihash.bytes.every((byte, at) => byte === cid.multihash.bytes[at]))
        assert.ok(lines.some(({ fields }) => fields.code === 'ERR_BLOCK_MISMATCH'))

        await store.put(bytes)
        assertSame(await store.get(cid), bytes, 'a fresh copy takes its place')
      })
    }
  }
}

for (const [how, damage] of Object.entries(damages)) {
  test(`getUntouched() gives nothing of a block that is ${how}`, async (t) => {
    const store = await openStore(t, { dir: await tempDir(t) })
    const bytes = randomBytes(sizes.small)
    const cid = await store.put(bytes)
    const into = Buffer.alloc(sizes.large)
    assertSame(store.getUntouched(cid, into), bytes)
    damage((await store.path(cid)) ?? '')
    assert.equal(store.getUntouched(cid, into), undefined)
    assert.equal(await store.get(cid), undefined)
  })
}

test('getUntouched() leaves to others what is large, unknown, or longer than the memory it is given', async (t) => {
  const dir = await tempDir(t)
  const store = await openStore(t, { dir })
  const into = Buffer.alloc(sizes.large)
  const large = await store.put(randomBytes(sizes.large))
  assert.equal(store.getUntouched(large, into), undefined)
  assert.equal(store.getUntouched(cidOf(Buffer.from('elsewhere')), into), undefined)
  const small = await store.put(randomBytes(sizes.small))
  assert.equal(store.getUntouched(small, into.subarray(0, sizes.small - 1)), undefined)
  await store.stop()
  // After a restart it has to be compared once.
  const again = await openStore(t, { dir })
  await again.indexed()
  assert.equal(again.getUntouched(small, into), undefined)
  assert.notEqual(await again.get(small), undefined)
  assert.notEqual(again.getUntouched(small, into), undefined)
})

test('two blocks whose files were swapped are both taken out', async (t) => {
  const store = await openStore(t)
  const [one, two] = [await store.put(randomBytes(300)), await store.put(randomBytes(300))]
  const [a, b] = [(await store.path(one)) ?? '', (await store.path(two)) ?? '']
  renameSync(a, `${a}.x`)
  renameSync(b, a)
  renameSync(`${a}.x`, b)
  assert.equal(await store.path(one), undefined)
  assert.equal(await store.get(two), undefined)
  assert.equal(store.stats().bad, 2)
})

test('put() replaces a file that went bad unnoticed', async (t) => {
  const dir = await tempDir(t)
  const bytes = randomBytes(1000)
  const first = await openStore(t, { dir })
  tamper((await first.path(await first.put(bytes))) ?? '', flipBit)
  await first.put(bytes)
  assertSame(await first.get(cidOf(bytes)), bytes)
  tamper((await first.path(cidOf(bytes))) ?? '', flipBit)
  await first.stop()
  const second = await openStore(t, { dir })
  await second.put(bytes)
  assertSame(await second.get(cidOf(bytes)), bytes)
})

test('many readers of a corrupt block at once report it once', async (t) => {
  const store = await openStore(t)
  const cid = await store.put(randomBytes(2 << 20))
  tamper((await store.path(cid)) ?? '', flipBit)
  const reads = await Promise.all(Array.from({ length: 20 }, (_, n) => (n % 2 ? store.get(cid) : store.path(cid))))
  assert.ok(reads.every((read) => read === undefined))
  assert.equal(store.stats().bad, 1)
})

test('the quarantine keeps only the newest few', async (t) => {
  const dir = await tempDir(t)
  const store = await openStore(t, { dir })
  for (let n = 0; n < 30; n++) {
    const cid = await store.put(Buffer.from(`block ${n}`))
    tamper((await store.path(cid)) ?? '', flipBit)
    assert.equal(await store.get(cid), undefined)
  }
  assert.equal((await namesIn(join(dir, 'quarantine'))).length, 16)
  assert.equal(store.stats().bad, 30)
})
