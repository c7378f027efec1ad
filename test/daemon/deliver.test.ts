import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Delivery } from '../../src/daemon/deliver.ts'
import type { ShimLink } from '../../src/daemon/shim-link.ts'
import { content, planned, result } from '../recall/support.ts'

/** A delivery, and what its cargo was told of so far. */
function delivering(): { delivery: Delivery; told: string[]; disk: { isFull: boolean } } {
  const told: string[] = []
  const disk = { isFull: false }
  const unexpected = (): never => assert.fail('not expected')
  const shim: ShimLink = {
    invocation: { driver: undefined, rustc: '', argv: [], cwd: '/', env: new Map(), remaps: [], cargoPid: 1 },
    signal: new AbortController().signal,
    yieldToken: unexpected,
    stderr: (line) => told.push(JSON.parse(Buffer.from(line).toString()).emit),
    placed: (path) => told.push(basename(path)),
    deliver: unexpected,
    run: unexpected,
    link: unexpected,
    finish: unexpected,
    exit: unexpected,
    refuse: unexpected,
  }
  const delivery = new Delivery(planned, shim, {
    fileOf: async () => undefined,
    prime: () => undefined,
    place: () => (disk.isFull ? Promise.reject(new Error('full')) : turn()),
    placeBytes: () => turn(),
  })
  return { delivery, told, disk }
}

const [metadata] = result.outputs
assert.ok(metadata)
const { name, cid } = metadata

test('of two lenders that have metadata ready at the same moment cargo hears one', async () => {
  const { delivery, told } = delivering()
  const both = await Promise.all([delivery.early('libx-1.rmeta: \n', name, cid), delivery.early('', name, cid)])
  assert.deepEqual(both, [true, false])
  assert.deepEqual(
    told.filter((what) => what !== 'dep-info'),
    [name, 'metadata'],
  )
  assert.ok(delivery.announcedMetadata?.equals(cid))
})

test('what comes while metadata is put in place is the same, or not delivered', async () => {
  const { delivery, told } = delivering()
  const early = delivery.early('libx-1.rmeta: \n', name, cid)
  await assert.rejects(delivery.metadata(name, content('other')), { code: 'ERR_OUTPUT' })
  await Promise.all([early, delivery.metadata(name, cid)])
  assert.equal(told.filter((what) => what === 'metadata').length, 1)
})

test('metadata that could not be put in place was not told of, and can be once more', async () => {
  const { delivery, told, disk } = delivering()
  disk.isFull = true
  await assert.rejects(delivery.early('libx-1.rmeta: \n', name, cid), { message: 'full' })
  assert.deepEqual([delivery.announcedMetadata, told.includes('metadata')], [undefined, false])
  disk.isFull = false
  assert.equal(await delivery.early('libx-1.rmeta: \n', name, cid), true)
})
