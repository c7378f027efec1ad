import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fakeDaemon, Refusal } from './fake-daemon.ts'
import { shoal, temporaryHome } from './shoal.ts'

const who = { name: 'bert', peerId: '12D3KooWBERT' }

test('kick, promote and rename say what they did, and hand on what they were given', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const daemon = await fakeDaemon(paths.socket, { kick: { ...who, told: 3 }, promote: who, rename: { name: 'berta' } })
  t.after(() => daemon.close())
  const ran = [
    await shoal(['kick', 'bert', '--issued'], { home }),
    await shoal(['promote', 'bert'], { home }),
    await shoal(['promote', 'bert', '--role', 'inviter'], { home }),
    await shoal(['rename', 'berta'], { home }),
  ]
  assert.deepEqual(
    ran.map(({ code, stdout, stderr }) => [code, stdout, stderr]),
    [
      [0, 'bert is shut out. 3 connected members know it already.\n', ''],
      [0, 'bert is admin now.\n', ''],
      [0, 'bert is inviter now.\n', ''],
      [0, 'This machine is called berta now.\n', ''],
    ],
  )
  assert.deepEqual(
    daemon.requests.map(({ method, params }) => [method, params]),
    [
      ['kick', { member: 'bert', issued: true }],
      ['promote', { member: 'bert', role: 'admin' }],
      ['promote', { member: 'bert', role: 'inviter' }],
      ['rename', { name: 'berta' }],
    ],
  )
})

test('what only others may do is refused with exit code 7, a role that does not exist with 2', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const daemon = await fakeDaemon(paths.socket, { kick: new Refusal({ code: 'ERR_ROLE', message: 'no' }) })
  t.after(() => daemon.close())
  assert.equal((await shoal(['kick', 'bert'], { home })).code, 7)
  assert.equal((await shoal(['invite', '--role', 'king'], { home })).code, 2)
})

test('join reads its link from standard input, waits for no person, and does nothing under a running node', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const piped = await shoal(['join', '--json'], { home, stdin: 'shoal1:abc\n' })
  assert.deepEqual(JSON.parse(piped.stdout).request, { action: 'join', link: 'shoal1:abc' })
  assert.equal((await shoal(['join'], { home, terminal: true })).code, 2)
  const daemon = await fakeDaemon(paths.socket, {})
  t.after(() => daemon.close())
  const refused = await shoal(['join', 'shoal1:abc'], { home })
  assert.match(refused.stderr, /^error\[ERR_DAEMON_RUNNING\].*\n {2}hint: Run `shoal down`/)
})
