import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { runScriptAgain, ScriptsAgain } from '../../src/daemon/script-again.ts'
import { findBubblewrap } from '../../src/daemon/warm-run.ts'
import { FileClock } from '../../src/daemon/work.ts'
import type { Read } from '../../src/plan/action.ts'
import { type PlannedScript, planScript } from '../../src/plan/script-plan.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { LocalView } from '../../src/plan/view.ts'
import type { Ground } from '../../src/recall/evidence.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'
import { capture } from '../support/cluster.ts'
import { keptObserver, keptShim } from '../support/programs.ts'
import { until } from '../support/until.ts'

const source = `use std::{env, fs, process::Command};
fn main() {
    let out = env::var("OUT_DIR").unwrap();
    fs::write(format!("{out}/copied"), fs::read("given").unwrap()).unwrap();
    println!("cargo::rustc-env=DIR={out}");
    match env::var("DEED").unwrap().as_str() {
        "compiles" => {
            fs::write(format!("{out}/x.c"), "int x;").unwrap();
            assert!(Command::new("cc").args(["-c", "x.c"]).current_dir(&out).status().unwrap().success());
            eprintln!("done");
        }
        "writes elsewhere" => fs::write("left", "x").unwrap(),
        "uses the network" => drop(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()),
        "asks the time" => println!("{:?}", std::time::SystemTime::now()),
        "names its directory" => println!("{}", env::temp_dir().display()),
        "fails" => std::process::exit(1),
        "sleeps" => std::thread::sleep(std::time::Duration::from_secs(60)),
        other => panic!("{other}"),
    }
}
`

const linux = { skip: process.platform !== 'linux' }

test('a build script runs again as it was started, and nothing but its result is left of that', linux, async (t) => {
  const dir = await temporaryDirectory(t)
  const bubblewrap = await findBubblewrap(process.env)
  const observer = (await keptObserver('rustc', join(dir, 'bin')))?.path
  const shim = (await keptShim('rustc', join(dir, 'bin'))).path
  if (bubblewrap === undefined || observer === undefined) return t.skip('nothing can be mounted here')
  const home = join(dir, 'home')
  const [fish, at] = [join(home, '.cargo/registry/src/index/fish-1.0.0'), join(dir, 'ws/target/debug/build/fish-01')]
  const outDir = join(at, 'out')
  for (const made of [fish, outDir]) await mkdir(made, { recursive: true })
  await writeFile(join(dir, 'ws/target/debug/.cargo-lock'), '')
  await writeFile(join(dir, 'build.rs'), source)
  const program = join(at, 'build-script.real')
  const made = await capture('rustc', ['--edition=2021', join(dir, 'build.rs'), '-o', program])
  assert.equal(made.code, 0, made.stderr)
  await copyFile(shim, join(at, 'build-script-build'))
  await writeFile(join(outDir, 'before'), 'what cargo has')

  const clock = new FileClock(join(dir, 'clock'))
  t.after(() => clock.close())
  const stamp = (): number => clock.now()
  /** Changes a file so long ago that a run which begins now has read what is in it. */
  const writes = async (path: string, text: string): Promise<void> => {
    await writeFile(path, text)
    const { ctimeMs } = await stat(path)
    await until('the clock of the file system has moved on', () => stamp() > ctimeMs, { everyMs: 1 })
  }
  const digests = new StatDigests()
  const shell = { HOME: home, PATH: process.env.PATH ?? '' }
  const plannedFor = async (deed: string, umask: number): Promise<[PlannedScript, Ground]> => {
    const cargo = { CARGO_MANIFEST_DIR: fish, CARGO_PKG_NAME: 'fish', OUT_DIR: outDir, TARGET: 't', HOST: 't' }
    const env = new Map(Object.entries({ ...shell, ...cargo, CARGO_MAKEFLAGS: '-j --jobserver-fds=8,9', DEED: deed }))
    const call = { program, cwd: fish, env, outDir, umask, cargoPid: 1 }
    const planned = await planScript(call, 'salt', {
      digests,
      toolchain: async () => ({ digest: 'a'.repeat(64), host: 't', sysroot: '/nowhere', covered: new Set<string>() }),
      cargoEnvironment: async () => new Map(Object.entries(shell)),
      processor: () => 'fast',
    })
    assert.ok(typeof planned !== 'string', String(planned))
    const view = new LocalView(digests, shell.PATH, fish)
    return [planned, { roots: planned.roots, dependencyDirs: [], env, view, tree: async () => undefined }]
  }
  const scratch = join(dir, 'scratch')
  await writes(join(fish, 'given'), 'fins')
  const again = async (deed: string, umask = 0o22, { signal } = new AbortController()) => {
    const [planned, ground] = await plannedFor(deed, umask)
    const rerun = await runScriptAgain(planned, { scratch, bubblewrap, observer, ground, stamp, signal })
    assert.equal(existsSync(scratch), false, deed)
    assert.deepEqual(await readdir(outDir), ['before'], deed)
    assert.equal(existsSync(join(fish, 'left')), false, deed)
    return rerun
  }

  const first = await again('compiles')
  const named = (kind: Read[0]): string[] =>
    (first?.reads?.reads ?? []).flatMap((read) => (read[0] === kind ? [read[1]] : []))
  assert.ok(named('file').includes('\0package\0/given'), String(named('file')))
  assert.ok(named('program').includes('cc'), String(named('program')))
  assert.deepEqual((await again('compiles'))?.outputs, first?.outputs)
  assert.notDeepEqual((await again('compiles', 0o77))?.outputs, first?.outputs)
  await writes(join(fish, 'given'), 'tail')
  assert.notDeepEqual((await again('compiles'))?.outputs, first?.outputs)
  for (const deed of ['writes elsewhere', 'uses the network', 'asks the time', 'names its directory', 'fails'])
    assert.equal(await again(deed), undefined, deed)
  const stopping = new AbortController()
  setTimeout(() => stopping.abort(), 300)
  assert.equal(await again('sleeps', 0o22, stopping), undefined)

  // Only as long as all that went into it is what it was.
  const [planned, ground] = await plannedFor('compiles', 0o22)
  const needs = {
    digests,
    observer: () => observer,
    bubblewrap: async () => bubblewrap,
    isStill: async () => isToolchainStill,
    stamp,
  }
  let isToolchainStill = true
  const scripts = await ScriptsAgain.open(needs, { scratchDir: scratch })
  const { signal } = new AbortController()
  const given = await digests.digest(join(fish, 'given'))
  const looked = { reads: [['file', '\0package\0/given', given.cid]] as Read[], env: [] }
  const makes = async (): Promise<boolean> => (await scripts.of(planned, ground)(looked, signal)) !== undefined
  assert.equal(await makes(), true)
  isToolchainStill = false
  assert.equal(await makes(), false)
  isToolchainStill = true
  await writes(join(fish, 'given'), 'other')
  assert.equal(await makes(), false)
  await writes(join(fish, 'given'), 'tail')
  assert.equal(await makes(), true)
  await writeFile(program, 'another script')
  assert.equal(await makes(), false)
})
