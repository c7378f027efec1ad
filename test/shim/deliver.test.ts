import assert from 'node:assert/strict'
import { chmod, mkdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { identityOf } from '../../src/plan/stat-digests.ts'
import type { DeliveredFile, DeliveredFrame } from '../../src/wire/local-frames.ts'
import { Bench, type Ended, type Peer } from './support.ts'

let bench: Bench
before(async () => {
  bench = await Bench.create()
})
after(() => bench.remove())
afterEach(() => bench.reset())

const metadata = 'libdemo-9d0e6d1c8f.rmeta'
const library = 'libdemo-9d0e6d1c8f.rlib'
const depInfo = 'demo-9d0e6d1c8f.d'

const emits: Record<string, string> = { [metadata]: 'metadata', [library]: 'link', [depInfo]: 'dep-info' }
const line = (name: string): string =>
  `{"$message_type":"artifact","artifact":"${join(bench.out, name)}","emit":"${emits[name]}"}\n`

function text(name: string, source: string): DeliveredFile {
  const target = join(bench.out, name)
  return {
    ...{ from: 'text', source: Buffer.from(source), target, executable: false },
    ...{ line: Buffer.from(line(name)), isMetadata: name.endsWith('.rmeta') },
  }
}

async function file(name: string, bytes: string, executable = false): Promise<DeliveredFile> {
  const source = await bench.write(`blocks/${name}`, bytes)
  await chmod(source, 0o444)
  return { ...text(name, ''), from: 'file', source: Buffer.from(source), executable }
}

/** A shim that asks, and is told to put these files in place. */
async function deliver(files: DeliveredFile[], stderr = ''): Promise<{ peer: Peer; ended: Promise<Ended> }> {
  await bench.write('src/lib.rs', 'pub fn compiled_after_all() {}')
  const daemon = await bench.listen()
  const { ended } = bench.start(bench.lib())
  const { peer } = await daemon.greet()
  peer.send({ type: 'deliver', files, stderr: Buffer.from(stderr) })
  return { peer, ended }
}

const next = (peer: Peer): Promise<DeliveredFrame> => peer.expect('delivered')
const identity = async (name: string): Promise<string> =>
  identityOf(await stat(join(bench.out, name), { bigint: true }))

describe('a unit that is there as a whole', () => {
  test('is put in place in order, reported, announced, and the shim ends', async () => {
    const files = [text(depInfo, 'demo: src/lib.rs\n'), await file(metadata, 'meta'), await file(library, 'lib', true)]
    const { peer, ended } = await deliver(files, 'a warning without an end')
    const [first, last] = [await next(peer), await next(peer)]
    const { code, stderr, stdout } = await ended
    assert.equal(code, 0)
    assert.equal(stdout.length, 0)
    assert.equal(stderr.toString(), `${[depInfo, metadata, library].map(line).join('')}a warning without an end`)
    assert.deepEqual(first, {
      ...{ type: 'delivered', state: 'metadata', errno: 0 },
      identities: [await identity(depInfo), await identity(metadata)],
    })
    assert.deepEqual(last, { type: 'delivered', state: 'done', errno: 0, identities: [await identity(library)] })
    assert.equal(await readFile(join(bench.out, metadata), 'utf8'), 'meta')
    assert.deepEqual(Object.keys(await bench.files()).sort(), [depInfo, library, metadata].sort())
    const mode = async (name: string) => (await stat(join(bench.out, name))).mode & 0o777
    const umask = process.umask()
    assert.deepEqual([await mode(metadata), await mode(library)], [0o666 & ~umask, 0o777 & ~umask])
  })

  test('a link at the final name is replaced and not followed', async () => {
    const elsewhere = await bench.write('elsewhere', 'untouched')
    await symlink(elsewhere, join(bench.out, metadata))
    const { ended } = await deliver([await file(metadata, 'meta')])
    assert.equal((await ended).code, 0)
    assert.equal(await readFile(elsewhere, 'utf8'), 'untouched')
    assert.equal(await readFile(join(bench.out, metadata), 'utf8'), 'meta')
  })

  test('the shim needs nobody once it has been told', async () => {
    const { peer, ended } = await deliver([
      text(depInfo, 'd'),
      await file(metadata, 'meta'),
      await file(library, 'lib'),
    ])
    peer.socket.destroy()
    const { code } = await ended
    assert.equal(code, 0)
    // Either it had been told, or rustc made the unit: nothing between the two.
    const made = await readFile(join(bench.out, library), 'utf8')
    assert.ok(made === 'lib' || made.startsWith('!<arch>'))
  })

  test('what cannot be put in place is reported, and the shim waits for another answer', async () => {
    const gone = await file(library, 'lib')
    await rm(Buffer.from(gone.source).toString())
    const { peer, ended } = await deliver([text(depInfo, 'd'), gone])
    const failed = await next(peer)
    assert.deepEqual([failed.state, failed.errno], ['failed', constants.errno.ENOENT])
    assert.deepEqual(failed.identities, [await identity(depInfo)])
    peer.send({ type: 'beat' })
    peer.send({ type: 'refuse', reason: 'nothing kept' })
    const { code, stderr } = await ended
    assert.equal(code, 0)
    assert.equal(stderr.toString().split(depInfo).length, 2, 'its dep-info is announced once')
    assert.ok((await readFile(join(bench.out, library), 'utf8')).startsWith('!<arch>'))
    assert.deepEqual(Object.keys(await bench.files()).sort(), [depInfo, library, metadata].sort())
  })

  test('a directory in the way of its library fails it; metadata that was announced is not made another', async () => {
    await mkdir(join(bench.out, library))
    await writeFile(join(bench.out, library, 'full'), '')
    const { peer, ended } = await deliver([await file(metadata, 'not what rustc makes'), await file(library, 'lib')])
    assert.equal((await next(peer)).state, 'metadata')
    assert.equal((await next(peer)).state, 'failed')
    peer.send({ type: 'refuse', reason: 'nothing else' })
    assert.equal((await ended).code, 1)
    await assert.rejects(stat(join(bench.out, metadata)), { code: 'ENOENT' })
  })

  test('an order that does not hold together is no order: rustc runs', async () => {
    const broken = { ...text(metadata, 'meta'), target: 'relative' }
    const { ended } = await deliver([broken])
    assert.equal((await ended).code, 0)
    assert.ok((await readFile(join(bench.out, library), 'utf8')).startsWith('!<arch>'))
  })
})
