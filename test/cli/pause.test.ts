import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fakeDaemon } from './fake-daemon.ts'
import { shoal, temporaryHome } from './shoal.ts'

test('shoal pause and resume tell the node', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const daemon = await fakeDaemon(paths.socket, { pause: {}, resume: {} })
  t.after(() => daemon.close())
  for (const [args, request, text] of [
    [['pause'], { method: 'pause', params: {} }, 'Lends nothing until `shoal resume`.\n'],
    [['pause', '90m'], { method: 'pause', params: { ms: 5_400_000 } }, 'Lends nothing for 90m.\n'],
    [['resume'], { method: 'resume', params: {} }, 'Lends again.\n'],
  ] as const) {
    const { code, stdout, stderr } = await shoal(args, { home })
    assert.deepEqual([code, stdout, stderr], [0, text, ''])
    assert.deepEqual(daemon.requests.at(-1), request)
  }
})

test('what is no duration is refused, and nothing is asked', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const daemon = await fakeDaemon(paths.socket, {})
  t.after(() => daemon.close())
  for (const duration of ['0m', '8d', '5', 'm', '-1h', '1.5h', '99999d', '1h30m']) {
    const { code, stderr } = await shoal(['pause', '--', duration], { home })
    assert.equal(code, 2, duration)
    assert.match(stderr, /^error\[ERR_USAGE\]: ".*" is no duration\n {2}hint: /)
  }
  assert.deepEqual(daemon.requests, [])
})
