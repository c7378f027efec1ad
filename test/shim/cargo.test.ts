import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { promisify } from 'node:util'
import type { CompileFrame } from '../../src/wire/local-frames.ts'
import { Bench, type Peer, type RunFrame, runFrame, rustc, type TestDaemon, toolchain } from './support.ts'

let bench: Bench
before(async () => {
  bench = await Bench.create()
})
after(() => bench.remove())
afterEach(() => bench.reset())

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

const argvOf = ({ argv }: CompileFrame) => argv.map((arg) => Buffer.from(arg).toString())

/** Has every compile of the build run here, in private directories; gives what the shims told. */
async function obey(
  daemon: TestDaemon,
  build: Promise<unknown>,
  more: Partial<RunFrame> = {},
): Promise<CompileFrame[]> {
  const compiles: CompileFrame[] = []
  const work = async (): Promise<void> => {
    for (;;) {
      const { peer, compile } = await daemon.greet()
      compiles.push(compile)
      const ran = peer.run(join(bench.dir, `private/${compile.pid}`), more)
      void ran.then(({ code }) => assert.equal(code, 0))
    }
  }
  await Promise.race([build, work()])
  return compiles
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
    peer.send(runFrame(join(bench.dir, 'private', crate)))
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

test('arguments that are too long for a command line: cargo passes them in a file', async () => {
  // All features come in one argument, and Linux allows 128 KiB for one.
  const features = Array.from({ length: 2000 }, (_, at) => `${'f'.repeat(70)}${at} = []`).join('\n')
  await bench.write(
    'Cargo.toml',
    `[package]\nname = "long"\nversion = "0.1.0"\nedition = "2021"\n[features]\n${features}\n`,
  )
  await bench.write('src/lib.rs', 'pub fn f() -> u32 { let unused = 1; 1 }\n')
  await bench.write('src/main.rs', 'fn main() { println!("{}", long::f()) }\n')
  const daemon = await bench.listen()
  // Newer versions of cargo do so when this is set, too.
  const env = { RUSTC_WRAPPER: bench.shim, CARGO_INCREMENTAL: '1', __CARGO_TEST_FORCE_ARGFILE: '1' }
  const build = cargo(['build'], env).ended
  const compiles = await obey(daemon, build, { stripIncremental: true })
  assert.equal(compiles.length, 2)
  for (const compile of compiles) {
    const [program, file = '', ...rest] = argvOf(compile)
    assert.equal(program, rustc)
    assert.match(file, /^@/)
    assert.deepEqual(rest, [])
  }
  assert.match((await build).stderr, /unused variable/)
  const run = await cargo(['run', '-q'], { RUSTC_WRAPPER: bench.shim, CARGO_INCREMENTAL: '1' }).ended
  assert.equal(run.stdout, '1\n')
  await assert.rejects(stat(join(bench.workspace, 'target/debug/incremental/long')), { code: 'ENOENT' })
})

test('cargo clippy is heard too: clippy-driver for the workspace, and the warnings as without Shoal', async () => {
  await bench.write('Cargo.toml', '[package]\nname = "lint"\nversion = "0.1.0"\nedition = "2021"\n')
  await bench.write('build.rs', 'fn main() { println!("cargo::rerun-if-changed=build.rs") }\n')
  await bench.write('src/lib.rs', 'pub fn empty(x: &Vec<u8>) -> bool { x.len() == 0 }\n')
  const path = `${toolchain}:${process.env.PATH}`
  const plain = await cargo(['clippy'], { PATH: path }).ended
  await rm(join(bench.workspace, 'target'), { recursive: true })

  const daemon = await bench.listen()
  const build = cargo(['clippy'], { PATH: path, RUSTC_WRAPPER: bench.shim }).ended
  const compiles = await obey(daemon, build, { stripIncremental: true })
  assert.deepEqual(compiles.map(crateOf), ['build_script_build', 'lint'])
  for (const compile of compiles) {
    assert.deepEqual(argvOf(compile).slice(0, 2), [join(toolchain, 'clippy-driver'), rustc])
  }
  const body = (text: string) => text.split('\n').filter((line) => !/Finished/.test(line))
  const { stderr } = await build
  assert.match(stderr, /clippy::ptr_arg/)
  assert.deepEqual(body(stderr), body(plain.stderr))
})

test('a build script that asks rustc something gets its answer from rustc', async () => {
  await bench.write('Cargo.toml', '[package]\nname = "probe"\nversion = "0.1.0"\nedition = "2021"\n')
  await bench.write('src/main.rs', 'fn main() { println!("{}", env!("PROBED")) }\n')
  await bench.write(
    'build.rs',
    `use std::{env, fs, process::Command};
    fn main() {
        let out = env::var("OUT_DIR").unwrap();
        fs::write(format!("{out}/probe.rs"), "pub fn probe() {}").unwrap();
        let done = Command::new(env::var("RUSTC_WRAPPER").unwrap())
            .arg(env::var("RUSTC").unwrap())
            .args(["--crate-name", "probe", "--crate-type=lib", "--emit=metadata", "--out-dir", &out])
            .arg(format!("{out}/probe.rs"))
            .status()
            .unwrap();
        println!("cargo::rustc-env=PROBED={}", done.success());
    }\n`,
  )
  const daemon = await bench.listen()
  const build = cargo(['run', '-q'], { RUSTC_WRAPPER: bench.shim }).ended
  const compiles = await obey(daemon, build)
  assert.deepEqual(compiles.map(crateOf), ['build_script_build', 'probe'])
  assert.equal((await build).stdout, 'true\n')
})
