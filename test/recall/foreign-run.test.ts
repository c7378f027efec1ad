import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Read, ReadSet } from '../../src/plan/action.ts'
import type { ScriptEntry, ScriptResult } from '../../src/plan/script-action.ts'
import { formForOthers, isRunForOthers, mayBeTold, objectionTo } from '../../src/recall/foreign-run.ts'
import { shellsDigest } from '../../src/recall/script-evidence.ts'
import { content } from './support.ts'

const looked = (reads: Read[] = [], env: ReadSet['env'] = []): ReadSet =>
  formForOthers(
    {
      reads: [
        ['sorts', '', content('sorts')],
        ['environ', 'session', content('session')],
        ['file', '\0registry\0/fish-1.0.0/c/fish.c', content('c')],
        ['file', '/usr/include/stddef.h', content('h')],
        ['program', 'cc', content('cc')],
        ...reads,
      ],
      env,
    },
    'Linux 6.1.0 x86_64',
  )
const variables = new Map([
  ['HOME', '/home/ann'],
  ['SSH_AUTH_SOCK', '/tmp/ssh'],
])

test('what holds for one place, or tells of who sits there, is not told to others', () => {
  const told: [what: string, set: ReadSet][] = [
    ['nothing of it', looked()],
    ['shells', looked([['environ', 'shells', content('shells')]])],
    [
      'variables of the build',
      looked(
        [],
        [
          ['NUM_JOBS', '4'],
          ['RUSTC_WRAPPER', 'shoal'],
          ['CARGO', '\0toolchain\0/bin/cargo'],
          ['CFLAGS', '-O2'],
        ],
      ),
    ],
    ['that one of a person is not set', looked([], [['HOSTNAME', null]])],
  ]
  for (const [what, set] of told) assert.equal(mayBeTold(set, variables), true, what)
  const kept: [what: string, set: ReadSet, env?: [string, string][]][] = [
    ['where it lies', looked([['bound', 'build', content('bound')]])],
    ['times', looked([['sorts', 'times', content('times')]])],
    ['a person’s variable', looked([], [['HOME', '/home/ann']])],
    ['the way to programs', looked([], [['PATH', '/home/ann/bin:/bin']])],
    ['another wrapper', looked([], [['RUSTC_WRAPPER', '/home/ann/bin/w']])],
    ['another cargo', looked([], [['CARGO', '/home/ann/bin/cargo']])],
    ['what the machine is called', looked([], [['gethostname()', 'pike']])],
    ['its system', looked([], [['uname()', 'Linux pike']])],
    ['users', looked([['file', '/etc/passwd', content('passwd')]])],
    ['users, by a detour', looked([['file', '/etc/x/../group', content('group')]])],
    ['a process', looked([['file', '/proc/self/status', content('status')]])],
    ['a home', looked([['file', '/home/ann/.gitconfig', content('git')]])],
    ['a whole tree', looked([['tree', '\0registry\0/fish', content('tree')]])],
    ['an environment of compiles', looked([['environ', '', content('all')]])],
    ['a secret in the environment', looked(), [['FISH_TOKEN', 'x']]],
    ['an address with a password', looked(), [['INDEX', 'https://ann:word@example.org']]],
  ]
  for (const [what, set, env = []] of kept) assert.equal(mayBeTold(set, new Map([...variables, ...env])), false, what)
  // Nor is it held against this machine: without these it would hold nearly everywhere.
  const { reads, env } = looked()
  assert.equal(isRunForOthers({ reads, env }), true)
  assert.equal(isRunForOthers({ reads, env: [] }), false)
  for (const missing of ['sorts', 'environ'])
    assert.equal(isRunForOthers({ reads: reads.filter(([kind]) => kind !== missing), env }), false)
})

test('the environment as a whole is the same on two machines that are called otherwise', () => {
  const of = (more: [string, string][]): string =>
    shellsDigest({ env: new Map([['A', '1'], ...more]), roots: [] }).toString()
  const here = of([
    ['gethostname()', 'pike'],
    ['uname()', 'Linux pike'],
    ['kernel()', 'Linux 6.1'],
  ])
  assert.equal(here, of([]))
  assert.notEqual(here, of([['B', '']]))
})

const times = { mtime: null, age: 0 }
const dir = (path: string, mode = 0o755): ScriptEntry => ({ kind: 'dir', path, mode, ...times })
const file = (path: string, change: Partial<Extract<ScriptEntry, { kind: 'file' }>> = {}): ScriptEntry => ({
  kind: 'file',
  path,
  mode: 0o644,
  cid: content(path),
  size: 3,
  named: false,
  ...times,
  ...change,
})
const link = (path: string, to: string): ScriptEntry => ({ kind: 'link', path, to, ...times })

function objection(entries: ScriptEntry[], said: Partial<ScriptResult> = {}): string | undefined {
  const nothing = new Uint8Array()
  const result: ScriptResult = {
    v: 2,
    action: content('key'),
    entries,
    stdout: nothing,
    stderr: nothing,
    wallMs: 1,
    ...said,
  }
  return objectionTo(result, { umask: 0o22, roots: [{ name: 'build', path: '/ws/target/out' }] })
}

test('what others say that a script left is put in place only where all of it lies within and leads nowhere else', () => {
  const usual = [dir('d'), file('d/x'), link('d/l', '../x.pc'), link('k', 'd/x'), link('up/../k', 'x')].slice(0, 4)
  assert.equal(objection([...usual, file('x.pc', { named: true }), file('run', { mode: 0o755 })]), undefined)
  assert.equal(objection([], { stdout: Buffer.from('cargo::rustc-link-search=\0build\0') }), undefined)
  const refused: [what: string, entries: ScriptEntry[]][] = [
    ['through a link', [link('l', 'd'), file('l/x')]],
    ['through a file', [file('f'), file('f/x')]],
    ['in no directory', [file('d/x')]],
    ['before its directory', [file('d/x'), dir('d')]],
    ['twice', [file('x'), file('x')]],
    ['a link out', [link('l', '../x')]],
    ['a link out of a directory', [dir('d'), link('d/l', '../../x')]],
    ['a link out, later', [link('l', 'd/../../x')]],
    ['a link by another link', [link('a', 'd/..')]],
    ['an absolute link', [link('l', '/etc/passwd')]],
    ['an empty link', [link('l', '')]],
    ['set-user-ID', [file('x', { mode: 0o4755 })]],
    ['writable for all', [file('x', { mode: 0o666 })]],
    ['a directory that cannot be removed', [dir('d', 0o500)]],
    ['a file that cannot be read', [file('x', { mode: 0o200 })]],
    ['roots in what is no text for them', [file('x.h', { named: true })]],
    ['too much', [file('x', { size: 200 << 20 }), file('y', { size: 57 << 20 })]],
    ['too many', Array.from({ length: 40_001 }, (_, at) => file(`${at}`))],
  ]
  for (const [what, entries] of refused) assert.notEqual(objection(entries), undefined, what)
  const odd = [Buffer.from([0xff]), Buffer.from('a\0nowhere\0'), Buffer.from('a\0')]
  for (const stdout of odd) assert.equal(objection([], { stdout }), 'what it said is no text')
})

test('what others have a script say is shown only if no terminal would obey it', () => {
  const said = (text: string): Partial<ScriptResult>[] => [{ stdout: Buffer.from(text) }, { stderr: Buffer.from(text) }]
  const plain = 'cargo::warning=\u001b[1m\u001b[33mold\u001b[0m\tcompiler, größer\ncargo::rustc-cfg=fish\n'
  for (const one of said(plain)) assert.equal(objection([], one), undefined)
  const obeyed = ['\u001b[2J', '\u001b]0;title\u0007', '\u001b[8mhidden', '\u009b2J', 'ok\rbad', 'a\b', '\u202egnp.exe']
  for (const word of obeyed) {
    for (const one of said(`cargo::warning=${word}\n`))
      assert.equal(objection([], one), 'a terminal would obey what it said', JSON.stringify(word))
    assert.equal(objection([file(`x${word}`)]), 'a terminal would obey a name', JSON.stringify(word))
  }
})
