import assert from 'node:assert/strict'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fakeDaemon, Refusal } from './fake-daemon.ts'
import { shoal, statusAnswer, temporaryHome } from './shoal.ts'

const report = {
  session: 's1',
  over: true,
  cwd: '/w',
  startedAt: '2026-03-01T09:00:00.000Z',
  wallMs: 10,
  totals: { 'recalled-here': 30, 'recalled-mesh': 1, 'compiled-here': 20, 'compiled-mesh': 60, 'passed-through': 2 },
  bytesIn: 0,
  bytesOut: 0,
  fallbacks: 0,
  peers: [
    { name: 'b', compiled: 60, recalled: 0, ms: 1 },
    { name: 'c', compiled: 0, recalled: 1, ms: 1 },
  ],
  units: Array.from({ length: 113 }, () => {
    return { crate: 'x', kind: 'lib', outcome: 'recalled-here', where: 'here', reason: '', ms: 1 }
  }),
}

/** A cargo that writes down how it was called. */
async function withCargo(t: TestContext, end = 'exit 0') {
  const { home, paths } = await temporaryHome(t)
  const bin = join(home, 'fake-bin')
  await mkdir(bin, { recursive: true })
  await mkdir(paths.shimDir, { recursive: true })
  const script = `#!/bin/sh
{ echo "pid $$"; echo "wrapper $RUSTC_WRAPPER"; for a in "$@"; do echo "arg $a"; done; } > "${home}/called"
${end}
`
  for (const file of [join(bin, 'cargo'), join(paths.shimDir, 'shoal-rustc')]) {
    await writeFile(file, script)
    await chmod(file, 0o755)
  }
  const env = { PATH: `${bin}:${process.env.PATH}` }
  const called = async (): Promise<string[]> => (await readFile(join(home, 'called'), 'utf8')).trimEnd().split('\n')
  return { home, paths, env, called }
}

test('build runs cargo with the shim, settles the session of its process and closes with one line', async (t) => {
  const { home, paths, env, called } = await withCargo(t)
  const daemon = await fakeDaemon(paths.socket, { status: statusAnswer, 'session-settle': report })
  t.after(() => daemon.close())

  const ran = await shoal(['build', '+nightly', '--release', '-p', 'x', '--help'], { home, env })
  assert.equal(ran.code, 0, ran.stderr)
  const [pid, ...rest] = await called()
  const args = ['+nightly', 'build', '--release', '-p', 'x', '--help'].map((arg) => `arg ${arg}`)
  assert.deepEqual(rest, [`wrapper ${join(paths.shimDir, 'shoal-rustc')}`, ...args])
  assert.deepEqual(daemon.requests.at(-1), { method: 'session-settle', params: { pid: Number(pid?.slice(4)) } })
  assert.match(ran.stderr, /^113 units: 61 from the mesh \(2 peers\), 30 recalled, 22 here - \d+ ms\n$/)
  assert.equal(ran.stdout, '')
})

test("build ends with cargo's exit code, also when the daemon has nothing to say", async (t) => {
  const { home, paths, env } = await withCargo(t, 'exit 101')
  const daemon = await fakeDaemon(paths.socket, {
    status: statusAnswer,
    'session-settle': new Refusal({ code: 'ERR_STORE', message: 'broken' }),
  })
  t.after(() => daemon.close())
  const ran = await shoal(['build'], { home, env })
  assert.equal(ran.code, 101)
  assert.equal(ran.stderr, 'shoal: no report: broken\n')
})

test('build says nothing when cargo asked for nothing', async (t) => {
  const { home, paths, env } = await withCargo(t)
  const daemon = await fakeDaemon(paths.socket, { status: statusAnswer, 'session-settle': null })
  t.after(() => daemon.close())
  assert.deepEqual(await shoal(['build'], { home, env }), { code: 0, stdout: '', stderr: '' })
})

test('build without a node is plain cargo', async (t) => {
  const { home, env, called } = await withCargo(t, 'exit 3')
  const ran = await shoal(['build', '--release'], { home, env })
  assert.equal(ran.code, 3)
  assert.match(ran.stderr, /^shoal: the node is not running .*plain cargo\n$/)
  assert.deepEqual((await called()).slice(1), ['wrapper ', 'arg build', 'arg --release'])
})

test('build with SHOAL=off is plain cargo, and silent', async (t) => {
  const { home, paths, env, called } = await withCargo(t)
  const daemon = await fakeDaemon(paths.socket, { status: statusAnswer })
  t.after(() => daemon.close())
  const ran = await shoal(['build'], { home, env: { ...env, SHOAL: 'off' } })
  assert.deepEqual(ran, { code: 0, stdout: '', stderr: '' })
  assert.deepEqual((await called()).slice(1), ['wrapper ', 'arg build'])
  assert.deepEqual(daemon.requests, [])
})

test('build of a cargo that a signal ended exits as a shell would say', async (t) => {
  const { home, env } = await withCargo(t, 'kill -9 $$')
  assert.equal((await shoal(['build'], { home, env })).code, 137)
})

test('build without cargo says how to get one', async (t) => {
  const { home } = await temporaryHome(t)
  const ran = await shoal(['build'], { home, env: { PATH: home } })
  assert.equal(ran.code, 1)
  assert.match(ran.stderr, /error\[ERR_TOOLCHAIN\]: cargo is not installed\n {2}hint: See https:\/\/rustup.rs\n$/)
})
