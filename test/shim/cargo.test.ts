import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import type { CompileFrame } from '../../src/wire/local.ts'
import { Bench, type Peer, rustc, type TestDaemon, toolchain } from './support.ts'

let bench: Bench
before(async () => {
  bench = await Bench.create()
})
after(() => bench.remove())

const names = ['one', 'two', 'three', 'four', 'five']

async function workspace(): Promise<void> {
  const dependencies = names.map((name) => `${name} = { path = "${name}" }`).join('\n')
  await bench.write(
    'Cargo.toml',
    `[package]\nname = "all"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n${dependencies}\n`,
  )
  await bench.write('src/main.rs', `fn main() { println!("{}", ${names.map((name) => `${name}::f()`).join(' + ')}) }\n`)
  for (const name of names) {
    await bench.write(`${name}/Cargo.toml`, `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n`)
    await bench.write(`${name}/src/lib.rs`, 'pub fn f() -> u32 { let unused = 1; 1 }\n')
  }
}

function cargo(
  args: string[],
  env: Record<string, string> = {},
): { ended: Promise<{ stdout: string; stderr: string }> } {
  const base = { PATH: process.env.PATH ?? '', HOME: bench.dir, CARGO_HOME: bench.cargoHome, RUSTC: rustc }
  const all = { ...base, SHOAL_HOME: join(bench.dir, 'shoal'), CARGO_INCREMENTAL: '0', ...env }
  return { ended: promisify(execFile)(join(toolchain, 'cargo'), args, { cwd: bench.workspace, env: all }) }
}

const crateOf = ({ argv }: CompileFrame) => {
  const at = argv.findIndex((arg) => Buffer.from(arg).toString() === '--crate-name')
  return Buffer.from(argv[at + 1] ?? []).toString()
}

/** Lets the next compiles go away, waits until all of them are, then has each run here. */
async function takeAway(daemon: TestDaemon, count: number): Promise<string[]> {
  const away: { peer: Peer; crate: string }[] = []
  while (away.length < count) {
    const { peer, compile } = await daemon.greet()
    assert.equal(compile.hasJobserver, true)
    peer.send({ type: 'release', repay: false })
    assert.equal((await peer.expect('token')).state, 'released')
    away.push({ peer, crate: crateOf(compile) })
  }
  const runs = away.map(async ({ peer, crate }) => {
    peer.send({ type: 'run', privateDir: join(bench.dir, 'private', crate) })
    const state = (await peer.expect('token')).state
    assert.equal((await peer.expect('ran')).code, 0)
    return state
  })
  assert.deepEqual(new Set(await Promise.all(runs)), new Set(['taken']))
  return away.map(({ crate }) => crate)
}

test('cargo build -j2 has five units in flight while they are away, and the same result as without Shoal', async () => {
  await workspace()
  const daemon = await bench.listen()
  const build = cargo(['build', '-j2'], { RUSTC_WRAPPER: bench.shim }).ended
  // cargo itself made the pipe: were a token not given back, the third compile would not come.
  assert.deepEqual((await takeAway(daemon, names.length)).sort(), [...names].sort())
  const { peer, compile } = await daemon.greet()
  assert.equal(crateOf(compile), 'all')
  assert.equal((await peer.run(join(bench.dir, 'private/all'))).code, 0)
  const { stderr } = await build
  assert.equal(stderr.match(/unused variable/g)?.length, names.length)

  // Fresh with and without the wrapper, and the warnings are those that cargo stored.
  const again = await cargo(['build']).ended
  assert.doesNotMatch(again.stderr, /Compiling/)
  assert.equal(again.stderr.match(/unused variable/g)?.length, names.length)
  const run = await cargo(['run', '-q'], { RUSTC_WRAPPER: bench.shim }).ended
  assert.equal(run.stdout, '5\n')
  await rm(join(bench.workspace, 'target'), { recursive: true })
  const plain = await cargo(['build', '-j1']).ended
  const body = (text: string) =>
    text
      .split('\n')
      .filter((line) => !/Compiling|Finished|Locking/.test(line))
      .sort()
  assert.deepEqual(body(stderr), body(plain.stderr))
})
