import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, chmod, mkdir, readFile, rm, stat, utimes } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { localVersion } from '../../src/wire/local.ts'
import type { LocalFrame } from '../../src/wire/local-frames.ts'
import { Bench, type Peer, runFrame } from './support.ts'

let bench: Bench
before(async () => {
  bench = await Bench.create()
})
after(() => bench.remove())
afterEach(() => bench.reset())

const source = "pub fn place() -> &'static str { file!() }\npub fn unused() { let x = 1; }\n"

describe('an announcement without a daemon', () => {
  test('adds the remap flags, so that the bytes are those of a compile with a daemon', async () => {
    await bench.write('src/lib.rs', source)
    const plain = await bench.expected(bench.lib())
    const remapped = await bench.expected([...bench.lib(), ...bench.remaps()])
    await bench.announce()
    const ended = await bench.start(bench.lib()).ended
    assert.deepEqual(ended, plain.ended)
    assert.deepEqual(await bench.files(), remapped.files)
    assert.notDeepEqual(await bench.files(), plain.files)
  })

  test('lets a compile error look as if there were no Shoal', async () => {
    await bench.write('src/lib.rs', 'pub fn f() -> u8 { "no" }\nmod absent;\n')
    const plain = await bench.expected(bench.lib())
    await bench.announce()
    assert.deepEqual(await bench.start(bench.lib()).ended, plain.ended)
    assert.equal(plain.ended.code, 1)
  })

  test('un-maps the paths of the registry and of OUT_DIR, whatever is in them, colours included', async () => {
    const root = join(bench.cargoHome, 'registry/src/index-1/foo-1.0/src/lib.rs')
    const out = join(bench.dir, 'ws/target/debug/build/foo-"1"/out')
    await bench.write(
      join('..', 'cargo home/registry/src/index-1/foo-1.0/src/lib.rs'),
      'include!(concat!(env!("OUT_DIR"), "/g.rs"));\npub fn f() -> u8 { "no" }\n',
    )
    await mkdir(out, { recursive: true })
    await bench.write('target/debug/build/foo-"1"/out/g.rs', 'pub fn g() -> u8 { "/home/cargo/registry/src" }\n')
    const args = bench.lib(root)
    const options = { cwd: join(bench.cargoHome, 'registry/src/index-1/foo-1.0'), env: { OUT_DIR: out } }
    const plain = await bench.expected(args, options)
    await bench.announce()
    assert.deepEqual(await bench.start(args, options).ended, plain.ended)
    assert.match(plain.ended.stderr.toString(), /m--> .u001b\[0m\S+cargo home.registry/)
    assert.match(plain.ended.stderr.toString(), /m--> .u001b\[0m\S+\/build\/foo-\\"1/)
  })

  test('un-maps whole paths, and in JSON only the names of source files', async () => {
    const registry = join(bench.cargoHome, 'registry/src')
    const lines = [
      '{"file_name":"/cargo/registry/src/x","text":"/cargo/registry/src/x","file_name":"/cargo/registry/src-2"}',
      String.raw`{"rendered":"see /cargo/registry/src\n  \u001b[0m\u001b[38;5;12m-->\u001b[0m /cargo/registry/src/x:1:1\n1 | --> /cargo/registry/src"}`,
      String.raw`{"rendered":" ::: /cargo/registry/src/x:1:1\n ╭▸ /cargo/registry/src/y:1:1\n = note: ::: /cargo/registry/src"}`,
      'error: /cargo/registry/src/y and n/cargo/registry/src',
      '\x1b[1;31m/cargo/registry/src/y',
    ]
    await bench.write('lines', lines.join('\n'))
    const program = await bench.script('cat lines >&2')
    await bench.announce()
    const { stderr } = await bench.start(bench.lib(), { program }).ended
    const expected = [
      `{"file_name":"${registry}/x","text":"/cargo/registry/src/x","file_name":"/cargo/registry/src-2"}`,
      String.raw`{"rendered":"see /cargo/registry/src\n  \u001b[0m\u001b[38;5;12m-->\u001b[0m ${registry}/x:1:1\n1 | --> /cargo/registry/src"}`,
      String.raw`{"rendered":" ::: ${registry}/x:1:1\n ╭▸ ${registry}/y:1:1\n = note: ::: /cargo/registry/src"}`,
      `error: ${registry}/y and n/cargo/registry/src`,
      `\x1b[1;31m${registry}/y`,
    ]
    assert.equal(stderr.toString(), expected.join('\n'))
  })

  test('un-maps what a dependency shows of itself', async () => {
    const root = await bench.write(
      join('..', 'cargo home/registry/src/i/dep-1.0/src/lib.rs'),
      'pub fn takes(_: u8) {}\n',
    )
    const dep = bench.lib(root).map((arg) => (arg === 'demo' ? 'dep' : arg))
    const compile = async (remaps: string[]) => {
      const { code } = await bench.plain([...dep, ...remaps])
      assert.equal(code, 0)
    }
    await bench.write('src/lib.rs', 'pub fn f() { dep::takes("no") }\n')
    const args = [...bench.lib(), '--extern', `dep=${join(bench.out, 'libdep-9d0e6d1c8f.rlib')}`]
    await compile([])
    const plain = await bench.plain(args)
    await compile(bench.remaps())
    await bench.announce()
    assert.deepEqual(await bench.start(args).ended, plain)
    assert.match(plain.stderr.toString(), /dep-1.0\/src\/lib.rs/)
  })
})

describe('remap flags', () => {
  /** The arguments before those of cargo. */
  async function added(args: string[], options: { cwd?: string; env?: Record<string, string> }): Promise<string[]> {
    const file = join(bench.workspace, 'args')
    const program = await bench.script(`printf '%s\\n' "$@" > '${file}'`)
    const { code } = await bench.start(args, { program, ...options }).ended
    assert.equal(code, 0)
    return (await readFile(file, 'utf8')).split('\n').slice(0, -1 - args.length)
  }
  const flag = (from: string, to: string) => `--remap-path-prefix=${from}=${to}`

  test('come before all others: announced ones, cargo home, working directory, OUT_DIR', async () => {
    await bench.announce(
      'remap\t/tc=1/src\t/rustc/abc',
      'later\tx',
      'remap\t/one',
      'remap\t/\t/x',
      'remap\t/a\tb=c',
      'remap\t\t/x',
    )
    const args = [...bench.lib(), '--remap-path-prefix=/mine=/yours']
    const env = { OUT_DIR: '/build/x/target/debug/build/pkg-1/out' }
    assert.deepEqual(await added(args, { env }), [
      flag('/tc=1/src', '/rustc/abc'),
      ...bench.remaps(),
      flag(env.OUT_DIR, '/cargo/build-dir/pkg-1/out'),
    ])
    assert.deepEqual(await added(args, { env: { OUT_DIR: '/some/where/else' } }), [
      flag('/tc=1/src', '/rustc/abc'),
      ...bench.remaps(),
      flag('/some/where/else', '/cargo/build-dir/where/else'),
    ])
  })

  test('name a path dependency outside the workspace after its package', async () => {
    await bench.announce()
    const env = { CARGO_PKG_NAME: 'demo', CARGO_PKG_VERSION: '1.2.3' }
    const absolute = bench.lib(join(bench.workspace, 'src/lib.rs'))
    const [registry = '', git = ''] = bench.remaps()
    assert.deepEqual(await added(absolute, { env }), [registry, git, flag(bench.workspace, '/cargo/deps/demo-1.2.3')])
    assert.deepEqual(await added(absolute, {}), [registry, git])
  })

  test('leave out the working directory of a crate from the registry, and a root directory', async () => {
    await bench.announce()
    const [registry = '', git = ''] = bench.remaps()
    for (const part of ['registry/src/i/foo-1.0', 'git/checkouts/foo-1/abc']) {
      const cwd = join(bench.cargoHome, part)
      await mkdir(cwd, { recursive: true })
      const env = { CARGO_PKG_NAME: 'foo', CARGO_PKG_VERSION: '1.0.0', CARGO_HOME: `${bench.cargoHome}/` }
      assert.deepEqual(await added(bench.lib(join(cwd, 'src/lib.rs')), { cwd, env }), [registry, git])
    }
    assert.deepEqual(await added(bench.lib(), { cwd: '/', env: { CARGO_HOME: 'relative' } }), [])
  })

  test('follow an argument file, which is passed on as it is', async () => {
    await bench.announce()
    const file = await bench.write('args-file', `${bench.lib().join('\n')}\n`)
    assert.deepEqual(await added([`@${file}`], {}), bench.remaps())
  })
})

describe('a compile that the daemon leaves alone ends as with remap flags alone', () => {
  type Act = (peer: Peer) => void
  const sends =
    (...bytes: number[]): Act =>
    (peer) =>
      void peer.socket.write(Buffer.from(bytes))
  const frames =
    (...list: LocalFrame[]): Act =>
    (peer) =>
      peer.send(...list)
  const both =
    (first: Act, second: Act): Act =>
    (peer) => {
      first(peer)
      second(peer)
    }
  const ends: Act = (peer) => void peer.socket.end()
  const welcomes = frames({ type: 'welcome', version: localVersion }, { type: 'beat' })
  const quick: [string, Act][] = [
    ['gone before a word', (peer) => peer.leave()],
    ['an older version', frames({ type: 'welcome', version: localVersion - 1 }, runFrame())],
    ['a newer version', frames({ type: 'welcome', version: localVersion + 1 }, runFrame())],
    ['refused at once', frames({ type: 'refuse', reason: 'busy' })],
    ['noise', (peer) => void peer.socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['an empty frame', sends(0, 0, 0, 0)],
    ['a frame too long', both(welcomes, sends(1, 0, 0, 1, 0x84))],
    ['refused later', both(welcomes, frames({ type: 'refuse', reason: 'x' }))],
    ['an unknown frame', both(welcomes, sends(0, 0, 0, 1, 0xff))],
    ['a length that lies', both(welcomes, sends(0, 0, 0, 6, 0x84, 0, 0, 0, 9, 1))],
    ['a relative directory', both(welcomes, frames(runFrame('here')))],
    ['a relative observer', both(welcomes, frames(runFrame('', { observer: 'here' })))],
    ['an order of version 1', both(welcomes, sends(0, 0, 0, 5, 0x85, 0, 0, 0, 0))],
    ['an order with an unknown flag', both(welcomes, sends(0, 0, 0, 10, 0x85, 0, 0, 0, 0, 0, 0, 0, 0, 2))],
    ['a code that is short', both(welcomes, sends(0, 0, 0, 2, 0x86, 0))],
    ['gone later', both(welcomes, ends)],
    ['gone in a line', both(both(welcomes, frames({ type: 'stderr', data: Buffer.from('{"$mess') })), ends)],
  ]
  const silent: [string, Act][] = [
    ['silence from the start', () => {}],
    ['silence after a heartbeat', welcomes],
    ['half a frame', both(welcomes, sends(0, 0, 1, 0, 0x83, 0))],
  ]
  const sources: [string, string, number, [string, Act][]][] = [
    ['succeeds', source, 0, [...quick, ...silent]],
    ['fails', 'pub fn f() -> u8 { "no" }', 1, quick],
  ]

  for (const [what, text, code, cases] of sources) {
    test(`whatever the trouble, when the compile ${what}`, async () => {
      const daemon = await bench.listen()
      // Nobody can leave word that it hangs: each of these is to be told so itself.
      await mkdir(bench.hangMark)
      await bench.write('src/lib.rs', text)
      const plain = await bench.expected(bench.lib())
      const remapped = await bench.expected([...bench.lib(), ...bench.remaps()])
      assert.equal(plain.ended.code, code)
      // The deadlines of the silent ones run at the same time: each case has its own directory and its own turn to connect.
      const ends: Promise<void>[] = []
      for (const [name, act] of cases) {
        const out = await bench.write(`target/${ends.length}/x`, '').then(dirname)
        await rm(join(out, 'x'))
        const { ended } = bench.start(bench.lib('src/lib.rs', out))
        const peer = await daemon.accept()
        await peer.expect('hello')
        await peer.expect('compile')
        act(peer)
        const here = (bytes: Buffer) => Buffer.from(bytes.toString().replaceAll(out, bench.out))
        const check = async () => {
          const { stderr, ...end } = await ended
          assert.deepEqual({ ...end, stderr: here(stderr) }, plain.ended, name)
          assert.equal(await peer.next(), undefined, name)
          const files = Object.entries(await bench.files(out))
          const same = files.map(([path, bytes]) => [path, path.endsWith('.d') ? here(bytes) : bytes])
          assert.deepEqual(Object.fromEntries(same), remapped.files, name)
        }
        ends.push(check())
      }
      await Promise.all(ends)
    })
  }

  test('when the daemon hangs and nobody else gets in either', async () => {
    const listen = `require('node:net').createServer().listen(process.argv[1], 1, () => console.log('up'))`
    const hung = spawn(process.execPath, ['-e', listen, bench.socket], { stdio: ['ignore', 'pipe', 'inherit'] })
    const crowd: Socket[] = []
    try {
      await once(hung.stdout, 'data')
      hung.kill('SIGSTOP')
      for (let full = false; !full; ) {
        const socket = connect(bench.socket)
        crowd.push(socket)
        full = await once(socket, 'connect').then(
          () => false,
          () => true,
        )
      }
      await bench.write('src/lib.rs', source)
      const plain = await bench.expected(bench.lib())
      await bench.announce()
      assert.deepEqual(await bench.start(bench.lib()).ended, plain.ended)
      await access(bench.hangMark)
    } finally {
      for (const socket of crowd) socket.destroy()
      hung.kill('SIGKILL')
    }
  })

  test('when the daemon hangs, only once', async () => {
    const daemon = await bench.listen()
    await bench.write('src/lib.rs', source)
    const plain = await bench.expected(bench.lib())
    assert.deepEqual(await bench.start(bench.lib()).ended, plain.ended)
    assert.deepEqual(await bench.start(bench.lib()).ended, plain.ended)
    assert.equal(daemon.accepted, 1)
    await daemon.accept()
    const past = new Date(Date.now() - 11 * 60_000)
    await utimes(bench.hangMark, past, past)
    const again = bench.start(bench.lib())
    const awake = await daemon.accept()
    await awake.expect('hello')
    awake.send({ type: 'refuse', reason: 'awake' })
    assert.deepEqual(await again.ended, plain.ended)
    // Of a shim that was answered there is no complaint.
    assert.equal((await stat(bench.hangMark)).mtimeMs, past.getTime())
  })

  test('when somebody else could listen there: nothing is said', async () => {
    let visits = 0
    const server = createServer((socket) => {
      visits += 1
      socket.destroy()
    })
    server.listen(bench.socket)
    await once(server, 'listening')
    const directory = dirname(bench.socket)
    await chmod(directory, 0o777)
    try {
      await bench.write('src/lib.rs', source)
      const plain = await bench.expected(bench.lib())
      await bench.announce()
      assert.deepEqual(await bench.start(bench.lib()).ended, plain.ended)
      assert.equal(visits, 0)
    } finally {
      await chmod(directory, 0o700)
      server.close()
    }
  })

  test('and repeats no diagnostic that was relayed before', async () => {
    await bench.write('src/lib.rs', source)
    const plain = await bench.expected(bench.lib())
    const warning = plain.ended.stderr
      .toString()
      .split('\n')
      .find((line) => line.includes('"diagnostic"'))
    assert.ok(warning)
    const daemon = await bench.listen()
    const { ended } = bench.start(bench.lib())
    const { peer } = await daemon.greet()
    peer.send({ type: 'stdout', data: Buffer.from('out') }, { type: 'stderr', data: Buffer.from(`${warning}\n`) })
    peer.socket.end()
    const { stdout, stderr, code } = await ended
    assert.deepEqual([code, stdout.toString()], [0, 'out'])
    const sorted = (text: Buffer) => text.toString().split('\n').sort()
    assert.deepEqual(sorted(stderr), sorted(plain.ended.stderr))
  })
})
