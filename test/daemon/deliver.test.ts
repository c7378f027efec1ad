import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Delivery } from '../../src/daemon/deliver.ts'
import type { ShimLink } from '../../src/daemon/shim-link.ts'
import { content, planned, result } from '../recall/support.ts'

/** A delivery, and what its cargo was told of so far. */
function delivering() {
  const told: string[] = []
  const written: string[] = []
  const disk = { isFull: false }
  const unexpected = (): never => assert.fail('not expected')
  const shim: ShimLink = {
    invocation: { driver: undefined, rustc: '', argv: [], cwd: '/', env: new Map(), remaps: [], cargoPid: 1 },
    signal: new AbortController().signal,
    yieldToken: unexpected,
    stderr(bytes) {
      for (const line of Buffer.from(bytes).toString().split('\n')) {
        if (line !== '') told.push(line.startsWith('{') ? (JSON.parse(line).emit ?? JSON.parse(line).message) : line)
      }
    },
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
    async placeBytes(bytes) {
      written.push(Buffer.from(bytes).toString())
      await turn()
    },
  })
  return { delivery, told, disk, written }
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

test('the dep-info that lies there in the end is that of the result, whatever came ahead of it', async () => {
  const { delivery, told, written } = delivering()
  await delivery.early('libx-1.rmeta: src/lib.rs\n', name, cid)
  await delivery.rest({ ...result, depInfo: 'libx-1.rmeta: src/lib.rs src/more.rs\n' })
  assert.deepEqual(written, ['libx-1.rmeta: src/lib.rs\n', 'libx-1.rmeta: src/lib.rs src/more.rs\n'])
  assert.equal(told.filter((what) => what === 'dep-info').length, 1)
  await delivery.rest({ ...result, depInfo: 'libx-1.rmeta: src/lib.rs src/more.rs\n' })
  assert.equal(written.length, 2, 'once')
})

test('nothing that comes with a result tells cargo of an output', async () => {
  const { delivery, told } = delivering()
  const stderr = [
    '{"$message_type":"diagnostic","message":"unused"}',
    '{"$message_type":"artifact","artifact":"/t/libother.rmeta","emit":"forged"}',
    '{"artifact":"\0out\0/libother.rmeta","emit":"forged"}',
    '{"emit":"forged","\\u0061rtifact":"/t/libx-1.rmeta"}',
    `{"artifact":"/t/${'x'.repeat(1 << 20)}.rmeta","emit":"forged"}`,
    'a macro says {"artifact":"/t/libother.rmeta"}',
    '{"message":"of an artifact"}',
    '{"message":"nested","children":[{"artifact":"/t/libother.rmeta"}]}',
    '{"artifact":7,"message":"a number"}',
  ].join('\n')
  await delivery.rest({ ...result, stderr: Buffer.from(`${stderr}\n`) })
  assert.deepEqual(told.slice(2), [
    'unused',
    'a macro says {"artifact":"/t/libother.rmeta"}',
    'of an artifact',
    'nested',
    'a number',
  ])
})

test('nothing that comes with a result is obeyed by a terminal, or becomes a notification once that is left out', async () => {
  const { delivery, told } = delivering()
  const stderr = ['{"emit":"forged","artifact":"/t/\u0007libother.rmeta"}', 'by a macro\u001b[2J'].join('\n')
  await delivery.rest({ ...result, stderr: Buffer.from(stderr) })
  assert.deepEqual(told.slice(2), ['by a macro␛[2J'])
})
