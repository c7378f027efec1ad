import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { Bench, rustc, toolchain } from './support.ts'

let bench: Bench
before(async () => {
  bench = await Bench.create()
})
after(() => bench.remove())
afterEach(() => bench.reset())

/** Says all that it was given, and has the package depend on what it says. */
const buildScript = `
use std::{env, fs, io::{self, Read}};
fn main() {
    let mut said = String::new();
    io::stdin().read_to_string(&mut said).unwrap();
    let vars: std::collections::BTreeMap<_, _> = env::vars().collect();
    said += &format!("{:?}\\n{:?}\\n{:#?}\\n", env::args().collect::<Vec<_>>(), env::current_dir(), vars);
    fs::write(env::var("OUT_DIR").unwrap() + "/said", said).unwrap();
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=MADE=by the script");
    eprintln!("a word on stderr");
}
`

async function workspace(): Promise<void> {
  await bench.write('Cargo.toml', '[package]\nname = "all"\nversion = "0.1.0"\nedition = "2021"\n')
  await bench.write('build.rs', buildScript)
  await bench.write('src/main.rs', 'fn main() { print!("{}", env!("MADE")) }\n')
  // Programs that are called like build scripts.
  await bench.write('src/bin/build-script-mine.rs', 'fn main() { print!("mine") }\n')
  await bench.write('examples/build_script_build.rs', 'fn main() { print!("example") }\n')
}

async function cargo(args: string[], env: Record<string, string> = {}): Promise<{ stdout: string; stderr: string }> {
  const own = { PATH: process.env.PATH ?? '', HOME: bench.dir, CARGO_HOME: bench.cargoHome, RUSTC: rustc }
  const all = { ...own, SHOAL_HOME: join(bench.dir, 'shoal'), RUSTC_WRAPPER: bench.shim, ...env }
  return await promisify(execFile)(join(toolchain, 'cargo'), args, { cwd: bench.workspace, env: all })
}

const target = (): string => join(bench.workspace, 'target')

/** Every file below the target directory that has this name. */
async function called(pattern: RegExp, dir = target()): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile() && pattern.test(entry.name))
  return files.map((entry) => join(entry.parentPath, entry.name)).toSorted()
}

async function only(pattern: RegExp, dir = target()): Promise<string> {
  const found = await called(pattern, dir)
  assert.equal(found.length, 1, found.join('\n'))
  return found[0] ?? ''
}

const real = /^build-script\.real$/
const compiled = /^build_script_build-[0-9a-f]{16}$/
const layouts: [string, string[], Record<string, string>][] = [
  ['the layout of today', [], {}],
  ["cargo's new layout", ['-Zbuild-dir-new-layout'], { RUSTC_BOOTSTRAP: '1' }],
]

for (const [name, flags, env] of layouts) {
  describe(`a build script behind a launcher, in ${name},`, () => {
    const build = ['build', '--all-targets', ...flags]

    test('gets what cargo gives it, and cargo gets what it says; other programs stay what they are', async () => {
      await workspace()
      await bench.announce()
      await cargo(build, env)
      const place = (await called(compiled)).find((path) => /\/all[-/][0-9a-f]{16}/.test(path))
      assert.ok(place)
      // In cargo's new layout its search path begins at the directory of any of the package's units.
      const said = async () =>
        (await readFile(await only(/^said$/), 'utf8')).replace(/(:.*\/all\/)[0-9a-f]{16}(\/out:)/, '$1$2')
      const [plain, before] = [await readFile(place), await said()]
      assert.deepEqual(await called(real), [])
      await rm(target(), { recursive: true })

      await bench.announce('launch')
      await cargo(build, env)
      assert.equal(await said(), before)
      assert.match(before, /CARGO_MANIFEST_DIR/)
      const { stdout } = await cargo(['run', '-q', '--bin', 'all', ...flags], env)
      assert.equal(stdout, 'by the script')
      assert.equal(dirname(await only(real)), dirname(place))
      assert.deepEqual(await readFile(await only(real)), plain)
      const launcher = await readFile(bench.shim)
      for (const path of [place, join(dirname(place), 'build-script-build')])
        assert.ok((await readFile(path)).equals(launcher), path)
      for (const args of [
        ['--bin', 'build-script-mine'],
        ['--example', 'build_script_build'],
      ])
        assert.match((await cargo(['run', '-q', ...args, ...flags], env)).stdout, /^(mine|example)$/)
    })

    test('is fresh to cargo with the wrapper and without, and is made anew without it', async () => {
      await workspace()
      await bench.announce('launch')
      await cargo(build, env)
      for (const RUSTC_WRAPPER of [bench.shim, ''])
        assert.match((await cargo([...build, '-v'], { ...env, RUSTC_WRAPPER })).stderr, /Fresh all[\s\S]*Finished/)
      await bench.write('build.rs', buildScript.replace('by the script', 'by another one'))
      await cargo(build, { ...env, RUSTC_WRAPPER: '' })
      const run = ['run', '-q', '--bin', 'all', ...flags]
      assert.equal((await cargo(run, { ...env, RUSTC_WRAPPER: '' })).stdout, 'by another one')
      // And once more behind one.
      await bench.write('build.rs', buildScript.replace('by the script', 'by a third one'))
      await cargo(build, env)
      assert.equal((await cargo(run, env)).stdout, 'by a third one')
      await cargo(['clean', '-p', 'all', ...flags], env)
      assert.deepEqual(await called(/^build[-_]script/), [])
    })

    test('runs in a directory that was moved, and in one that is hard links to another', async () => {
      await workspace()
      await bench.announce('launch')
      await cargo(build, env)
      const moved = join(bench.workspace, 'moved')
      await rename(target(), moved)
      await promisify(execFile)('cp', ['-al', moved, target()])
      const OUT_DIR = bench.workspace
      for (const dir of [moved, target()]) {
        const script = join(dirname(await only(real, dir)), 'build-script-build')
        const ended = await bench.spawn(script, [], { env: { OUT_DIR } }).ended
        assert.equal(ended.stdout.toString(), 'cargo::rerun-if-changed=build.rs\ncargo::rustc-env=MADE=by the script\n')
        const link = join(bench.workspace, `link-${basename(dir)}`)
        await symlink(script, link)
        assert.deepEqual(await bench.spawn(link, [], { env: { OUT_DIR } }).ended, ended)
      }
    })
  })
}

/** A launcher, and this shell script as what it launches. */
async function launched(script: string): Promise<string> {
  const launcher = join(bench.workspace, 'x/build-script-build')
  await mkdir(dirname(launcher), { recursive: true })
  await copyFile(bench.shim, launcher)
  const path = await bench.write('x/build-script.real', `#!/bin/sh\n${script}\n`)
  await chmod(path, 0o755)
  return launcher
}

test('a launcher passes streams, arguments, descriptors, status and signals on, in one process', async () => {
  const launcher = await launched('echo "$# $1 $2 $SHOAL"; cat; echo err >&2; echo $$; exit 7')
  const started = bench.spawn(launcher, ['a b', ''], { input: 'in', env: { SHOAL: 'off', HOME: '' } })
  assert.deepEqual(await started.ended, {
    code: 7,
    signal: null,
    stdout: Buffer.from(`2 a b  off\nin${started.pid}\n`),
    stderr: Buffer.from('err\n'),
  })
  const killed = await bench.spawn(await launched('kill -SEGV $$'), [], {}).ended
  assert.equal(killed.signal, 'SIGSEGV')
  const waiting = bench.spawn(
    await launched('trap "echo caught; exit 3" TERM; echo up >&2; while :; do sleep 0.1; done'),
    [],
    {},
  )
  await waiting.shows('up')
  process.kill(waiting.pid, 'SIGTERM')
  const caught = await waiting.ended
  assert.deepEqual([caught.code, caught.stdout.toString()], [3, 'caught\n'])
})

test('a launcher without what it launches says so and fails; one that would launch itself does too', async () => {
  const launcher = await launched('echo never')
  await rm(join(dirname(launcher), 'build-script.real'))
  const missing = async (): Promise<void> => {
    const { code, stdout, stderr } = await bench.spawn(launcher, [rustc, '-vV'], {}).ended
    assert.deepEqual([code, stdout.toString()], [127, ''])
    assert.match(stderr.toString(), /build-script\.real is missing/)
  }
  await missing()
  // Each of the two is in the place of the other.
  await copyFile(bench.shim, join(dirname(launcher), 'build-script.real'))
  await missing()
})

describe('no launcher takes the place of', () => {
  const place = 'target/debug/build/all-0123456789abcdef'
  const base = {
    '--crate-name': 'build_script_build',
    '--crate-type': 'bin',
    '--emit': 'dep-info,link',
    '--out-dir': place,
    '-C': 'extra-filename=-0123456789abcdef',
  }
  const cases: [string, Partial<typeof base>, string[], Record<string, string>][] = [
    ['a program of the user’s', {}, [], { CARGO_BIN_NAME: 'build-script-build' }],
    ['what sees the outputs of a build script', {}, [], { OUT_DIR: '/tmp' }],
    ['a test', {}, ['--test'], {}],
    ['what is made for another target', {}, ['--target', 'x86_64-unknown-linux-gnu'], {}],
    ['another crate', { '--crate-name': 'builder' }, [], {}],
    ['what lies elsewhere', { '--out-dir': 'target/debug/deps' }, [], {}],
    ['another unit of the same package', { '-C': 'extra-filename=-fedcba9876543210' }, [], {}],
    ['what is of another package', {}, [], { CARGO_PKG_NAME: 'other' }],
    ['what is only checked', { '--emit': 'dep-info,metadata' }, [], {}],
    ['what no cargo has asked for', {}, [], { CARGO_PKG_NAME: '' }],
  ]
  const compile = async (
    changed: Partial<typeof base>,
    more: string[],
    env: Record<string, string>,
  ): Promise<string[]> => {
    const args = { ...base, ...changed }
    await mkdir(join(bench.workspace, args['--out-dir']), { recursive: true })
    await bench.write('build.rs', 'fn main() {}\n')
    await bench.announce('launch')
    const all = ['build.rs', ...Object.entries(args).flat(), ...more]
    const { code, stderr } = await bench.start(all, { env: { CARGO_PKG_NAME: 'all', ...env } }).ended
    assert.equal(code, 0, stderr.toString())
    return await called(real)
  }
  test('nothing else: a build script', async () => assert.equal((await compile({}, [], {})).length, 1))
  for (const [name, changed, more, env] of cases)
    test(name, async () => assert.deepEqual(await compile(changed, more, env), []))

  test('a script that could not be compiled', async () => {
    await compile({}, [], {})
    const before = await stat(await only(compiled))
    await bench.write('build.rs', 'fn main() { none() }\n')
    const { code } = await bench.start(['build.rs', ...Object.entries(base).flat()], { env: { CARGO_PKG_NAME: 'all' } })
      .ended
    assert.equal(code, 1)
    assert.equal((await stat(await only(compiled))).ino, before.ino)
  })
})

test('a launcher of another version is none that a launcher is put in the place of', async () => {
  const place = join(bench.workspace, 'target/debug/build/all-0123456789abcdef')
  const script = join(place, 'build_script_build-0123456789abcdef')
  const args = (emit: string) => [
    ...['build.rs', '--crate-name', 'build_script_build', '--crate-type', 'bin', '--emit', emit, '--out-dir', place],
    ...['-C', 'extra-filename=-0123456789abcdef'],
  ]
  const env = { CARGO_PKG_NAME: 'all' }
  await mkdir(place, { recursive: true })
  await bench.write('build.rs', 'fn main() { print!("ran") }\n')
  await bench.announce('launch')
  assert.equal((await bench.start(args('dep-info,link'), { env }).ended).code, 0)
  await writeFile(script, Buffer.concat([await readFile(bench.shim), Buffer.from('another version')]))
  const launcher = await readFile(script)
  // Neither of them makes a script.
  const pretends = await bench.script('exit 0')
  assert.equal((await bench.start(args('dep-info,metadata'), { env }).ended).code, 0)
  assert.equal((await bench.start(args('dep-info,link'), { env, program: pretends }).ended).code, 0)
  assert.deepEqual(await readFile(script), launcher)
  assert.equal((await bench.spawn(script, [], {}).ended).stdout.toString(), 'ran')
})

test('what is compiled where no second name can be made is left as it is', async () => {
  const dir = join(bench.workspace, 'target/debug/build/all-0123456789abcdef')
  // A directory where the real one would be put.
  await mkdir(join(dir, 'build-script.real/full'), { recursive: true })
  await bench.write('build.rs', 'fn main() { print!("plain") }\n')
  await bench.announce('launch')
  const args = ['build.rs', '--crate-name', 'build_script_build', '--crate-type', 'bin', '--emit=dep-info,link']
  const more = ['--out-dir', dir, '-C', 'extra-filename=-0123456789abcdef']
  assert.equal((await bench.start([...args, ...more], { env: { CARGO_PKG_NAME: 'all' } }).ended).code, 0)
  const script = await only(compiled)
  await rm(join(dir, 'build-script.real'), { recursive: true })
  assert.equal((await bench.spawn(script, [], {}).ended).stdout.toString(), 'plain')
  assert.deepEqual((await readdir(dir)).toSorted(), [basename(script), `${basename(script)}.d`].toSorted())
})
