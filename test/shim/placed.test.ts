import assert from 'node:assert/strict'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { Bench, type Ended, type Peer, runFrame } from './support.ts'

let bench: Bench
before(async () => {
  bench = await Bench.create()
})
after(() => bench.remove())
afterEach(() => bench.reset())

const source = "pub fn place() -> &'static str { file!() }\npub fn unused() { let x = 1; }\n"
const name = 'libdemo-9d0e6d1c8f.rmeta'
const isRmeta = (line: string) => line.includes('"artifact":') && line.includes('.rmeta"')

/** Places an rmeta made of `text` and announces it as a daemon does; then the daemon does as told. */
async function compileAfterPlaced(
  text: string,
  then: (peer: Peer) => void,
  announce = (line: string) => `${line}\n`,
): Promise<Ended> {
  await bench.write('src/lib.rs', text)
  const { files, ended: early } = await bench.expected([...bench.lib(), ...bench.remaps()])
  const rmeta = files[name]
  assert.ok(rmeta)
  await bench.write('src/lib.rs', source)
  const daemon = await bench.listen()
  const { ended } = bench.start(bench.lib())
  const { peer } = await daemon.greet()
  await bench.place(join(bench.out, name), rmeta)
  peer.send({ type: 'placed', path: join(bench.out, name) })
  const line = early.stderr.toString().split('\n').find(isRmeta)
  assert.ok(line)
  peer.send({ type: 'stderr', data: Buffer.from(announce(line)) })
  then(peer)
  return ended
}

const lost: [string, (peer: Peer) => void][] = [
  ['the daemon goes', (peer) => void peer.socket.end()],
  ['the daemon has it run here', (peer) => peer.send(runFrame(join(bench.dir, `private-${runs++}`)))],
  ['the daemon has it run here, without a directory', (peer) => peer.send(runFrame())],
  ['the directory is not empty', (peer) => peer.send(runFrame(bench.workspace))],
]
let runs = 0

describe('an rmeta was placed and announced, then', () => {
  for (const [what, act] of lost) {
    test(`${what}: an equal one is left untouched, and what else rustc makes is put beside it`, async () => {
      await bench.write('src/lib.rs', source)
      const plain = await bench.expected(bench.lib())
      const remapped = await bench.expected([...bench.lib(), ...bench.remaps()])
      let before: Awaited<ReturnType<typeof stat>> | undefined
      const path = join(bench.out, name)
      const seen = stat.bind(undefined, path)
      const ended = await compileAfterPlaced(source, (peer) => {
        void seen().then((first) => {
          before = first
          act(peer)
        })
      })
      const after = await stat(path)
      assert.deepEqual([after.ino, after.mtimeMs], [before?.ino, before?.mtimeMs])
      assert.equal(ended.code, 0)
      assert.deepEqual(await bench.files(), remapped.files)
      const sorted = (text: Buffer) => text.toString().split('\n').sort()
      assert.deepEqual(sorted(ended.stderr), sorted(plain.ended.stderr))
      assert.deepEqual((await readdir(bench.out)).sort(), Object.keys(remapped.files))
    })

    test(`${what}: a different one is removed, nothing is put in its place, and the unit fails`, async () => {
      const ended = await compileAfterPlaced('pub fn other() {}', act)
      assert.equal(ended.code, 1)
      const left = Object.keys(await bench.files())
      assert.deepEqual(
        left.filter((file) => !file.endsWith('.d')),
        [],
      )
      const lines = ended.stderr.toString().trim().split('\n')
      assert.equal(lines.filter(isRmeta).length, 1)
      assert.ok(lines.every((line) => line.startsWith('{') && !line.includes('.rlib"')))
      assert.ok(lines.some((line) => line.includes('unused variable')))
    })
  }

  test('rustc fails here: its error is shown and the rmeta removed', async () => {
    const ended = await compileAfterPlaced(source, (peer) => {
      void bench.write('src/lib.rs', 'pub fn f() -> u8 { "no" }').then(() => peer.socket.end())
    })
    assert.equal(ended.code, 1)
    assert.ok(ended.stderr.includes('mismatched types'))
    assert.ok(!(await readdir(bench.out)).includes(name))
  })
})

test('an rmeta is announced once: here if the daemon placed it but did not come to say so, else there', async () => {
  const ways = [() => '', (line: string) => `${line}\n`, (line: string) => `${line.replace('{', '{ ')}\n`]
  for (const announce of ways) {
    const ended = await compileAfterPlaced(source, (peer) => void peer.socket.end(), announce)
    assert.equal(ended.code, 0)
    assert.equal(ended.stderr.toString().split('\n').filter(isRmeta).length, 1)
    await bench.reset()
  }
})

test('an rmeta that is announced again is announced once, whatever the daemon says: cargo ends at a second time', async () => {
  const again = (peer: Peer): void => {
    const line = `{ "$message_type":"artifact","artifact":"${join(bench.out, name)}","emit":"metadata"}\n`
    peer.send({ type: 'stderr', data: Buffer.from(`${line}${line}`) })
    peer.send({ type: 'exit', code: 0 })
  }
  const ended = await compileAfterPlaced(source, again)
  assert.equal(ended.code, 0)
  assert.equal(ended.stderr.toString().split('\n').filter(isRmeta).length, 1)
})

test('an rmeta that was announced counts as placed, whether or not the daemon said so', async () => {
  await bench.write('src/lib.rs', 'pub fn other() {}')
  const { files } = await bench.expected([...bench.lib(), ...bench.remaps()])
  await bench.write('src/lib.rs', source)
  const daemon = await bench.listen()
  const { ended } = bench.start(bench.lib())
  const { peer } = await daemon.greet()
  const path = join(bench.out, name)
  await bench.place(path, files[name] ?? Buffer.alloc(0))
  peer.send({
    type: 'stderr',
    data: Buffer.from(`{"$message_type":"artifact","artifact":"${path}","emit":"metadata"}\n`),
  })
  peer.socket.end()
  assert.equal((await ended).code, 1)
  assert.ok(!(await readdir(bench.out)).includes(name))
})
