import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { ask } from '../../src/cli/client.ts'
import { whileBusy } from '../support/busy.ts'
import { artifacts, Cluster, capture, lastReport, type TestNode } from '../support/cluster.ts'
import { writeRemapWrapper } from '../support/plain.ts'

interface StatusRow {
  slots: { lent: number }
  units: { here: number; away: number; waiting: number }
  health: { code: string }[]
}

const status = async (node: TestNode): Promise<StatusRow> =>
  (await ask(join(node.home, 'run/shoal.sock'), 'status', {})) as StatusRow

/** Six units: some of them beside each other, a macro among them, each of the rest needing others. */
const building = ['build', '--offline', '-p', 'tally-stats']

/** Asks until `test` holds; the moments between the questions are the node's, not a guess about its speed. */
async function until(node: TestNode, test: (row: StatusRow) => boolean): Promise<void> {
  for (let tries = 0; tries < 12_000; tries++) {
    if (test(await status(node))) return
    await delay(5)
  }
  throw new Error(`${node.name} never got there: ${JSON.stringify(await status(node))}`)
}

describe('whatever happens to a node, the build ends as without Shoal', () => {
  let cluster: Cluster
  let plain: Map<string, Buffer>

  before(async () => {
    cluster = await Cluster.start(['ada', 'ben', 'cyd'])
    const dir = await cluster.checkout('offline', 'reference')
    const env = { ...process.env, RUSTC_WRAPPER: await writeRemapWrapper(cluster.dir), CARGO_INCREMENTAL: '0' }
    const ran = await capture('cargo', building, { cwd: dir, env })
    assert.equal(ran.code, 0, ran.stderr)
    plain = await artifacts(join(dir, 'target'))
  })
  after(() => cluster.close())

  const assertPlain = async (dir: string): Promise<void> => {
    const built = await artifacts(join(dir, 'target'))
    assert.deepEqual([...built.keys()].sort(), [...plain.keys()].sort())
    for (const [name, bytes] of plain) assert.ok(built.get(name)?.equals(bytes), name)
  }

  test('a lender is killed in the middle of its compile', async () => {
    const [ada, ben] = [cluster.node('ada'), cluster.node('ben')]
    const dir = await cluster.checkout('offline', 'lender-killed')
    // With no slot free at home all of it is for others to compile.
    const ran = await whileBusy(ada, join(cluster.dir, 'busy'), 2, async (release) => {
      const built = ada.cargo(dir, ...building)
      await until(ben, (row) => row.slots.lent > 0)
      await ben.kill()
      await release()
      return await built
    })
    assert.equal(ran.code, 0, ran.stderr)
    await assertPlain(dir)
    await ben.start()
    await ada.waitForPeers(2)
  })

  test('a build that is stopped keeps no other build waiting', async () => {
    const cyd = cluster.node('cyd')
    const [stopped, other] = await Promise.all(
      ['stopped/one', 'stopped/two'].map((as) => cluster.checkout('offline', as)),
    )
    const file = 'crates/stats/src/lib.rs'
    for (const dir of [stopped, other]) {
      assert.ok(dir)
      await writeFile(join(dir, file), `${await readFile(join(dir, file), 'utf8')}\n// Compiled by nobody so far.\n`)
    }
    await Promise.all(['ada', 'ben'].map((name) => cluster.node(name).stop()))
    const first = spawn('cargo', building, {
      cwd: stopped,
      env: await cyd.cargoEnv(),
      detached: true,
      stdio: 'ignore',
    })
    assert.ok(first.pid && other)
    try {
      await until(cyd, (row) => row.units.here > 0)
      process.kill(-first.pid, 'SIGSTOP')
      const ran = await cyd.cargo(other, ...building)
      assert.equal(ran.code, 0, ran.stderr)
    } finally {
      const gone = once(first, 'close')
      process.kill(-first.pid, 'SIGKILL')
      await gone
    }
    await Promise.all(['ada', 'ben'].map((name) => cluster.node(name).start()))
    await cluster.node('ada').waitForPeers(2)
  })

  test('garbage on the local socket is refused by name and harms nobody', async () => {
    const ada = cluster.node('ada')
    const socket = connect({ path: join(ada.home, 'run/shoal.sock') })
    const closed = once(socket, 'close')
    socket.on('error', () => undefined)
    socket.end(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
    await closed
    assert.ok((await status(ada)).health.some((problem) => problem.code === 'ERR_FRAME'))
    assert.match(ada.log, /ERR_FRAME/)
  })

  test('corrupt blocks are misses, named in status, and replaced', async () => {
    const ada = cluster.node('ada')
    const dir = await cluster.checkout('offline', 'corrupt')
    assert.equal((await ada.cargo(dir, ...building)).code, 0)
    await Promise.all(['ben', 'cyd'].map((name) => cluster.node(name).stop()))
    const store = join(ada.home, 'cache/blocks')
    const files = (await readdir(store, { recursive: true })).filter((name) => name.endsWith('.data'))
    assert.ok(files.length > 20)
    for (const [index, name] of files.entries()) {
      const path = join(store, name)
      const bytes = await readFile(path)
      if (index % 3 === 0) await truncate(path, Math.floor(bytes.length / 2))
      else {
        bytes[index % Math.max(1, bytes.length)] = (bytes[index % Math.max(1, bytes.length)] ?? 0) ^ 1
        await rm(path)
        await writeFile(path, bytes)
      }
    }
    await rm(join(dir, 'target'), { recursive: true })
    const ran = await ada.cargo(dir, ...building)
    assert.equal(ran.code, 0, ran.stderr)
    await assertPlain(dir)
    assert.ok((await status(ada)).health.some((problem) => problem.code === 'ERR_BLOCK_MISMATCH'))
    await rm(join(dir, 'target'), { recursive: true })
    assert.equal((await ada.cargo(dir, ...building)).code, 0)
    const libs = (await lastReport(ada)).units.filter((unit) => unit.kind === 'lib')
    assert.deepEqual([libs.length, libs.filter((unit) => unit.outcome !== 'recalled-here')], [plain.size / 2, []])
    await assertPlain(dir)
    await Promise.all(['ben', 'cyd'].map((name) => cluster.node(name).start()))
    await ada.waitForPeers(2)
  })

  test('the daemon is killed in the middle of a build', async () => {
    const ada = cluster.node('ada')
    const dir = await cluster.checkout('offline', 'daemon-killed')
    // Neither of the two needs the other, and nearly all of the rest needs one of them.
    for (const crate of ['decimal', 'calendar']) {
      const file = join(dir, 'crates', crate, 'src/lib.rs')
      await writeFile(file, `${await readFile(file, 'utf8')}\n`)
    }
    const running = ada.cargo(dir, ...building)
    await until(ada, (row) => row.units.here + row.units.away > 1)
    await ada.kill()
    const ran = await running
    assert.equal(ran.code, 0, ran.stderr)
    const env = { ...process.env, RUSTC_WRAPPER: await writeRemapWrapper(cluster.dir), CARGO_INCREMENTAL: '0' }
    const built = await artifacts(join(dir, 'target'))
    await rm(join(dir, 'target'), { recursive: true })
    assert.equal((await capture('cargo', building, { cwd: dir, env })).code, 0)
    const expected = await artifacts(join(dir, 'target'))
    assert.deepEqual([...built.keys()].sort(), [...expected.keys()].sort())
    for (const [name, bytes] of expected) assert.ok(built.get(name)?.equals(bytes), name)
    await ada.start()
    await ada.waitForPeers(2)
  })

  test('no daemon at all: cargo builds as if Shoal were not there', async () => {
    const ada = cluster.node('ada')
    const env = await ada.cargoEnv()
    await ada.stop()
    const dir = await cluster.checkout('offline', 'no-daemon')
    const ran = await capture('cargo', building, { cwd: dir, env })
    assert.equal(ran.code, 0, ran.stderr)
    const built = await artifacts(join(dir, 'target'))
    await rm(join(dir, 'target'), { recursive: true })
    const without = { ...process.env, CARGO_INCREMENTAL: '0', CARGO_TERM_COLOR: 'never' }
    assert.equal((await capture('cargo', building, { cwd: dir, env: without })).code, 0)
    const expected = await artifacts(join(dir, 'target'))
    for (const [name, bytes] of expected) assert.ok(built.get(name)?.equals(bytes), name)
    await ada.start()
    await ada.waitForPeers(2)
  })
})
