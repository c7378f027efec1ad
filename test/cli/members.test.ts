import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { pipedLine } from '../../src/cli/piped.ts'
import { fakeDaemon, Refusal } from './fake-daemon.ts'
import { shoal, statusAnswer, temporaryHome } from './shoal.ts'

const who = { name: 'bert', peerId: '12D3KooWBERT' }

test('kick, promote and rename say what they did, and hand on what they were given', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const promote = { ...who, hasRoot: true }
  const daemon = await fakeDaemon(paths.socket, { kick: { ...who, told: 3 }, promote, rename: { name: 'berta' } })
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
      [
        0,
        'bert is admin now.\nWith the recovery phrase on paper, the root key need not stay on this disk: shoal init --forget-root\n',
        '',
      ],
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

test('kick says who stays, and what it cannot shut out', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const kick = { ...who, told: 1, guests: ['carla', 'dora\u202e'], keptRoot: true, open: true }
  const daemon = await fakeDaemon(paths.socket, { kick })
  t.after(() => daemon.close())
  const { stdout } = await shoal(['kick', 'bert'], { home })
  assert.match(
    stdout,
    /^Whom it has let in stays: 2 members, carla, dora +\. To shut them out too:\n {2}shoal kick --issued 12D3KooWBERT$/m,
  )
  assert.match(stdout, /^It has the root key of the mesh on its disk/m)
  assert.match(stdout, /^The mesh is open: .* can come in again/m)
})

test('what only others may do is refused with exit code 7, a role that does not exist with 2', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const daemon = await fakeDaemon(paths.socket, { kick: new Refusal({ code: 'ERR_ROLE', message: 'no' }) })
  t.after(() => daemon.close())
  assert.equal((await shoal(['kick', 'bert'], { home })).code, 7)
  assert.equal((await shoal(['invite', '--role', 'king'], { home })).code, 2)
})

test('join reads its link from standard input, and does nothing under a running node', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const piped = await shoal(['join', '--json'], { home, stdin: 'shoal1:abc\n' })
  assert.deepEqual(JSON.parse(piped.stdout).request, { action: 'join', link: 'shoal1:abc' })
  const daemon = await fakeDaemon(paths.socket, {})
  t.after(() => daemon.close())
  const refused = await shoal(['join', 'shoal1:abc'], { home })
  assert.match(refused.stderr, /^error\[ERR_DAEMON_RUNNING\].*\n {2}hint: Run `shoal down`/)
})

test('join without a link shows the code, and takes no yes that the person has not heard', async (t) => {
  const { home } = await temporaryHome(t)
  const yes = await shoal(['join'], { home, terminal: true, stdin: 'y\n' })
  assert.equal(yes.code, 0, yes.stderr)
  assert.match(yes.stdout, /^Say 048 291 to somebody of office, who types: shoal approve 048291$/m)
  assert.match(yes.stderr, /office says that somebody has typed 048291\. Have they told you so\? \[y\/N\]/)
  assert.match(yes.stdout, /now a member of office/)
  const no = await shoal(['join'], { home, terminal: true, stdin: 'n\n' })
  assert.equal(no.code, 7)
  assert.match(no.stderr, /error\[ERR_ROLE\]: this machine has joined nothing/)
  // Nobody there to be asked: standard output is still for the answer alone.
  const script = await shoal(['join', '--mesh', 'office', '--json'], { home })
  assert.deepEqual(JSON.parse(script.stdout).request, { action: 'join', mesh: 'office' })
  assert.match(script.stderr, /048 291/)
})

test('the only administrator of a mesh is asked before it goes into another, a script is not', async (t) => {
  const { home } = await temporaryHome(t)
  const env = { SHOAL_FAKE_LEAVES: 'hall' }
  const no = await shoal(['join', 'shoal1:abc'], { home, env, terminal: true, stdin: '\n' })
  assert.equal(no.code, 7)
  assert.match(no.stderr, /only administrator of hall, with 3 other members: .*Go all the same\? \[y\/N\]/)
  assert.equal((await shoal(['join', 'shoal1:abc'], { home, env, terminal: true, stdin: 'y\n' })).code, 0)
  assert.equal((await shoal(['join', 'shoal1:abc'], { home, env })).code, 0)
})

test('approve lists who waits without any code, and hands on six digits however they are typed', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const pending = [{ name: 'carla\u202e', address: '10.0.0.7', waitedMs: 12_000, nameTaken: true }]
  const daemon = await fakeDaemon(paths.socket, {
    approve: (params: unknown) => ('code' in Object(params) ? { name: 'carla', address: '10.0.0.7' } : { pending }),
  })
  t.after(() => daemon.close())
  const list = await shoal(['approve'], { home })
  assert.match(list.stdout, /^carla {2}\(a member is called so\) +10\.0\.0\.7 +12\.0 s$/m)
  assert.equal(
    (await shoal(['approve', '482', '913'], { home })).stdout,
    'carla (10.0.0.7) is a member now. Tell them.\n',
  )
  assert.deepEqual(
    daemon.requests.map(({ params }) => params),
    [{}, { code: '482 913' }],
  )
})

test('init asks a person before it founds a mesh beside one that is heard, and never a script', async (t) => {
  const { home } = await temporaryHome(t)
  const office = { id: 'ab'.repeat(16), name: 'office', open: false }
  const env = { SHOAL_FAKE_NEAR: JSON.stringify([office]) }
  const script = await shoal(['init', '--json'], { home, env })
  assert.equal(JSON.parse(script.stdout).request.action, 'init')
  const yes = await shoal(['init', '--yes'], { home, env, terminal: true })
  assert.doesNotMatch(yes.stderr, /office/)
  const alone = await shoal(['init'], { home, env, terminal: true, stdin: 'n\n' })
  assert.match(alone.stderr, /already: office\.\nJoin it, instead/)
  assert.match(alone.stdout, /belongs to the mesh/)
  const several = { SHOAL_FAKE_NEAR: JSON.stringify([office, { ...office, name: 'other' }]) }
  const none = await shoal(['init'], { home, env: several, terminal: true, stdin: '\n' })
  assert.match(none.stderr, /hint: Join one: `shoal join --mesh NAME`/)
  const check = await shoal(['init', '--check'], { home, env })
  assert.deepEqual([check.code, check.stdout], [4, 'mesh  none yet\nheard office  abababab\n'])
})

test('status nags the only administrator until there is another, and it does not leave unasked', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const mesh = { ...statusAnswer.mesh, open: true, admins: 1, isAdmin: true }
  const alone = { ...statusAnswer, node: { ...statusAnswer.node, pid: 0x7fffffff }, mesh }
  let status: unknown = alone
  const daemon = await fakeDaemon(paths.socket, { status: () => status, leave: {}, stop: {} })
  t.after(() => daemon.close())
  const told = (await shoal(['status'], { home })).stdout
  assert.match(told, /only administrator; make another: shoal promote NAME/)
  assert.match(told, /open: whoever finds it on the local network is let in/)
  const script = await shoal(['leave'], { home })
  assert.match(script.stderr, /only administrator of office[\s\S]*error\[ERR_USAGE\][\s\S]*--yes to leave/)
  assert.equal((await shoal(['leave'], { home, terminal: true, stdin: 'n\n' })).code, 0)
  assert.ok(daemon.requests.every(({ method }) => method === 'status'))
  assert.equal((await shoal(['leave', '--yes'], { home })).code, 0)
  status = { ...alone, mesh: { ...mesh, members: 1 } }
  assert.match((await shoal(['status'], { home })).stdout, /nobody else belongs to it yet.*: shoal invite/)
  status = { ...alone, mesh: { ...mesh, admins: 2 } }
  assert.doesNotMatch((await shoal(['status'], { home })).stdout, /administrator/)
  assert.equal((await shoal(['leave'], { home })).code, 0)
})

test('who leaves while another machine has the same key is told what becomes of that, and asked', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const status = { ...statusAnswer, node: { ...statusAnswer.node, pid: 0x7fffffff, cloned: true } }
  const daemon = await fakeDaemon(paths.socket, { status, leave: {}, stop: {} })
  t.after(() => daemon.close())
  const script = await shoal(['leave'], { home })
  assert.equal(script.code, 2)
  assert.match(script.stderr, /that one is shut out as well, for ever\.\nIf it is to stay.*: shoal rekey\./)
  assert.match(script.stderr, /error\[ERR_USAGE\][\s\S]*Say --yes to leave/)
  assert.equal((await shoal(['leave'], { home, terminal: true, stdin: '\n' })).code, 0)
  assert.ok(daemon.requests.every(({ method }) => method === 'status'))
  assert.equal((await shoal(['leave', '--yes'], { home })).code, 0)
  assert.ok(daemon.requests.some(({ method }) => method === 'leave'))
})

test('who belongs to no mesh cannot leave it', async (t) => {
  const { home } = await temporaryHome(t)
  const { code, stderr } = await shoal(['leave', '--yes'], { home })
  assert.equal(code, 1)
  assert.match(stderr, /^error\[ERR_NO_MESH\]: this machine belongs to no mesh/)
})

test('an open standard input that says nothing is not waited for', async (t) => {
  const { home } = await temporaryHome(t)
  const silent = new PassThrough()
  assert.equal(await pipedLine(silent, 100), '')
  const late = new PassThrough()
  late.write('shoal1:')
  const line = pipedLine(late, 100)
  setImmediate(() => late.write('abc\nmore'))
  assert.equal(await line, 'shoal1:abc')
  assert.equal((await shoal(['join', '-'], { home, stdin: '' })).code, 2)
})
