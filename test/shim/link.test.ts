import assert from 'node:assert/strict'
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
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
  const { ended } = bench.start(bench.lib(), { program: await bench.script('exit 0') })
  const { peer } = await daemon.greet()
  const dir = join(bench.out, '.shoal-0123456789abcdef')
  await mkdir(join(dir, 'notes-0'), { recursive: true })
  await mkdir(join(dir, '0'))
  await writeFile(join(dir, '0/0.o'), 'object')
  peer.send({ type: 'link', dir: join(dir, 'notes-0'), observer: '', program: linker, args: [], path: [], seconds })
  return { daemon, peer, ended }
}

test('a linker has its share of processor time, and no more', async () => {
  const { peer } = await link('ulimit -S -t')
  const { code, stdout } = await peer.expect('linked')
  assert.equal(code, 0)
  assert.match(Buffer.from(stdout).toString(), /^1200\n/)
})

test('a linker may write so much, and no more', async () => {
  const { peer } = await link('ulimit -S -f')
  const { code, stdout } = await peer.expect('linked')
  assert.equal(code, 0)
  assert.equal(Number(Buffer.from(stdout).toString()) * 512, 8 * 1024 ** 3)
})

test('a linker that does not end is killed with what it has started', async () => {
  // What it starts holds its streams: as long as that lives there is no answer.
  const { peer } = await link('(sleep 1000 & wait) & wait', 1)
  const { code } = await peer.expect('linked')
  assert.equal(code, -9)
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
