import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { ShimConnection, TokenDebts } from '../../src/daemon/shim-connection.ts'
import { Turns } from '../../src/daemon/turns.ts'
import { afterwards, temporaryDirectory } from '../mesh/fixture.ts'

const order = { dir: '/d', observer: '', program: 'cc', args: [], path: [], seconds: 60 }
const invocation = {
  ...{ driver: undefined, rustc: 'rustc', argv: [], cwd: '/', remaps: [], cargoPid: 1 },
  env: new Map<string, string>(),
}

/** The daemon's end of a connection, and the other. */
async function connection(t: TestContext): Promise<{ ours: Socket; theirs: Socket }> {
  const server = createServer()
  const path = join(await temporaryDirectory(t), 'socket')
  server.listen(path)
  await once(server, 'listening')
  const theirs = connect(path)
  const [ours] = (await once(server, 'connection')) as [Socket]
  // As the server of the daemon has it: what breaks off is over.
  ours.on('error', () => undefined)
  afterwards(t, async () => {
    for (const end of [ours, theirs]) end.destroy()
    server.close()
  })
  return { ours, theirs }
}

test('a build that is stopped while it links gives its turn back', { timeout: 30_000 }, async (t) => {
  const shim = spawn('sleep', ['1000'])
  afterwards(t, async () => void shim.kill('SIGKILL'))
  await once(shim, 'spawn')
  const { ours, theirs } = await connection(t)
  const connected = new ShimConnection(ours, invocation, shim.pid ?? 0, new TokenDebts(), new Uint8Array())
  const turns = new Turns(1)
  const { signal } = new AbortController()
  const linking = turns.take((letGo) => connected.link(order, letGo), signal)
  let others = 0
  const next = turns.take(async () => {
    others += 1
  }, signal)
  // As long as it runs the other one waits.
  await once(theirs.resume(), 'data')
  assert.equal(others, 0)
  shim.kill('SIGSTOP')
  await next
  assert.equal(others, 1)
  theirs.destroy()
  await assert.rejects(linking, { code: 'ERR_PEER_LOST' })
  // Its turn was given back once.
  const both: (() => void)[] = []
  const hold = (): Promise<void> => turns.take(() => new Promise((resolve) => both.push(resolve)), signal)
  const [first, second] = [hold(), hold()]
  assert.equal(both.length, 1)
  both[0]?.()
  await first
  both[1]?.()
  await second
})

test('a shim that says nothing of its linker when the time of that is over keeps no other waiting', async (t) => {
  const { ours, theirs } = await connection(t)
  t.mock.timers.enable({ apis: ['setInterval'] })
  const connected = new ShimConnection(ours, invocation, process.pid, new TokenDebts(), new Uint8Array())
  let stalls = 0
  const linking = connected.link(order, () => {
    stalls += 1
  })
  t.mock.timers.tick(89_999)
  assert.equal(stalls, 0)
  t.mock.timers.tick(1)
  assert.equal(stalls, 1)
  t.mock.timers.tick(1_000_000)
  assert.equal(stalls, 1)
  theirs.destroy()
  await assert.rejects(linking, { code: 'ERR_PEER_LOST' })
})
