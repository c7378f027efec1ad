import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Answers, fakeDaemon, Refusal } from './fake-daemon.ts'
import { type Ran, shoal, temporaryHome } from './shoal.ts'

const leaf = { what: 'file', name: '<workspace>/leaf/src/lib.rs', recorded: '3f2a11112222', here: '91bc33334444' }
const onLeaf = { what: 'dependency', name: 'leaf', recorded: 'aa11', here: 'bb22', unit: 'leaf-0123456789abcdef' }
const colour = { what: 'variable', name: 'COLOUR', recorded: null, here: 'red' }
const unit = { crate: 'app', kind: 'bin', outcome: 'compiled-here', where: 'here', reason: '', causes: [], because: [] }
const step = (crate: string, kind: string, cause: object): object => ({ crate, kind, cause })
const why = (...units: object[]): object => ({ schema: 1, session: 's1', over: true, units })

const texts = [
  {
    what: 'the root in another unit, each step, then other causes, then why it is not kept',
    answer: why({
      ...unit,
      reason: 'path-bound',
      meaning: 'its outputs hold paths of this machine',
      causes: [onLeaf, colour],
      because: [[step('leaf', 'lib', leaf), step('app', 'bin', onLeaf)], [step('app', 'bin', colour)]],
    }),
    lines: [
      'app (bin): compiled here',
      '  because  in leaf (lib) file <workspace>/leaf/src/lib.rs: was 3f2a11112222, is 91bc33334444',
      '  so       in app (bin) dependency leaf: was aa11, is bb22',
      '  also     variable COLOUR: was not set, is red',
      '  note     its outputs hold paths of this machine (path-bound)',
      '  hint     it knows where it lies, so it is recalled in its own directory only',
    ],
  },
  {
    what: 'a unit that was passed through',
    answer: why({
      ...unit,
      outcome: 'passed-through',
      reason: 'unobserved',
      meaning: 'what it reads was not observed',
    }),
    lines: ['app (bin): rustc simply ran here', '  because  what it reads was not observed (unobserved)'],
  },
  {
    what: 'both values below each other when they are long',
    answer: why({
      ...unit,
      because: [[step('app', 'bin', { ...colour, recorded: 'a'.repeat(60), here: 'b'.repeat(60) })]],
    }),
    lines: [
      'app (bin): compiled here',
      '  because  variable COLOUR',
      `             was ${'a'.repeat(60)}`,
      `             is ${'b'.repeat(60)}`,
      '  hint     the same value in every shell lets everybody recall it',
    ],
  },
  {
    what: 'units that were recalled in one line, behind the others',
    answer: why(
      { ...unit, outcome: 'recalled-mesh', where: 'bert' },
      { ...unit, kind: 'lib', outcome: 'compiled-mesh', where: 'bert' },
      { ...unit, kind: 'test', outcome: 'recalled-here' },
      { ...unit, kind: 'test', outcome: 'recalled-here' },
    ),
    lines: ['app (lib): compiled by bert', '', 'recalled: app (bin) from bert, app (test) × 2'],
  },
  {
    what: 'the sources of units that have the same name',
    answer: why(
      { ...unit, source: 'src/main.rs' },
      { ...unit, kind: 'test', source: 'src/lib.rs' },
      { ...unit, kind: 'test', source: 'tests/app.rs' },
    ),
    lines: [
      'app (bin): compiled here',
      '',
      'app (test) src/lib.rs: compiled here',
      '',
      'app (test) tests/app.rs: compiled here',
    ],
  },
  {
    what: 'a build that still runs',
    answer: { ...why({ ...unit, outcome: 'recalled-here' }), over: false },
    lines: ['recalled: app (bin)', '', 'build s1 still runs: there may be more to say'],
  },
]

for (const { what, answer, lines } of texts) {
  test(`why shows ${what}`, async (t) => {
    const { stdout, code } = await ask(t, { why: answer }, 'app')
    assert.deepEqual(stdout.trimEnd().split('\n'), lines)
    assert.equal(code, 0)
  })
}

const causes: [object, string][] = [
  [{ what: 'first-time', name: 'app', recorded: null, here: null }, 'nothing like it was compiled here before'],
  [
    { what: 'result', name: 'app', recorded: 'made', here: 'not kept' },
    'the very same was compiled before, but its result was not kept',
  ],
  [{ what: 'feature', name: 'std', recorded: 'on', here: null }, 'feature std: was on, is off'],
  [{ what: 'codegen', name: 'opt-level', recorded: null, here: '3' }, '-C opt-level: was absent, is 3'],
  [{ what: 'cfg', name: 'backend', recorded: '"a"', here: '"b"' }, '--cfg backend: was "a", is "b"'],
  [{ what: 'option', name: '-D warnings', recorded: null, here: 'on' }, '-D warnings: was off, is on'],
  [{ what: 'variable', name: 'X', recorded: '', here: '(hidden)' }, 'variable X: was "", is (hidden)'],
  [{ what: 'absent', name: '/etc/x', recorded: null, here: 'there' }, 'path /etc/x: was absent, is there'],
  [{ what: 'out-dir', name: '<build>/a.rs', recorded: '1a', here: null }, 'generated <build>/a.rs: was 1a, is absent'],
  [{ what: 'toolchain', name: 'toolchain', recorded: 'aa', here: 'bb' }, 'toolchain: was aa, is bb'],
  [{ what: 'version', name: 'app', recorded: '0.1.0', here: '0.1.1' }, 'version: was 0.1.0, is 0.1.1'],
  [{ what: 'profile', name: 'profile', recorded: 'dev', here: 'release' }, 'profile: was dev, is release'],
  [
    { what: 'codegen', name: 'metadata', recorded: 'aa', here: 'bb' },
    'cargo counts it as another package or build: -C metadata: was aa, is bb',
  ],
  [{ what: 'environment', name: 'X', recorded: null, here: 'aa' }, 'variable X: was not set, is set (digest aa)'],
  [{ what: 'environment', name: 'X', recorded: '(hidden)', here: null }, 'variable X: was set (hidden), is not set'],
  [
    { what: 'environment', name: 'the environment as a whole', recorded: 'aa', here: 'bb' },
    'the environment as a whole: was aa, is bb',
  ],
  [{ what: 'of-tomorrow', name: 'x', recorded: 'aa', here: 'bb' }, 'of-tomorrow x: was aa, is bb'],
]

for (const [cause, text] of causes) {
  test(`why says: ${text}`, async (t) => {
    const { stdout } = await ask(
      t,
      { why: why({ ...unit, causes: [cause], because: [[step('app', 'bin', cause)]] }) },
      'app',
    )
    assert.deepEqual(stdout.split('\n').slice(0, 2), ['app (bin): compiled here', `  because  ${text}`])
  })
}

test('why asks for the crate in the last build, or in the one that is named', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const daemon = await fakeDaemon(paths.socket, { why: why(unit) })
  t.after(() => daemon.close())
  await shoal(['why', 'my-crate'], { home })
  await shoal(['why', 'my-crate', '--session', '2026'], { home })
  assert.deepEqual(
    daemon.requests.map(({ params }) => params),
    [
      { crate: 'my-crate', session: 'last' },
      { crate: 'my-crate', session: '2026' },
    ],
  )
})

test('why --json is the answer as it is, with its schema', async (t) => {
  const answer = { ...why({ ...unit, causes: [colour] }), added: 'later' }
  const { stdout } = await ask(t, { why: answer }, 'app', '--json')
  assert.deepEqual(JSON.parse(stdout), answer)
})

test('why ends with 2 for a name that is not there or none at all, and with 3 without a node', async (t) => {
  const refusal = new Refusal({ code: 'ERR_USAGE', message: 'nothing called ap', hint: 'Did you mean app?' })
  const unknown = await ask(t, { why: refusal }, 'ap')
  assert.deepEqual([unknown.code, unknown.stdout], [2, ''])
  assert.equal(unknown.stderr, 'error[ERR_USAGE]: nothing called ap\n  hint: Did you mean app?\n')
  const { home } = await temporaryHome(t)
  assert.equal((await shoal(['why'], { home })).code, 2)
  const down = await shoal(['why', 'app', '--json'], { home })
  assert.equal(down.code, 3)
  assert.equal(JSON.parse(down.stdout).error.code, 'ERR_DAEMON_DOWN')
})

async function ask(t: Parameters<typeof temporaryHome>[0], answers: Answers, ...args: string[]): Promise<Ran> {
  const { home, paths } = await temporaryHome(t)
  const daemon = await fakeDaemon(paths.socket, answers)
  t.after(() => daemon.close())
  return await shoal(['why', ...args], { home })
}
