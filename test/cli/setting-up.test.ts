import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { processRuns } from '../../src/cli/process.ts'
import { fakeDaemon } from './fake-daemon.ts'
import { shoal, temporaryHome } from './shoal.ts'

const execute = promisify(execFile)

test('env prints export lines that a shell reads back exactly', async (t) => {
  const { home } = await temporaryHome(t)
  const odd = join(home, `it's $HOME "quoted" \`x\``)
  const bin = join(odd, 'state/bin')
  await mkdir(bin, { recursive: true })
  await writeFile(join(bin, 'shoal-rustc'), '')
  await chmod(join(bin, 'shoal-rustc'), 0o755)

  const { code, stdout, stderr } = await shoal(['env'], { home: odd })
  assert.equal(code, 0, stderr)
  for (const line of stdout.trimEnd().split('\n')) assert.match(line, /^export [A-Z_]+='.*'$/)
  const show = 'printf "%s\\n" "$RUSTC_WRAPPER" "$SHOAL_SOCKET" "$SHOAL_HOME"'
  const shell = await execute('sh', ['-c', `eval "$1"\n${show}`, 'sh', stdout], { env: {} })
  assert.deepEqual(shell.stdout.trimEnd().split('\n'), [join(bin, 'shoal-rustc'), join(odd, 'run/shoal.sock'), odd])
})

test('env without a shim says what to do and exports nothing', async (t) => {
  const { home } = await temporaryHome(t)
  const { code, stdout, stderr } = await shoal(['env'], { home })
  assert.equal(code, 1)
  assert.equal(stdout, '')
  assert.match(stderr, /^error\[ERR_SHIM_BUILD\]: .*\n {2}hint: Run `shoal init`/)
})

test('init hands its options to the daemon program and lists what was written', async (t) => {
  const { home } = await temporaryHome(t)
  const plain = await shoal(['init', '--open-lan'], { home })
  assert.equal(plain.code, 0, plain.stderr)
  assert.match(plain.stdout, /belongs to the mesh office\./)
  assert.match(plain.stdout, /^ {2}wrote \/state\/identity$/m)
  assert.match(plain.stdout, /^The mesh is open/m)

  const json = await shoal(['init', '--name', 'anna', '--mesh', 'office', '--json'], { home })
  const { schema, request } = JSON.parse(json.stdout)
  assert.equal(schema, 1)
  assert.deepEqual(request, { action: 'init', name: 'anna', meshName: 'office', openLan: false })
})

test('what init says is next depends on whether the node runs, and whether this machine is a member', async (t) => {
  const { home, paths } = await temporaryHome(t)
  assert.match((await shoal(['init'], { home })).stdout, /^Next: `shoal up` starts the node/m)
  const env = { SHOAL_FAKE_OBJECTION: 'its key was shut out' }
  const outside = await shoal(['init'], { home, env })
  assert.match(outside.stdout, /^It is no member of that any more: its key was shut out\.\nNext: `shoal join LINK`/m)
  const daemon = await fakeDaemon(paths.socket, {})
  t.after(() => daemon.close())
  const running = (await shoal(['init'], { home })).stdout
  assert.match(running, /^The node is running: `shoal build`/m)
  assert.doesNotMatch(running, /shoal up/)
  assert.match((await shoal(['init'], { home, env })).stdout, /^Next: `shoal down`, then `shoal join LINK`/m)
})

test('join takes a link as an argument or from standard input', async (t) => {
  const { home } = await temporaryHome(t)
  const link = 'shoal1:abc'
  for (const ran of [
    await shoal(['join', link, '--json'], { home }),
    await shoal(['join', '-', '--json'], { home, stdin: `${link}\n` }),
  ]) {
    assert.equal(ran.code, 0, ran.stderr)
    assert.deepEqual(JSON.parse(ran.stdout).request, { action: 'join', link })
  }
})

test('join refuses what is no invitation without starting anything', async (t) => {
  const { home } = await temporaryHome(t)
  for (const link of ['http://example.com', 'shoal2:abc', `shoal1:${'x'.repeat(10_000)}`]) {
    const ran = await shoal(['join', link], { home })
    assert.equal(ran.code, 7)
    assert.match(ran.stderr, /^error\[ERR_INVITE\]: /)
  }
})

test('up starts a node that answers, says so again when it runs, and down ends it', async (t) => {
  const { home } = await temporaryHome(t)
  const up = await shoal(['up'], { home })
  assert.equal(up.code, 0, up.stderr)
  const status = await shoal(['status', '--json'], { home })
  const { pid } = JSON.parse(status.stdout).node
  t.after(async () => {
    if (await processRuns(pid)) process.kill(pid, 'SIGKILL')
  })
  assert.ok(up.stdout.includes(`process ${pid}`), up.stdout)

  const again = await shoal(['up'], { home })
  assert.deepEqual([again.code, again.stdout], [0, 'The node is already running.\n'])

  const down = await shoal(['down'], { home })
  assert.deepEqual([down.code, down.stdout], [0, 'The node has stopped.\n'])
  assert.equal(await processRuns(pid), false)
  assert.deepEqual(await shoal(['down'], { home }), { code: 0, stdout: 'The node is not running.\n', stderr: '' })
})

test('up tells why a node stopped at once, with its code', async (t) => {
  const { home, paths } = await temporaryHome(t)
  await mkdir(paths.state, { recursive: true })
  await writeFile(paths.log, 'error[ERR_NO_MESH]: of an earlier start\n')
  const { code, stderr } = await shoal(['up'], { home, env: { SHOAL_FAKE_FAILURE: '1' } })
  assert.equal(code, 5)
  assert.equal(stderr, 'error[ERR_CONFIG]: config.toml: slots: too many\n  hint: Use fewer.\n')
  assert.match(await readFile(paths.log, 'utf8'), /of an earlier start/)
})

test('init --recover hands over the phrase that it is told, in one line or several, and says none of it', async (t) => {
  const { home } = await temporaryHome(t)
  const words = Array.from({ length: 24 }, (_, at) => `word${at}`)
  const piped = await shoal(['init', '--recover', '--member', '/ip4/10.0.0.1/tcp/1', '--json'], {
    home,
    stdin: words.join(' '),
  })
  const { request } = JSON.parse(piped.stdout)
  assert.deepEqual(request, { action: 'recover', phrase: words.join(' '), members: ['/ip4/10.0.0.1/tcp/1'] })
  const lines = [0, 6, 12, 18].map((at) => words.slice(at, at + 6).join(' '))
  const typed = await shoal(['init', '--recover', '--json'], { home, stdin: `${lines.join('\n')}\n`, terminal: true })
  assert.equal(JSON.parse(typed.stdout).request.phrase, words.join(' '))
  assert.ok(!typed.stderr.includes('word3'))
  assert.equal((await shoal(['init', '--recover'], { home })).code, 2)
  assert.equal((await shoal(['init', '--recover', '--forget-root'], { home, stdin: words.join(' ') })).code, 2)
  assert.equal((await shoal(['init', '--member', '/ip4/10.0.0.1/tcp/1'], { home })).code, 2)
})
