import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { CID } from 'multiformats/cid'
import { ShoalError } from '../../src/base/errors.ts'
import type { BlockStore } from '../../src/store/blocks.ts'
import { place } from '../../src/store/checkout.ts'
import { cidOf, hexOf } from '../../src/wire/cid.ts'
import { assertSame, flipBit, namesIn, openStore, tamper, tempDir, withCode } from './support.ts'

/** A store beside a member that has all of `blocks`. */
async function withSource(
  t: TestContext,
  blocks: readonly Uint8Array[],
): Promise<{ store: BlockStore; dir: string; fetched: CID[] }> {
  const dir = await tempDir(t)
  const fetched: CID[] = []
  const store: BlockStore = await openStore(t, {
    dir,
    refetch: async (cid) => {
      fetched.push(cid)
      const bytes = blocks.find((each) => cidOf(each).equals(cid))
      if (bytes === undefined) throw new ShoalError('ERR_BLOCK_MISSING', 'nobody has it')
      await store.put(bytes)
    },
  })
  return { store, dir, fetched }
}

const size = 700

/** Ways to spoil the file of a block at one of its bytes; `other` is the file of another block. */
const damages: Record<string, (path: string, at: number, other: string) => void> = {
  flipped: (path, at) =>
    tamper(path, (bytes) => {
      bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << (at % 8)), at)
      return bytes
    }),
  truncated: (path, at) => truncateSync(path, at),
  'replaced by a symbolic link': (path) => {
    renameSync(path, `${path}.moved`)
    symlinkSync(`${path}.moved`, path)
  },
  'swapped with another': (path, _, other) => {
    renameSync(path, `${path}.swap`)
    renameSync(other, path)
    renameSync(`${path}.swap`, other)
  },
}

for (const [how, damage] of Object.entries(damages)) {
  test(`a block that is ${how}, at each of its bytes: never served, never placed, and replaced`, async (t) => {
    const blocks = [randomBytes(size), randomBytes(size)]
    const [bytes = Buffer.alloc(0), otherBytes = Buffer.alloc(0)] = blocks
    const { store, dir, fetched } = await withSource(t, blocks)
    const [cid, other] = [await store.put(bytes), await store.put(otherBytes)]
    const outDir = join(dir, 'target')
    await mkdir(outDir)
    for (let at = 0; at < size; at++) {
      const path = (await store.path(cid)) ?? ''
      damage(path, at, (await store.path(other)) ?? '')
      const use = at % 4
      if (use === 0) assert.equal(await store.get(cid), undefined, `${at}`)
      else if (use === 1) assert.equal(await store.path(cid), undefined, `${at}`)
      else if (use === 2) {
        const placing = place([{ name: 'out', cid }], { outDir, blocks: store })
        await assert.rejects(placing, withCode('ERR_BLOCK_MISSING'))
      } else assert.ok((await store.verify()).bad > 0)
      if (how.startsWith('swapped')) assert.equal(store.stats().bad > 0, true)
      const { bad } = await store.verify()
      assert.equal(bad, use === 3 || how !== 'swapped with another' ? 0 : 1, `${at}: the other one`)
      assertSame(await store.get(cid), bytes, `${at}: replaced`)
      assertSame(await store.get(other), otherBytes, `${at}: the other one`)
    }
    assert.deepEqual(await namesIn(outDir), [])
    assert.ok(fetched.length >= size)
    assert.equal(store.stats().quarantined, 0)
    assert.deepEqual(await namesIn(join(dir, 'quarantine')), [])
  })
}

test('bad bytes are kept until good ones are in place', async (t) => {
  const bytes = randomBytes(1000)
  const dir = await tempDir(t)
  const lost: string[] = []
  const fetching = Promise.withResolvers<void>()
  const answered = Promise.withResolvers<void>()
  const store: BlockStore = await openStore(t, {
    dir,
    onEvicted: (hexes) => void lost.push(...hexes),
    refetch: async () => {
      fetching.resolve()
      await answered.promise
      // A liar's bytes are another block.
      await store.put(randomBytes(1000))
      throw new ShoalError('ERR_BLOCK_MISMATCH', 'other bytes')
    },
  })
  const cid = await store.put(bytes)
  tamper((await store.path(cid)) ?? '', flipBit)
  assert.equal(await store.get(cid), undefined)
  await fetching.promise
  assert.equal((await namesIn(join(dir, 'quarantine'))).length, 1)
  assert.deepEqual(lost, [], 'not yet')
  answered.resolve()
  await store.verify()
  assert.deepEqual(await store.verify(), { checked: 1, bad: 0, replaced: 0 }, "the liar's")
  assert.deepEqual(lost, [hexOf(cid)])
  assert.equal(await store.get(cid), undefined)
  assert.equal((await namesIn(join(dir, 'quarantine'))).length, 1)
  await store.put(bytes)
  assert.deepEqual(await namesIn(join(dir, 'quarantine')), [])
})

test('verify() says how many bad blocks there were and how many are there again', async (t) => {
  const blocks = Array.from({ length: 10 }, () => randomBytes(100))
  const { store } = await withSource(t, blocks.slice(0, 3))
  for (const bytes of blocks) {
    const path = (await store.path(await store.put(bytes))) ?? ''
    if (blocks.indexOf(bytes) < 5) tamper(path, flipBit)
  }
  assert.deepEqual(await store.verify(), { checked: 10, bad: 5, replaced: 3 })
  assert.equal(store.stats().quarantined, 2)
  await store.shrink()
  assert.equal(store.stats().quarantined, 0, 'a collection throws them away')
})

test('the quarantine is bounded in bytes too, but for the newest', async (t) => {
  const dir = await tempDir(t)
  const first = await openStore(t, { dir })
  await first.stop()
  for (const [at, hex] of ['a', 'b', 'c'].map((letter) => letter.repeat(64)).entries()) {
    const name = join(dir, 'quarantine', `${1000 + at}-0-${hex}`)
    writeFileSync(name, '')
    truncateSync(name, 200 << 20)
  }
  const second = await openStore(t, { dir })
  assert.deepEqual(await namesIn(join(dir, 'quarantine')), [`1002-0-${'c'.repeat(64)}`])
  assert.equal(second.stats().quarantined, 1)
  rmSync(join(dir, 'quarantine'), { recursive: true })
})
