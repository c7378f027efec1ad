import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { silentLogger } from '../../src/base/log.ts'
import { createBlockStore } from '../../src/store/blocks.ts'
import { takeLock } from '../../src/store/lock.ts'
import { namesIn, openStore, tempDir, withCode } from './support.ts'

const holder = fileURLToPath(new URL('./holder.ts', import.meta.url))

test('a second store on the same directory is refused, in this process and from another', async (t) => {
  const dir = await tempDir(t)
  const first = await openStore(t, { dir })
  const cid = await first.put(Buffer.from('mine'))
  const second = createBlockStore({ dir, log: silentLogger, maxBytes: 1000 })
  await assert.rejects(second.start(), withCode('ERR_DAEMON_RUNNING'))
  const child = spawn(process.execPath, [holder, join(dir, 'lock')], { stdio: ['pipe', 'pipe', 'inherit'] })
  const [line] = await once(child.stdout.setEncoding('utf8'), 'data')
  assert.equal(line, 'ERR_DAEMON_RUNNING\n')
  await once(child, 'close')
  assert.ok(await first.get(cid), 'the first goes on')
  await first.stop()
  await openStore(t, { dir })
})

test('the lock of a killed process is taken over, by one of many', async (t) => {
  const dir = await tempDir(t)
  const lock = join(dir, 'lock')
  for (let round = 0; round < 10; round++) {
    const child = spawn(process.execPath, [holder, lock], { stdio: ['pipe', 'pipe', 'inherit'] })
    assert.equal((await once(child.stdout.setEncoding('utf8'), 'data'))[0], 'held\n')
    await assert.rejects(takeLock(lock), withCode('ERR_DAEMON_RUNNING'))
    child.kill('SIGKILL')
    await once(child, 'close')
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => takeLock(lock)))
    const held = tries.filter((outcome) => outcome.status === 'fulfilled')
    assert.equal(held.length, 1, `round ${round}`)
    for (const outcome of tries) if (outcome.status === 'rejected') withCode('ERR_DAEMON_RUNNING')(outcome.reason)
    await held[0]?.value.release()
    assert.deepEqual(await namesIn(dir), [])
  }
})

test('of several processes that find a dead lock exactly one takes it', async (t) => {
  const dir = await tempDir(t)
  const lock = join(dir, 'lock')
  writeFileSync(lock, JSON.stringify({ pid: process.pid, started: 'long ago', token: 'an-earlier-process' }))
  const children = Array.from({ length: 5 }, () =>
    spawn(process.execPath, [holder, lock], { stdio: ['pipe', 'pipe', 'inherit'] }),
  )
  const said = await Promise.all(
    children.map(async (child) => (await once(child.stdout.setEncoding('utf8'), 'data'))[0]),
  )
  assert.deepEqual(said.toSorted(), [...Array<string>(4).fill('ERR_DAEMON_RUNNING\n'), 'held\n'])
  for (const child of children) child.stdin.end()
  await Promise.all(children.map((child) => (child.exitCode === null ? once(child, 'close') : undefined)))
  assert.deepEqual(await namesIn(dir), [])
})

test('a process number that is used again does not keep a lock alive', async (t) => {
  const lock = join(await tempDir(t), 'lock')
  writeFileSync(lock, JSON.stringify({ pid: process.pid, started: 'another boot:1', token: 'old' }))
  const held = await takeLock(lock)
  assert.equal(JSON.parse(readFileSync(lock, 'utf8')).pid, process.pid)
  await held.release()
})

test('a process that died while taking over a dead lock is itself taken over', async (t) => {
  const dir = await tempDir(t)
  const lock = join(dir, 'lock')
  writeFileSync(lock, JSON.stringify({ pid: process.pid, started: 'x', token: 'first' }))
  writeFileSync(join(dir, 'lock-first'), JSON.stringify({ pid: process.pid, started: 'y', token: 'second' }))
  const held = await takeLock(lock)
  await held.release()
  assert.deepEqual(await namesIn(dir), [])
})

for (const garbage of ['', '{', 'null', '{"pid":"1"}', JSON.stringify({ pid: 1, started: '', token: '../../etc' })]) {
  test(`a lock file that holds ${JSON.stringify(garbage)} is taken over`, async (t) => {
    const dir = await tempDir(t)
    writeFileSync(join(dir, 'lock'), garbage)
    await (await takeLock(join(dir, 'lock'))).release()
    assert.deepEqual(await namesIn(dir), [])
  })
}

test('release() leaves a lock alone that is no longer its own', async (t) => {
  const lock = join(await tempDir(t), 'lock')
  const held = await takeLock(lock)
  writeFileSync(lock, 'somebody removed and made it again')
  await held.release()
  assert.equal(readFileSync(lock, 'utf8'), 'somebody removed and made it again')
})
