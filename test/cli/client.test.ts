import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answers, ask } from '../../src/cli/client.ts'
import { fakeDaemon, silence } from './fake-daemon.ts'
import { temporaryHome } from './shoal.ts'

test('ask() gives up at its deadline', async (t) => {
  const { paths } = await temporaryHome(t)
  const daemon = await fakeDaemon(paths.socket, { status: silence })
  t.after(() => daemon.close())
  await assert.rejects(ask(paths.socket, 'status', {}, { timeoutMs: 50 }), { code: 'ERR_DEADLINE' })
})

test('ask() ends with the reason of an abort', async (t) => {
  const { paths } = await temporaryHome(t)
  const stop = new AbortController()
  const daemon = await fakeDaemon(paths.socket, {
    status: () => {
      stop.abort(new Error('Ctrl-C'))
      return silence
    },
  })
  t.after(() => daemon.close())
  await assert.rejects(ask(paths.socket, 'status', {}, { signal: stop.signal }), /Ctrl-C/)
  await assert.rejects(ask(paths.socket, 'status', {}, { signal: stop.signal }), /Ctrl-C/)
})

test('answers() tells a listening node from none', async (t) => {
  const { paths } = await temporaryHome(t)
  assert.equal(await answers(paths.socket), false)
  const daemon = await fakeDaemon(paths.socket, { status: {} })
  t.after(() => daemon.close())
  assert.equal(await answers(paths.socket), true)
})
