import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { Bench, type StartOptions, toolchain } from './support.ts'

let bench: Bench
before(async () => {
  bench = await Bench.create()
})
after(() => bench.remove())
afterEach(() => bench.reset())

const probe = '- --crate-name ___ --print=file-names --crate-type bin --crate-type rlib --print=cfg -Wwarnings'.split(
  ' ',
)
const broken = 'fn main() { let x: u8 = "no"; }'

describe('what is not plainly a compile of cargo goes straight to rustc', () => {
  const cases: [string, string[], (StartOptions & { program?: string })?][] = [
    ['-vV', ['-vV']],
    ['--print=sysroot', ['--print=sysroot']],
    ["cargo's probe", probe, { input: '' }],
    [
      'a source on stdin',
      ['--crate-name', 'p', '--crate-type=lib', '--emit=metadata', '--out-dir', '/tmp', '-'],
      { input: broken },
    ],
    ['a print beside a compile', ['--crate-name', 'p', '--emit=link', '--out-dir', '.', '--print', 'cfg']],
    ['an output file', ['--crate-name', 'p', 'broken.rs', '--emit=metadata', '--out-dir', '.', '-o', 'x']],
    ['no crate name', ['broken.rs', '--emit=metadata', '--out-dir', '.']],
    ['an unknown option', ['--no-such-option']],
    ['an argument file that is not there', ['@/no/such/file']],
    ['another program', ['--version'], { program: join(toolchain, 'clippy-driver') }],
    ['a rustc behind another program', ['rustc', '-vV'], { program: join(toolchain, 'clippy-driver') }],
  ]
  for (const [name, args, options] of cases) {
    test(name, async () => {
      await bench.write('broken.rs', broken)
      const daemon = await bench.listen()
      await bench.announce()
      const ended = await bench.start(args, options).ended
      assert.deepEqual(ended, await bench.plain(args, options))
      assert.equal(daemon.accepted, 0)
    })
  }
})

describe('a compile goes straight to rustc, in this very process,', () => {
  const cases: [string, Record<string, string>][] = [
    ['when SHOAL=off', { SHOAL: 'off' }],
    ['when SHOAL=0', { SHOAL: '0' }],
    ['when a build script asks', { CARGO_CFG_TARGET_ARCH: 'x86_64' }],
    ['when no home is known', { SHOAL_HOME: '', HOME: '', XDG_RUNTIME_DIR: '' }],
  ]
  for (const [name, env] of cases) {
    test(name, async () => {
      const daemon = await bench.listen()
      await bench.announce()
      const program = await bench.script('echo "$$ $*"; cat; echo err >&2; exit 3')
      const started = bench.start(bench.lib(), { program, env, input: 'in' })
      const { code, stdout, stderr } = await started.ended
      assert.equal(stdout.toString(), `${started.pid} ${bench.lib().join(' ')}\nin`)
      assert.deepEqual([code, stderr.toString()], [3, 'err\n'])
      assert.equal(daemon.accepted, 0)
    })
  }

  test('when there is neither daemon nor announcement', async () => {
    await bench.write('src/lib.rs', 'pub fn f() -> u8 { 1 }')
    const expected = await bench.expected(bench.lib())
    assert.deepEqual(await bench.start(bench.lib()).ended, expected.ended)
    assert.deepEqual(await bench.files(), expected.files)
  })

  test('when a socket was left without an announcement', async () => {
    const program = await bench.script('echo $$')
    await writeFile(bench.socket, '')
    const started = bench.start(bench.lib(), { program })
    assert.equal((await started.ended).stdout.toString(), `${started.pid}\n`)
  })
})

test('the daemon is looked for in the order of the documentation', async () => {
  const program = await bench.script('exit 0')
  const places: [string, Record<string, string>][] = [
    ['a/s.sock', { SHOAL_SOCKET: join(bench.dir, 'a/s.sock'), SHOAL_HOME: join(bench.dir, 'x') }],
    ['b/run/shoal.sock', { SHOAL_HOME: join(bench.dir, 'b'), XDG_RUNTIME_DIR: join(bench.dir, 'x') }],
    [
      'c/shoal/shoal.sock',
      { SHOAL_HOME: '', XDG_RUNTIME_DIR: join(bench.dir, 'c'), XDG_STATE_HOME: join(bench.dir, 'x') },
    ],
    ['d/shoal/run/shoal.sock', { SHOAL_HOME: '', XDG_STATE_HOME: join(bench.dir, 'd'), HOME: join(bench.dir, 'x') }],
    ['e/.local/state/shoal/run/shoal.sock', { SHOAL_HOME: '', HOME: join(bench.dir, 'e') }],
  ]
  for (const [path, env] of places) {
    const socket = await bench.write(join('..', path), '')
    await rm(socket)
    const daemon = await bench.listen(socket)
    const { ended } = bench.start(bench.lib(), { program, env })
    const { peer } = await daemon.greet()
    await peer.run()
    assert.equal((await ended).code, 0)
  }
})

test('a program that is not there is 127, without a word', async () => {
  const ended = await bench.start(['-vV'], { program: '/no/such/rustc' }).ended
  assert.deepEqual([ended.code, ended.stdout.length, ended.stderr.length], [127, 0, 0])
})
