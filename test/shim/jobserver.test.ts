import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { codeOf } from '../../src/base/errors.ts'
import { Bench, runFrame, type StartOptions } from './support.ts'

let bench: Bench
let pipe: Pipe
before(async () => {
  bench = await Bench.create()
})
after(() => bench.remove())
afterEach(async () => {
  pipe.close()
  await bench.reset()
})

/** A jobserver's pipe: `fd` is what the shim inherits, as blocking as cargo's own; this side looks without waiting. */
class Pipe {
  readonly path: string
  readonly fd: number
  readonly #own: number

  constructor(path: string) {
    execFileSync('mkfifo', [path])
    this.path = path
    this.fd = openSync(path, 'r+')
    this.#own = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  }

  put(count = 1): void {
    writeSync(this.#own, '+'.repeat(count))
  }

  /** Empties the pipe and says how many tokens there were. */
  drain(): number {
    const buffer = Buffer.alloc(64)
    try {
      return readSync(this.#own, buffer)
    } catch (error) {
      if (codeOf(error) === 'EAGAIN') return 0
      throw error
    }
  }

  close(): void {
    closeSync(this.fd)
    closeSync(this.#own)
  }
}

const kinds: [string, (pipe: Pipe) => StartOptions][] = [
  [
    'descriptors',
    ({ fd }) => ({ env: { CARGO_MAKEFLAGS: '-j --jobserver-fds=3,4 --jobserver-auth=3,4' }, fds: [fd, fd] }),
  ],
  ['descriptors of an old make', ({ fd }) => ({ env: { CARGO_MAKEFLAGS: '-j --jobserver-fds=3,4' }, fds: [fd, fd] })],
  ['a fifo', ({ path }) => ({ env: { CARGO_MAKEFLAGS: `-j4 --jobserver-auth=fifo:${path}` } })],
]

for (const [kind, options] of kinds) {
  describe(`a jobserver of ${kind}`, () => {
    const begin = async () => {
      pipe = new Pipe(join(bench.workspace, 'jobs'))
      const program = await bench.script('exit 0')
      const daemon = await bench.listen()
      const { ended } = bench.start(bench.lib(), { program, ...options(pipe) })
      const { peer, compile } = await daemon.greet()
      assert.equal(compile.hasJobserver, true)
      return { peer, ended }
    }

    test('gets the token while the unit is away, once, and loses it again at the end', async () => {
      const { peer, ended } = await begin()
      peer.send({ type: 'release', repay: false }, { type: 'release', repay: false })
      assert.equal((await peer.expect('token')).state, 'released')
      peer.send({ type: 'beat' }, { type: 'exit', code: 0 })
      assert.equal((await peer.expect('token')).state, 'taken')
      assert.equal(await peer.next(), undefined)
      assert.equal((await ended).code, 0)
      assert.equal(pipe.drain(), 0)
    })

    test('is owed a token when none is free at the end', async () => {
      const { peer, ended } = await begin()
      peer.send({ type: 'release', repay: false })
      await peer.expect('token')
      assert.equal(pipe.drain(), 1)
      peer.send({ type: 'exit', code: 0 })
      assert.equal((await peer.expect('token')).state, 'debt')
      await ended
    })

    test('is repaid by a shim that releases nothing and still takes one at the end', async () => {
      const { peer, ended } = await begin()
      peer.send({ type: 'release', repay: true })
      assert.equal((await peer.expect('token')).state, 'released')
      assert.equal(pipe.drain(), 0)
      pipe.put(2)
      peer.send({ type: 'exit', code: 0 })
      assert.equal((await peer.expect('token')).state, 'taken')
      await ended
      assert.equal(pipe.drain(), 1)
    })

    test('is waited for before rustc runs here', async () => {
      const { peer, ended } = await begin()
      peer.send({ type: 'release', repay: false })
      await peer.expect('token')
      assert.equal(pipe.drain(), 1)
      peer.send(runFrame())
      pipe.put(3)
      assert.equal((await peer.expect('token')).state, 'taken')
      assert.equal((await peer.expect('ran')).code, 0)
      await ended
      assert.equal(pipe.drain(), 2)
    })

    test('is waited for before rustc runs without the daemon', async () => {
      const { peer, ended } = await begin()
      peer.send({ type: 'release', repay: false })
      await peer.expect('token')
      peer.leave()
      assert.equal((await ended).code, 0)
      assert.equal(pipe.drain(), 0)
    })

    test('is left alone by a compile that stays', async () => {
      const { peer, ended } = await begin()
      await peer.run()
      await ended
      assert.equal(pipe.drain(), 0)
    })
  })
}

test('no jobserver: none, descriptors that are closed, or something else by now', async () => {
  pipe = new Pipe(join(bench.workspace, 'jobs'))
  const program = await bench.script('exit 0')
  const daemon = await bench.listen()
  const file = openSync(program, 'r')
  const cases: StartOptions[] = [
    {},
    { env: { CARGO_MAKEFLAGS: '-j4' } },
    { env: { CARGO_MAKEFLAGS: '-j --jobserver-auth=98,99' } },
    { env: { CARGO_MAKEFLAGS: '-j --jobserver-auth=3,3' }, fds: [file] },
    { env: { CARGO_MAKEFLAGS: '--jobserver-auth=-2,-2' } },
    { env: { CARGO_MAKEFLAGS: `--jobserver-auth=fifo:${program}` } },
  ]
  for (const options of cases) {
    const { ended } = bench.start(bench.lib(), { program, ...options })
    const { peer, compile } = await daemon.greet()
    assert.equal(compile.hasJobserver, false)
    peer.send({ type: 'release', repay: false }, { type: 'exit', code: 0 })
    assert.equal(await peer.next(), undefined)
    assert.equal((await ended).code, 0)
  }
  closeSync(file)
})
