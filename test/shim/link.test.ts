import assert from 'node:assert/strict'
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Bench, type Ended, type Peer, type TestDaemon } from './support.ts'

let bench: Bench
before(async () => {
  bench = await Bench.create()
})
after(() => bench.remove())
afterEach(() => bench.reset())

/** A shim that is told to run this script as its linker, in a directory as a daemon makes it. */
async function link(script: string, seconds = 60): Promise<{ daemon: TestDaemon; peer: Peer; ended: Promise<Ended> }> {
  const linker = await bench.write('linker', `#!/bin/sh\n${script}\n`)
  await chmod(linker, 0o755)
  const daemon = await bench.listen()
  const program = await bench.script('echo rustc')
  // Where nobody wants cores, that a linker leaves none would say nothing.
  const withCores = ['-c', 'ulimit -S -c "$(ulimit -H -c)"; exec "$@"', 'sh']
  const { ended } = bench.spawn('/bin/sh', [...withCores, bench.shim, program, ...bench.lib()], {})
  const { peer } = await daemon.greet()
  const dir = join(bench.out, '.shoal-0123456789abcdef')
  await mkdir(join(dir, 'notes-0'), { recursive: true })
  await mkdir(join(dir, '0'))
  await writeFile(join(dir, '0/0.o'), 'object')
  peer.send({ type: 'link', dir: join(dir, 'notes-0'), observer: '', program: linker, args: [], path: [], seconds })
  return { daemon, peer, ended }
}

/** As the kernel says it; undefined when it is gone. */
async function stateOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined)
  return stat?.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3)
}

/** The process whose number lies there has ended, or is about to. */
async function hasEnded(file: string): Promise<void> {
  const pid = Number(await readFile(join(bench.workspace, file), 'utf8'))
  assert.ok(pid > 1)
  for (let state = await stateOf(pid); state !== undefined && state !== 'Z'; state = await stateOf(pid)) await delay(5)
}

test('a linker has its share of processor time, and no more', async () => {
  const { peer } = await link('ulimit -S -t')
  const { code, stdout } = await peer.expect('linked')
  assert.equal(code, 0)
  assert.match(Buffer.from(stdout).toString(), /^1200\n/)
})

test('a linker may write so much, and no more', async () => {
  const { peer, ended } = await link('ulimit -S -f; exec truncate -s 8589934593 "$0.out"')
  const { code, stdout } = await peer.expect('linked')
  assert.equal(Number(Buffer.from(stdout).toString()) * 512, 8 * 1024 ** 3)
  assert.equal(code, -constants.signals.SIGXFSZ)
  // That is its end, and then rustc makes the unit.
  peer.send({ type: 'refuse', reason: 'the linker' })
  assert.deepEqual([(await ended).code, (await ended).stdout.toString()], [0, 'rustc\n'])
})

test('a linker that crashes leaves no core', async () => {
  const { peer } = await link('ulimit -S -c')
  const { stdout } = await peer.expect('linked')
  assert.equal(Buffer.from(stdout).toString(), '0\n')
})

const timeout = 60_000
for (const [what, script] of [
  ['is killed with what it has started', '(sleep 1000 & echo $! >orphan; wait) & wait'],
  ['is killed with what has lost its parent and holds its streams', '(sleep 1000 & echo $! >orphan); exec sleep 1000'],
  ['is killed when it says that it says no more', 'sleep 1000 & echo $! >orphan; exec >&- 2>&-; exec sleep 1000'],
  ['is killed with what has left its session', '(setsid sleep 1000 & echo $! >orphan); exec sleep 1000'],
  ['and is gone itself takes with it what holds its streams', 'sleep 1000 & echo $! >orphan; exit 0'],
] as const)
  test(`a linker that does not end in time ${what}`, { timeout }, async () => {
    const { peer } = await link(script, 1)
    const { code, truncated, stdout } = await peer.expect('linked')
    assert.deepEqual([code, truncated, stdout.length], [-9, false, 0])
    await hasEnded('orphan')
  })

test('what a linker that has ended leaves behind runs on', { timeout }, async () => {
  const { peer, ended } = await link('sleep 1000 >/dev/null 2>&1 & echo $! >server; echo made', 30)
  const { code, stdout } = await peer.expect('linked')
  assert.deepEqual([code, Buffer.from(stdout).toString()], [0, 'made\n'])
  const server = Number(await readFile(join(bench.workspace, 'server'), 'utf8'))
  try {
    assert.match((await stateOf(server)) ?? '', /[SR]/)
    peer.send({ type: 'refuse', reason: 'as a test' })
    assert.equal((await ended).code, 0)
    assert.match((await stateOf(server)) ?? '', /[SR]/)
  } finally {
    process.kill(server, 'SIGKILL')
  }
})

test('a daemon that goes while a linker runs leaves nothing in the target directory', async () => {
  const { peer, daemon, ended } = await link('exit 0')
  await peer.expect('linked')
  await daemon.close()
  assert.equal((await ended).code, 0)
  assert.deepEqual(await readdir(bench.out), [])
})

test('nor does one that refuses after that', async () => {
  const { peer, ended } = await link('exit 1')
  await peer.expect('linked')
  peer.send({ type: 'refuse', reason: 'as a test' })
  assert.equal((await ended).code, 0)
  assert.deepEqual(await readdir(bench.out), [])
})
