import assert from 'node:assert/strict'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { ShoalError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import { LocalServer } from '../../src/daemon/local-server.ts'
import type { ShimLink } from '../../src/daemon/shim-link.ts'
import type { Invocation } from '../../src/plan/invocation.ts'
import { encodeLocalFrame, localVersion } from '../../src/wire/local.ts'
import type { LocalFrame } from '../../src/wire/local-frames.ts'
import { Bench, Peer, rustc } from './support.ts'

let bench: Bench
let server: LocalServer
const invocations: Invocation[] = []
const troubles: ShoalError[] = []

before(async () => {
  bench = await Bench.create()
  const compile = async (shim: ShimLink): Promise<void> => {
    invocations.push(shim.invocation)
    await shim.run({ privateDir: '', observer: '', stripIncremental: true, linger: false }, () => {})
  }
  const needs = {
    compile,
    script: async () => undefined,
    command: async () => undefined,
    onTrouble: (error: ShoalError) => void troubles.push(error),
    log: silentLogger,
  }
  server = new LocalServer(needs, bench.socket)
  await server.start()
})
after(async () => {
  await server.stop()
  await bench.remove()
})

/** The shim as it is, but for the version it names. */
async function olderShim(): Promise<string> {
  const sources = join(bench.dir, 'older')
  await cp(join(import.meta.dirname, '../../src/shim'), sources, { recursive: true })
  const file = join(sources, 'daemon.rs')
  const text = await readFile(file, 'utf8')
  const older = text.replace(`const VERSION: u16 = ${localVersion};`, `const VERSION: u16 = ${localVersion - 1};`)
  assert.notEqual(older, text)
  await writeFile(file, older)
  const shim = join(bench.dir, 'older/shim')
  const built = await bench.plain(['--edition=2021', join(sources, 'shim.rs'), '-o', shim])
  assert.equal(built.code, 0, built.stderr.toString())
  return shim
}

test('a shim of another version runs rustc as without a daemon, and the daemon takes nothing of what it says', async () => {
  await bench.write('src/lib.rs', 'pub fn unused() { let x = 1; }\n')
  const args = [...bench.lib(), '-C', 'incremental=incremental']
  const plain = await bench.expected(args)
  const remapped = await bench.expected([...args, ...bench.remaps()])
  const older = await olderShim()
  const ended = await bench.spawn(older, [rustc, ...args], {}).ended
  assert.deepEqual(ended, plain.ended)
  // The names of the objects in an incremental rlib are others each time.
  const rmeta = 'libdemo-9d0e6d1c8f.rmeta'
  const files = await bench.files()
  assert.deepEqual(files[rmeta], remapped.files[rmeta])
  assert.deepEqual(Object.keys(files), Object.keys(remapped.files))

  // Not even a compile that could be read, and not even when the rest comes later.
  const compile = { cwd: Buffer.alloc(0), argv: [], env: [], pid: 1, ppid: 1, hasJobserver: false, remaps: [] }
  for (const version of [localVersion - 1, localVersion + 1]) {
    const socket = connect(bench.socket)
    const peer = new Peer(socket)
    const hello: LocalFrame = { type: 'hello', version, client: 'shim' }
    socket.write(Buffer.concat([hello, { type: 'compile', ...compile } as const].map(encodeLocalFrame)))
    assert.deepEqual(await peer.expect('welcome'), { type: 'welcome', version: localVersion })
    socket.write('anything')
    assert.equal(await peer.next(), undefined)
  }

  // One of this version is the first to be heard.
  const heard = await bench.start(bench.lib()).ended
  assert.equal(heard.code, 0)
  assert.deepEqual(troubles, [])
  assert.deepEqual(
    invocations.map(({ driver, rustc, argv }) => ({ driver, rustc, argv })),
    [{ driver: undefined, rustc, argv: bench.lib() }],
  )
})

test('the daemon hears which clippy-driver runs in place of which rustc', async () => {
  invocations.length = 0
  const driver = await bench.script('exit 0').then(async (script) => {
    const path = join(bench.dir, 'clippy-driver')
    await cp(script, path)
    return path
  })
  const file = await bench.write('args-file', bench.lib().join('\n'))
  const { code } = await bench.start([rustc, `@${file}`], { program: driver }).ended
  assert.equal(code, 0)
  assert.deepEqual(
    invocations.map(({ driver, rustc, argv }) => ({ driver, rustc, argv })),
    [{ driver, rustc, argv: bench.lib() }],
  )
})
