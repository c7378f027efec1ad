import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type Datastore, Key } from 'interface-datastore'
import { silentLogger } from '../../src/base/log.ts'
import { LatePeers } from '../../src/mesh/late-peers.ts'
import { openIndexDb } from '../../src/store/index-db.ts'
import { ManualClock } from './fixture.ts'

const [peer, other, record] = [new Key('/peers/one'), new Key('/peers/two'), new Key('/dht/provider/x')]
const bytes = (value: number): Uint8Array => new Uint8Array([value])

async function made(t: TestContext): Promise<{ disk: Datastore; late: LatePeers; clock: ManualClock }> {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-late-peers-'))
  const db = await openIndexDb({ dir, log: silentLogger })
  t.after(async () => {
    await db.close()
    await rm(dir, { recursive: true })
  })
  const clock = new ManualClock()
  return { disk: db.datastore, late: new LatePeers(db.datastore, clock, silentLogger), clock }
}

async function namesIn(store: Datastore, prefix: string): Promise<string[]> {
  const names: string[] = []
  for await (const key of store.queryKeys({ prefix })) names.push(key.toString())
  return names
}

test('what is said of peers is there at once, and on the disk later, the last of it', async (t) => {
  const { disk, late, clock } = await made(t)
  for (const value of [1, 2, 3]) await late.put(peer, bytes(value))
  assert.deepEqual(await late.get(peer), bytes(3))
  assert.equal(await late.has(peer), true)
  assert.equal(await disk.has(peer), false)
  clock.advance(30_000)
  while (!(await disk.has(peer))) await delay(5)
  assert.deepEqual(Uint8Array.from(await disk.get(peer)), bytes(3))
  assert.deepEqual(Uint8Array.from(await late.get(peer)), bytes(3))
})

test('records reach the disk at once', async (t) => {
  const { disk, late } = await made(t)
  await late.put(record, bytes(7))
  assert.deepEqual(Uint8Array.from(await disk.get(record)), bytes(7))
})

test('who is looked for among all peers is found, and who was removed is not', async (t) => {
  const { late, disk } = await made(t)
  await late.put(peer, bytes(1))
  await late.put(other, bytes(2))
  assert.deepEqual(await namesIn(late, '/peers/'), [peer.toString(), other.toString()])
  await late.put(peer, bytes(4))
  const writing = late.flush()
  await late.delete(peer)
  await writing
  assert.equal(await late.has(peer), false)
  assert.equal(await disk.has(peer), false)
})

test('what cannot be written is not lost', async (t) => {
  const { disk, late } = await made(t)
  await late.put(peer, bytes(1))
  await disk.put(record, bytes(1))
  const batch = t.mock.method(disk, 'batch', () => {
    throw new Error('no space left')
  })
  await assert.rejects(late.flush(), /no space left/)
  await late.save()
  assert.deepEqual(await late.get(peer), bytes(1))
  batch.mock.restore()
  await late.save()
  assert.deepEqual(Uint8Array.from(await disk.get(peer)), bytes(1))
})
