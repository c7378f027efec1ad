import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import {
  actionEnvironment,
  entryText,
  holdsPassword,
  looksSecret,
  processEnvironment,
  readEnvironment,
  secretValues,
  tellsSecret,
} from '../../src/plan/environment.ts'

const cargo = new Map([
  ['PATH', '/bin'],
  ['HOME', '/home/a'],
  ['AWS_SECRET_ACCESS_KEY', 'canary'],
  ['COLOUR', 'red'],
])

test('only what cargo itself added belongs to an action', () => {
  const rustc = new Map([
    ...cargo,
    ['CARGO_PKG_NAME', 'x'],
    ['CARGO_MAKEFLAGS', '-j --jobserver-fds=8,9'],
    ['CARGO_PRIMARY_PACKAGE', '1'],
    ['LD_LIBRARY_PATH', '/t/lib'],
    ['OUT_DIR', '/t/out'],
    ['FROM_BUILD_SCRIPT', '1'],
    ['COLOUR', 'blue'],
  ])
  assert.deepEqual(actionEnvironment(rustc, cargo), {
    env: [
      ['CARGO_PKG_NAME', 'x'],
      ['COLOUR', 'blue'],
      ['FROM_BUILD_SCRIPT', '1'],
      ['OUT_DIR', '/t/out'],
    ],
    secrets: [],
  })
})

test('without a look at cargo only well-known names are taken', () => {
  const rustc = new Map([...cargo, ['CARGO_CRATE_NAME', 'x'], ['FROM_BUILD_SCRIPT', '1'], ['RUSTC_BOOTSTRAP', '1']])
  assert.deepEqual(actionEnvironment(rustc, undefined).env, [
    ['CARGO_CRATE_NAME', 'x'],
    ['RUSTC_BOOTSTRAP', '1'],
  ])
})

test('RUSTC_BOOTSTRAP counts whoever set it', () => {
  const env = new Map([['RUSTC_BOOTSTRAP', '1']])
  assert.deepEqual(actionEnvironment(env, env).env, [['RUSTC_BOOTSTRAP', '1']])
})

test('something like a secret is named, cargo metadata is not', () => {
  const rustc = new Map([...cargo, ['CARGO_PKG_AUTHORS', 'A'], ['DEPLOY_TOKEN', 'canary']])
  const { env, secrets } = actionEnvironment(rustc, cargo)
  assert.deepEqual([env, secrets], [[['CARGO_PKG_AUTHORS', 'A']], ['DEPLOY_TOKEN']])
  for (const name of ['GH_TOKEN', 'DB_PASSWORD', 'API_KEY', 'APIKEY', 'AWS_PROFILE', 'SESSION_COOKIE', 'AUTH_HEADER']) {
    assert.ok(looksSecret(name), name)
  }
  for (const name of [
    'DB_PASS',
    'PASS',
    'SMTP_PASS_2',
    'APP_PASSCODE',
    'SSHKEY',
    'ENCRYPTION_KEYS',
    'SIGNING_KEY_PEM',
    'JWT',
  ])
    assert.ok(looksSecret(name), name)
  for (const name of [
    'GITHUB_SHA',
    'GITHUB_REF_NAME',
    'AWS_REGION',
    'AWS_DEFAULT_REGION',
    'CARGO_PKG_AUTHORS',
    'AUTHOR',
    'PASSENGERS',
    'OUT_DIR',
    'BYPASS_CACHE',
    'COMPASS',
    'KEYBOARD',
    'MONKEY',
  ])
    assert.ok(!looksSecret(name), name)
  for (const program of ['api_key', 'token', 'pass']) assert.ok(!looksSecret(`CARGO_BIN_EXE_${program}`), program)
  for (const feature of ['COOKIES', 'TOKEN', 'AUTH']) assert.ok(!looksSecret(`CARGO_FEATURE_${feature}`), feature)
})

test('values that are not UTF-8 differ where their bytes do, in a frame and in what the system tells', async () => {
  const [one, other] = ['ODD=a\xff', 'ODD=a\xfe'].map((entry) => Buffer.from(entry, 'latin1'))
  assert.ok(one && other)
  assert.notEqual(entryText(one), entryText(other))
  assert.equal(entryText(Buffer.from('PLAIN=ä\ufffd=')), 'PLAIN=ä\ufffd=')
  assert.equal(entryText(Buffer.from('\xff', 'latin1')), '\ufffdff')
  const child = spawn('sh', ['-c', "export ODD=$(printf 'a\\377'); exec sleep 60"], { env: { PLAIN: 'ä' } })
  try {
    // Until sh has become sleep it has the environment that it was given.
    let seen: string | undefined
    for (let tries = 0; tries < 500 && seen === undefined; tries++) {
      await delay(10)
      const env = await processEnvironment(child.pid ?? 0)
      assert.ok(env?.get('PLAIN') === 'ä' || env?.size === 0)
      seen = env.get('ODD')
    }
    assert.equal(`ODD=${seen}`, entryText(one))
  } finally {
    child.kill()
  }
})

test('the first of two equal names counts, as getenv() sees it', () => {
  assert.deepEqual(
    [...readEnvironment(['A=1', 'A=2', '=x', 'B', 'C=a=b'])],
    [
      ['A', '1'],
      ['C', 'a=b'],
    ],
  )
})

test('a secret is one wherever it turns up', () => {
  const variables = new Map([
    ['GITHUB_TOKEN', 'ghp_0123456789'],
    ['PGPASSWORD', 'postgres'],
    ['SIGNING_KEY', 'c2lnbmluZw0123456789\n'],
    ['DATABASE_URL', 'sqlite::memory:'],
    ['SSH_KEY', '/home/me/.ssh/work'],
    ['HTTPS_PROXY', 'http://me:pass@proxy:3128/'],
    ['GITHUB_REPOSITORY', 'me/my-project'],
    ['SSH_AUTH_SOCK', '/tmp/ssh-agent.sock'],
    ['CARGO_PKG_DESCRIPTION', 'tokens and secrets'],
  ])
  const tells = (argv: string[], env: [string, string][] = []): boolean => tellsSecret(argv, env, variables)
  for (const argv of [
    ['--cfg', 'by="ghp_0123456789"'],
    ['--cfg', 'api_token="x"'],
    ['--cfg=my_password = "x"'],
    ['-L', 'native=/x/https://me:pass@host/'],
  ]) {
    assert.ok(tells(argv), argv.join(' '))
  }
  assert.ok(tells([], [['INFO', 'built with ghp_0123456789']]))
  assert.ok(tells([], [['INFO', 'signed with c2lnbmluZw0123456789']]))
  assert.deepEqual(secretValues(variables), ['ghp_0123456789', 'c2lnbmluZw0123456789', 'http://me:pass@proxy:3128/'])
  assert.ok(!tells(['-L', 'native=/home/me/.ssh/work']))
  assert.ok(tells([], [['CARGO_PKG_REPOSITORY', 'https://me:pass@host/repository']]))
  const harmless = [
    '--cfg',
    'feature="postgres"',
    '--cfg',
    'tokio_unstable',
    '-L',
    'dependency=\0deps\0',
    '-C',
    'metadata=0123',
  ]
  assert.ok(
    !tells(harmless, [
      ['CARGO_PKG_REPOSITORY', 'https://github.com/me/my-project'],
      ['OUT_DIR', '\0build\0'],
    ]),
  )
})

test('a key of a well-known form is one whatever it is called', () => {
  const digits = '0123456789abcdefghijABCDEFGHIJ0123456789'
  for (const text of [
    `built with ghp_${digits}`,
    `github_pat_${digits}`,
    `{"key":"AKIA${digits.slice(0, 10).toUpperCase()}ABCDEF"}`,
    `xoxb-${digits}`,
    `sk_live_${digits}`,
    `cio${digits.slice(0, 32)}`,
    `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.${digits}`,
    '-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl',
    `https://${digits}@dev.company.com/crates`,
  ])
    assert.ok(holdsPassword(text), text)
  for (const text of [
    'ssh://git@github.com/me/project',
    'https://github.com/me/project',
    'https://crates.io/~user/@scope',
    '\0registry\0/index.crates.io-1949cf8c6b5b557f/serde-1.0.228',
    digits,
    '-----BEGIN CERTIFICATE-----',
    'sk-learn',
  ])
    assert.ok(!holdsPassword(text), text)
})
