import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { shoal, temporaryHome } from './shoal.ts'

const wrong = [
  { args: ['staus'], text: /^error\[ERR_USAGE\]: unknown command 'staus'\n {2}hint: Did you mean status\?\n$/ },
  {
    args: ['status', '--jsn'],
    text: /^error\[ERR_USAGE\]: unknown option '--jsn'\n {2}hint: Did you mean --json\?\n$/,
  },
  { args: ['join', '-'], text: /^error\[ERR_USAGE\]: no link on standard input\n {2}hint: See `shoal --help`\.\n$/ },
  { args: ['status', 'extra'], text: /^error\[ERR_USAGE\]: too many arguments/ },
  {
    args: ['invite', '--uses', 'x'],
    text: /^error\[ERR_USAGE\]: unknown option '--uses'\n {2}hint: See `shoal invite --help`\.\n$/,
  },
  {
    args: ['rekey', 'now'],
    text: /^error\[ERR_USAGE\]: too many arguments for 'rekey'.*\n {2}hint: See `shoal rekey --help`\.\n$/,
  },
]

for (const { args, text } of wrong) {
  test(`shoal ${args.join(' ')} is wrong usage: exit code 2 and a hint`, async (t) => {
    const { home } = await temporaryHome(t)
    const { code, stdout, stderr } = await shoal(args, { home })
    assert.equal(code, 2)
    assert.equal(stdout, '')
    assert.match(stderr, text)
  })
}

test('shoal alone shows its help on standard error and exits with 2; --help succeeds', async (t) => {
  const { home } = await temporaryHome(t)
  const alone = await shoal([], { home })
  assert.equal(alone.code, 2)
  const help = await shoal(['--help'], { home })
  assert.equal(help.code, 0)
  assert.equal(help.stdout, alone.stderr)
  assert.deepEqual(await shoal(['help'], { home }), help)
  assert.match((await shoal(['help', 'join'], { home })).stdout, /^Usage: shoal join /)
  const none = await shoal(['help', 'nonsense'], { home })
  assert.equal(none.code, 2)
  assert.match(none.stderr, /error\[ERR_USAGE\]: unknown command\n/)
  for (const command of [
    'init',
    'approve',
    'up',
    'down',
    'env',
    'invite',
    'join',
    'peers',
    'kick',
    'promote',
    'rename',
    'leave',
    'pause',
    'resume',
    'status',
    'build',
    'report',
    'cache',
    'demo',
  ]) {
    assert.match(help.stdout, new RegExp(`^ {2}${command} `, 'm'))
  }
})

test('the program runs as a process, under the name of the package and of the cargo command', async (t) => {
  const { home } = await temporaryHome(t)
  const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
  const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'))
  for (const args of [['--version'], ['shoal', '--version']]) {
    const { stdout } = await promisify(execFile)(process.execPath, [main, ...args], { env: { SHOAL_HOME: home } })
    assert.equal(stdout, `${version}\n`)
  }
})
