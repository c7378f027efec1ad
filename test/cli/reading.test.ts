import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { lstat, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { type Answers, fakeDaemon, hangUp, Refusal } from './fake-daemon.ts'
import { shoal, statusAnswer, temporaryHome } from './shoal.ts'

const totals = { 'recalled-here': 1, 'recalled-mesh': 0, 'compiled-here': 0, 'compiled-mesh': 1, 'passed-through': 0 }
const unit = { startMs: 0, ms: 120, bytesIn: 0, bytesOut: 0 }
const reportAnswer = {
  schema: 1,
  session: '20260301-090000-00ab',
  over: true,
  cwd: '/home/anna/ws',
  startedAt: '2026-03-01T09:00:00.000Z',
  wallMs: 1500,
  totals,
  bytesIn: 2048,
  bytesOut: 0,
  fallbacks: 1,
  peers: [{ name: 'bert', compiled: 1, recalled: 0, ms: 120 }],
  units: [
    { ...unit, crate: 'serde', kind: 'lib', outcome: 'recalled-here', where: 'here', reason: 'own trace', ms: 3 },
    {
      ...unit,
      crate: 'syn',
      kind: 'lib',
      outcome: 'compiled-mesh',
      where: 'bert',
      reason: 'best bid',
      fallback: 'ERR_LEASE_LOST',
    },
  ],
}
const answers: Answers = {
  status: statusAnswer,
  peers: {
    peers: [
      {
        name: 'bert',
        peerId: '12D3KooWBERT',
        connected: true,
        roles: ['member', 'lender', 'inviter'],
        rttMs: 0.42,
        slots: 4,
        tier: 'A',
        toolchains: ['abc'],
        lentMs: 61_000,
        borrowedMs: 0,
      },
    ],
  },
  report: reportAnswer,
  sessions: {
    sessions: [{ session: 's1', cwd: '/w', startedAt: '2026-03-01T09:00:00.000Z', wallMs: 5, units: 2, totals }],
  },
  'cache-stats': { bytes: 3 * 1024 ** 3, blocks: 12, results: 7 },
  invite: { link: 'shoal1:abc' },
}

const reading = [
  { args: ['status'], value: statusAnswer, text: /^slots {3}7 of 8 free, 1 lent$/m },
  {
    args: ['peers'],
    value: answers.peers,
    text: /^bert +connected +inviter +0\.4 ms +4 +A +1 min 01 s +0 ms +KooWBERT$/m,
  },
  { args: ['report'], value: reportAnswer, text: /^2 units in 1\.5 s: 1 recalled-here, 1 compiled-mesh$/m },
  { args: ['report', '--list'], value: answers.sessions, text: /^s1 +2026-03-01T09:00:00\.000Z +2 +5 ms +\/w$/m },
  { args: ['cache', 'stats'], value: answers['cache-stats'], text: /^7 results, 3\.0 GiB in 12 blocks$/m },
] as const

for (const { args, value, text } of reading) {
  test(`shoal ${args.join(' ')} shows text, and with --json the daemon's answer under schema 1`, async (t) => {
    const { home, paths } = await temporaryHome(t)
    const daemon = await fakeDaemon(paths.socket, answers)
    t.after(() => daemon.close())

    const plain = await shoal(args, { home })
    assert.equal(plain.code, 0, plain.stderr)
    assert.match(plain.stdout, text)
    assert.equal(plain.stderr, '')

    const json = await shoal([...args, '--json'], { home })
    assert.equal(json.code, 0)
    assert.deepEqual(JSON.parse(json.stdout), { schema: 1, ...(value as object) })
  })

  test(`shoal ${args.join(' ')} neither starts a node nor succeeds without one`, async (t) => {
    const { home, paths } = await temporaryHome(t)
    const outside = await shoal(args, { home })
    assert.equal(outside.code, 3)
    assert.match(outside.stderr, /belongs to no mesh yet\n {2}hint: Run `shoal init`, or `shoal join` .*`shoal up`/)

    await mkdir(paths.state, { recursive: true })
    await writeFile(join(paths.state, 'mesh.json'), '{}')
    const plain = await shoal(args, { home })
    assert.equal(plain.code, 3)
    assert.equal(plain.stdout, '')
    assert.match(
      plain.stderr,
      /^error\[ERR_DAEMON_DOWN\]: no node answers at .*\n {2}hint: Start it with `shoal up`\.\n$/,
    )

    const json = await shoal([...args, '--json'], { home })
    assert.equal(json.code, 3)
    const { schema, error } = JSON.parse(json.stdout)
    assert.equal(schema, 1)
    assert.equal(error.code, 'ERR_DAEMON_DOWN')
    assert.equal(error.hint, 'Start it with `shoal up`.')
  })
}

test('a socket file that nobody listens on counts as no node', async (t) => {
  const { home, paths } = await temporaryHome(t)
  await mkdir(dirname(paths.socket), { recursive: true })
  const listen = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`
  const [code, signal] = await once(spawn(process.execPath, ['-e', listen, paths.socket]), 'exit')
  assert.deepEqual([code, signal, (await lstat(paths.socket)).isSocket()], [null, 'SIGKILL', true])
  assert.equal((await shoal(['status'], { home })).code, 3)
})

test('report asks for the session that was named, and shows the fallback and the hidden rows', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const many = Array.from({ length: 20 }, (_, index) => ({ ...reportAnswer.units[0], crate: `c${index}`, ms: index }))
  const daemon = await fakeDaemon(paths.socket, {
    report: { ...reportAnswer, units: [...reportAnswer.units, ...many] },
  })
  t.after(() => daemon.close())

  const short = await shoal(['report', '2026'], { home })
  assert.deepEqual(daemon.requests, [{ method: 'report', params: { id: '2026' } }])
  assert.match(short.stdout, /^syn +lib +compiled-mesh +bert +120 ms +best bid \(ERR_LEASE_LOST\)$/m)
  assert.match(short.stdout, /… and 7 shorter ones/)
  assert.doesNotMatch(short.stdout, /^c1 /m)
  assert.match((await shoal(['report', '--all'], { home })).stdout, /^c1 /m)
})

test('invite prints the link alone on standard output', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const daemon = await fakeDaemon(paths.socket, answers)
  t.after(() => daemon.close())
  const { code, stdout } = await shoal(['invite'], { home })
  assert.equal(code, 0)
  assert.equal(stdout, 'shoal1:abc\n')
})

test('status --check exits with 4 when something is wrong, and says what', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const problem = {
    code: 'ERR_SANDBOX',
    text: 'bwrap is missing',
    hint: 'apt install bubblewrap',
    count: 2,
    lastSeen: '',
  }
  const replies: Answers = { status: statusAnswer }
  const daemon = await fakeDaemon(paths.socket, replies)
  t.after(() => daemon.close())
  assert.equal((await shoal(['status', '--check'], { home })).code, 0)

  replies.status = { ...statusAnswer, health: [problem] }
  const bad = await shoal(['status', '--check'], { home })
  assert.equal(bad.code, 4)
  assert.match(bad.stdout, /^health {2}ERR_SANDBOX: bwrap is missing \(2 times\)\n {8}apt install bubblewrap$/m)
  assert.equal((await shoal(['status'], { home })).code, 0)
})

const failures = [
  {
    what: 'a code this version knows',
    answer: new Refusal({ code: 'ERR_CONFIG', message: 'no' }),
    code: 5,
    text: /^error\[ERR_CONFIG\]: no$/m,
  },
  {
    what: 'a refusal',
    answer: new Refusal({ code: 'ERR_INVITE', message: 'used' }),
    code: 7,
    text: /^error\[ERR_INVITE\]: used$/m,
  },
  {
    what: 'a code of a newer version',
    answer: new Refusal({ code: 'ERR_TOMORROW', message: 'what', hint: 'wait' }),
    code: 1,
    text: /^error\[ERR_INTERNAL\]: ERR_TOMORROW: what\n {2}hint: wait$/m,
  },
  {
    what: 'a message with terminal codes',
    answer: new Refusal({ code: 'ERR_STORE', message: 'a\u001b[31mb' }),
    code: 1,
    text: /^error\[ERR_STORE\]: a \[31mb$/m,
  },
  { what: 'an answer of another shape', answer: { peers: 3 }, code: 1, text: /^error\[ERR_DECODE\]: peers: / },
  { what: 'a node that hangs up', answer: hangUp, code: 3, text: /^error\[ERR_DAEMON_DOWN\]: / },
]

for (const { what, answer, code, text } of failures) {
  test(`a daemon that answers with ${what} gives exit code ${code}`, async (t) => {
    const { home, paths } = await temporaryHome(t)
    const daemon = await fakeDaemon(paths.socket, { peers: answer })
    t.after(() => daemon.close())
    const ran = await shoal(['peers'], { home })
    assert.equal(ran.code, code)
    assert.match(ran.stderr, text)
  })
}

test('a daemon of another protocol version is named as such', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const daemon = await fakeDaemon(paths.socket, answers, 99)
  t.after(() => daemon.close())
  const ran = await shoal(['status'], { home })
  assert.equal(ran.code, 1)
  assert.match(ran.stderr, /^error\[ERR_FRAME\]: the node speaks local protocol 99/)
})

test('a name that another machine chose cannot steer the terminal', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const evil = { ...statusAnswer, node: { ...statusAnswer.node, name: 'a\u001b[2J\nmesh forged' } }
  const daemon = await fakeDaemon(paths.socket, { status: evil })
  t.after(() => daemon.close())
  const { stdout } = await shoal(['status'], { home })
  assert.match(stdout, /^node {4}a \[2J mesh forged /)
})
