import assert from 'node:assert/strict'
import { chmod, copyFile, mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { readObservations } from '../../src/plan/observation.ts'
import { localVersion } from '../../src/wire/local.ts'
import type { ScriptFrame } from '../../src/wire/local-frames.ts'
import { keptObserver } from '../support/programs.ts'
import { onlyWhereItRuns } from './observer/support.ts'
import { Bench, type Peer, rustc, type Started, type TestDaemon } from './support.ts'

let bench: Bench
let observer: string
before(async () => {
  bench = await Bench.create()
  observer = (await keptObserver(rustc, join(bench.dir, 'bin')))?.path ?? ''
})
after(() => bench.remove())
afterEach(() => bench.reset())

const outDir = (): string => join(bench.workspace, 'x/out')
const notes = (): string => join(bench.workspace, 'notes')

/** A launcher of this shell script, started as cargo starts it. */
async function start(script: string, env: Record<string, string> = {}, fds: number[] = []): Promise<Started> {
  const launcher = join(bench.workspace, 'x/build-script-build')
  await mkdir(outDir(), { recursive: true })
  await copyFile(bench.shim, launcher)
  const real = join(dirname(launcher), 'build-script.real')
  await writeFile(real, `#!/bin/sh\n${script}\n`)
  await chmod(real, 0o755)
  const cargo = { TARGET: 't', HOST: 't', PROFILE: 'debug', RUSTC: rustc, CARGO_MANIFEST_DIR: bench.workspace }
  return bench.spawn(launcher, [], { env: { ...cargo, CARGO_CFG_TARGET_ARCH: 'x', OUT_DIR: outDir(), ...env }, fds })
}

async function greet(daemon: TestDaemon): Promise<{ peer: Peer; asked: ScriptFrame }> {
  const peer = await daemon.accept()
  await peer.expect('hello')
  const asked = await peer.expect('script')
  peer.send({ type: 'welcome', version: localVersion })
  return { peer, asked }
}

/** Not a process that nobody has asked after since it ended. */
async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat !== '' && stat.charAt(stat.lastIndexOf(')') + 2) !== 'Z'
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

describe('a launcher', onlyWhereItRuns, () => {
  test('asks nobody unless cargo started it and a node wants to be asked', async () => {
    const daemon = await bench.listen()
    const plain = async (env: Record<string, string> = {}): Promise<void> => {
      const started = await start('echo $$', env)
      assert.equal((await started.ended).stdout.toString(), `${started.pid}\n`)
    }
    await bench.announce()
    await plain()
    await bench.announce('launch')
    for (const env of [{ SHOAL: 'off' }, { OUT_DIR: '' }, { TARGET: '' }, { SHOAL_OBSERVE: '/x' }]) await plain(env)
    assert.equal(daemon.accepted, 0)
  })

  test('asks nobody when the script has a file open that somebody else has opened', async () => {
    const daemon = await bench.listen()
    await bench.announce('launch')
    const handle = await open(new URL(import.meta.url))
    try {
      const started = await start('cat <&3 | head -n 1', {}, [handle.fd])
      assert.match((await started.ended).stdout.toString(), /^import /)
    } finally {
      await handle.close()
    }
    assert.equal(daemon.accepted, 0)
  })

  test('becomes the script when the node refuses, goes, or says something else', async () => {
    await bench.announce('launch')
    const daemon = await bench.listen()
    const answers: ((peer: Peer) => void)[] = [
      (peer) => peer.send({ type: 'refuse', reason: 'no' }),
      (peer) => peer.leave(),
      (peer) => peer.send({ type: 'exit', code: 0 }),
      (peer) => peer.send({ type: 'watch', observer: 'relative', dir: notes(), wrapper: '' }),
      (peer) => peer.send({ type: 'watch', observer: join(bench.dir, 'none.so'), dir: notes(), wrapper: '' }),
      // There is no such directory.
      (peer) => peer.send({ type: 'recalled', stdout: Buffer.from('never'), stderr: Buffer.alloc(0) }),
    ]
    for (const answer of answers) {
      const started = await start('echo $$ $SHOAL_OBSERVE; exit 4')
      const { peer, asked } = await greet(daemon)
      assert.equal(text(asked.program), join(bench.workspace, 'x/build-script.real'))
      assert.equal(text(asked.cwd), bench.workspace)
      assert.ok(asked.env.some((entry) => text(entry) === `OUT_DIR=${outDir()}`))
      assert.equal(asked.umask, process.umask())
      assert.equal(dirname(text(asked.spare)), dirname(outDir()))
      if (answer !== answers.at(-1)) await mkdir(join(text(asked.spare), 'half'), { recursive: true })
      await writeFile(join(outDir(), 'kept'), '')
      answer(peer)
      const ended = await started.ended
      assert.deepEqual(await readdir(outDir()), ['kept'])
      assert.deepEqual([ended.code, ended.stdout.toString()], [4, `${started.pid}\n`])
      assert.deepEqual((await readdir(dirname(outDir()))).sort(), ['build-script-build', 'build-script.real', 'out'])
    }
  })

  test('puts in place what the script left the last time, whatever is there', async () => {
    await bench.announce('launch')
    const daemon = await bench.listen()
    for (const before of [[], ['old']]) {
      const started = await start('echo never')
      for (const name of before) await writeFile(join(outDir(), name), name)
      const { peer, asked } = await greet(daemon)
      await mkdir(text(asked.spare))
      await writeFile(join(text(asked.spare), 'new'), 'new')
      peer.send({ type: 'beat' }, { type: 'recalled', stdout: Buffer.from('out\n'), stderr: Buffer.from('err\n') })
      const { code, stdout, stderr } = await started.ended
      assert.deepEqual([code, stdout.toString(), stderr.toString()], [0, 'out\n', 'err\n'])
      assert.deepEqual(await readdir(outDir()), ['new'])
      assert.deepEqual((await readdir(dirname(outDir()))).sort(), ['build-script-build', 'build-script.real', 'out'])
    }
  })

  test('runs the script observed, says how that went, and ends like it', async () => {
    await bench.announce('launch')
    const daemon = await bench.listen()
    const cases: [end: string, code: number][] = [
      ['exit 0', 0],
      ['kill -TERM $$', -15],
    ]
    for (const [end, code] of cases) {
      await rm(notes(), { recursive: true, force: true })
      const started = await start(`cat "$SOME/file"; echo out; echo err >&2; echo x > $OUT_DIR/x; ${end}`, {
        SOME: bench.workspace,
      })
      await bench.write('file', 'read\n')
      const { peer } = await greet(daemon)
      peer.send({ type: 'watch', observer, dir: notes(), wrapper: '/some/wrapper' })
      const ran = await peer.expect('ran')
      assert.deepEqual(
        [ran.code, text(ran.stdout), text(ran.stderr), ran.truncated],
        [code, 'read\nout\n', 'err\n', false],
      )
      const { complete, events } = readObservations(join(notes(), '.shoal-reads'))
      assert.ok(complete)
      assert.ok(events.some(({ kind, path }) => kind === 'open' && path === join(bench.workspace, 'file')))
      assert.ok((await stat(join(notes(), '.shoal-reads'))).size > 8 << 20)
      peer.socket.end()
      const ended = await started.ended
      assert.deepEqual([ended.stdout.toString(), ended.stderr.toString()], ['read\nout\n', 'err\n'])
      assert.deepEqual([ended.code, ended.signal], code < 0 ? [null, 'SIGTERM'] : [code, null])
    }
  })

  test('leaves to the observed script what is done about a signal, and takes it along when it is killed', async () => {
    await bench.announce('launch')
    const daemon = await bench.listen()
    const waits =
      'trap "echo caught; exit 3" TERM; echo $$ > $OUT_DIR/.pid; mv $OUT_DIR/.pid $OUT_DIR/pid; while :; do sleep 0.1; done'
    const observed = async (): Promise<{ started: Started; peer: Peer; pid: number }> => {
      for (const dir of [notes(), outDir()]) await rm(dir, { recursive: true, force: true })
      const started = await start(waits)
      const { peer } = await greet(daemon)
      peer.send({ type: 'watch', observer, dir: notes(), wrapper: '' })
      for (;;) {
        const pid = Number(await readFile(join(outDir(), 'pid'), 'utf8').catch(() => '0'))
        if (pid > 0) return { started, peer, pid }
        await delay(5)
      }
    }
    const first = await observed()
    process.kill(first.started.pid, 'SIGINT')
    process.kill(first.started.pid, 'SIGTERM')
    const ran = await first.peer.expect('ran')
    assert.deepEqual([ran.code, text(ran.stdout)], [3, 'caught\n'])
    first.peer.socket.end()
    assert.equal((await first.started.ended).code, 3)

    const second = await observed()
    assert.notEqual(second.pid, second.started.pid)
    process.kill(second.started.pid, 'SIGKILL')
    await second.started.ended
    while (await isAlive(second.pid)) await delay(5)
  })

  test('runs the script once more, unobserved and from nothing, when it failed or crashed', async () => {
    await bench.announce('launch')
    const daemon = await bench.listen()
    for (const [end, code] of [
      ['kill -SEGV $$', -11],
      ['exit 5', 5],
    ] as const) {
      await rm(notes(), { recursive: true, force: true })
      const script = `ls $OUT_DIR; touch $OUT_DIR/left; echo said >&2; [ -z "$SHOAL_OBSERVE" ] || ${end}; echo done; exit 7`
      const started = await start(script)
      const { peer } = await greet(daemon)
      peer.send({ type: 'watch', observer, dir: notes(), wrapper: '' })
      assert.equal((await peer.expect('ran')).code, code)
      peer.socket.end()
      const ended = await started.ended
      assert.deepEqual([ended.code, ended.stdout.toString(), ended.stderr.toString()], [7, 'done\n', 'said\n'])
      assert.deepEqual(await readdir(outDir()), ['left'])
      await rm(outDir(), { recursive: true })
    }
  })

  test('lets it be at once when a second run would do something elsewhere twice', async () => {
    await bench.announce('launch')
    const daemon = await bench.listen()
    const temporary = join(bench.workspace, 'tmp')
    const beside = join(bench.workspace, 'beside')
    const deeds: [deed: string, code: number, times: number][] = [
      ['exit 5', 5, 1],
      ['kill -SEGV $$', 7, 2],
    ]
    for (const [deed, code, times] of deeds) {
      for (const dir of [temporary, beside]) await mkdir(dir, { recursive: true })
      await rm(notes(), { recursive: true, force: true })
      const env = { TMPDIR: temporary, BESIDE: beside }
      const started = await start(
        `echo x >> $BESIDE/left; echo said >&2; [ -z "$SHOAL_OBSERVE" ] || ${deed}; exit 7`,
        env,
      )
      const { peer } = await greet(daemon)
      peer.send({ type: 'watch', observer, dir: notes(), wrapper: '' })
      await peer.expect('ran')
      peer.socket.end()
      const ended = await started.ended
      assert.deepEqual([ended.code, ended.stderr.toString()], [code, 'said\n'], deed)
      assert.equal(await readFile(join(beside, 'left'), 'utf8'), 'x\n'.repeat(times), deed)
      await rm(beside, { recursive: true })
    }
    // What lies in OUT_DIR or among temporary files is nothing of the kind.
    await rm(notes(), { recursive: true, force: true })
    const script = 'echo > $TMPDIR/x; echo > $OUT_DIR/../out/y; [ -z "$SHOAL_OBSERVE" ] || exit 5; exit 7'
    const started = await start(script, { TMPDIR: temporary })
    const { peer } = await greet(daemon)
    peer.send({ type: 'watch', observer, dir: notes(), wrapper: '' })
    await peer.expect('ran')
    peer.socket.end()
    assert.equal((await started.ended).code, 7)
  })
})
