import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { appendFile, mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { ask } from '../../src/cli/client.ts'
import { finishedSessions } from '../../src/daemon/warm-sources.ts'
import { Cluster, capture, type TestNode, type UnitRow } from '../support/cluster.ts'
import { idleDaemon } from '../support/idle.ts'
import { type Settled, settled } from '../support/settled.ts'

const modules = 12
const manifest = (name: string, uses = ''): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n${uses}`
const moduleText = (at: number, word: string): string =>
  `pub fn f(n: u64) -> String { format!("${word} {n} {:?}", (0..n).map(|x| x + ${at}).collect::<Vec<_>>()) }\n`
const moduleFile = (dir: string, at: number): string => join(dir, `base/src/m${at}.rs`)
const crates = ['base', 'top', 'app']
const libraries = ['base', 'top']
const recalled = new Set(libraries.map((crate) => `${crate} recalled-here `))

/** Three members; what the program says ends in the word that module 7 of `base` is made with. */
async function makeWorkspace(dir: string): Promise<string> {
  const files: [string, string][] = [
    ['Cargo.toml', '[workspace]\nmembers = ["base", "top", "app"]\nresolver = "2"\n'],
    ['.gitignore', '/target\n'],
    ['base/Cargo.toml', manifest('base')],
    ['base/src/lib.rs', Array.from({ length: modules }, (_, at) => `pub mod m${at};\n`).join('')],
    ['top/Cargo.toml', manifest('top', 'base = { path = "../base" }\n')],
    ['top/src/lib.rs', 'pub fn line() -> String { base::m7::f(1) }\n'],
    ['app/Cargo.toml', manifest('app', 'top = { path = "../top" }\n')],
    ['app/src/main.rs', 'fn main() { println!("{}", top::line()) }\n'],
  ]
  for (let at = 0; at < modules; at++) files.push([`base/src/m${at}.rs`, moduleText(at, 'first')])
  for (const [path, text] of files) {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), text)
  }
  return dir
}

describe('a build whose profile is incremental', () => {
  let cluster: Cluster
  let node: TestNode
  let first: string

  const checkout = async (name: string): Promise<string> => await makeWorkspace(join(cluster.dir, name))
  async function build(cwd: string, args: string[] = [], more: NodeJS.ProcessEnv = {}): Promise<Settled> {
    const { CARGO_INCREMENTAL: _, ...env } = await node.cargoEnv()
    const done = await settled(node, 'cargo', ['build', '--offline', ...args], { cwd, env: { ...env, ...more } })
    assert.equal(done.ran.code, 0, done.ran.stderr)
    return done
  }
  const outcomes = (units: UnitRow[]): string[] =>
    units.map(({ crate, outcome, reason }) => `${crate} ${outcome} ${reason}`)
  const ofLibraries = (units: UnitRow[]): Set<string> => new Set(outcomes(units.filter(({ kind }) => kind === 'lib')))
  const says = async (dir: string): Promise<string> => (await capture(join(dir, 'target/debug/app'), [])).stdout
  const pending = async (): Promise<number> =>
    ((await ask(join(node.home, 'run/shoal.sock'), 'status', {})) as { warming: number }).warming
  const incremental = (dir: string, profile = 'debug'): string => join(dir, 'target', profile, 'incremental')

  async function rest(until: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + 120_000
    while (!(await until())) {
      assert.ok(Date.now() < deadline, `${await pending()} units still wait: ${node.log}`)
      await delay(50)
    }
  }

  before(async () => {
    cluster = await Cluster.start(['one'])
    node = cluster.node('one')
    await node.stop()
    node.program = idleDaemon
    await node.start()
    first = await checkout('first')
    assert.equal((await build(first)).units.length, crates.length)
  })
  after(() => cluster.close())

  test('is shared', async () => {
    assert.deepEqual(readdirSync(incremental(first)), [])
    const second = await checkout('second')
    const { units } = await build(second)
    assert.deepEqual(ofLibraries(units), recalled)
    assert.equal(await says(second), 'first 1 [7]\n')
    assert.deepEqual(rlibs(second), rlibs(first))
  })

  // cargo gives its crates other names when incremental compilation is switched on or off: these are builds of their own.
  test('is shared with those of the same kind, whatever asked for it', async () => {
    const ways: [string, string[], NodeJS.ProcessEnv, 'shared' | 'apart'][] = [
      ['always', [], { CARGO_INCREMENTAL: '1' }, 'shared'],
      ['never', [], { CARGO_INCREMENTAL: '0' }, 'apart'],
      ['release', ['--release'], {}, 'apart'],
      ['release-always', ['--release'], { CARGO_INCREMENTAL: '1' }, 'apart'],
    ]
    for (const [name, args, env, how] of ways) {
      if (how === 'apart') {
        const { units } = await build(await checkout(`${name}-first`), args, env)
        assert.ok(
          units.every(({ outcome }) => outcome === 'compiled-here'),
          name,
        )
      }
      const { units } = await build(await checkout(name), args, env)
      assert.deepEqual(ofLibraries(units), recalled, name)
    }
  })

  test('gets the directories that it would have had, where it wanted them, and no output is touched', async () => {
    const dir = await checkout('warm')
    await build(dir)
    const outputs = snapshot(dir)
    assert.ok((await pending()) > 0)
    await rest(async () => (await pending()) === 0)
    for (const crate of crates) assert.equal(finishedSessions(incremental(dir), crate).size, 1, crate)
    assert.deepEqual(snapshot(dir), outputs)
    for (const [name, profile, sessions] of [
      ['always', 'debug', 1],
      ['never', 'debug', 0],
      ['release', 'release', 0],
      ['release-always', 'release', 1],
    ] as const) {
      const found = finishedSessions(incremental(join(cluster.dir, name), profile), 'base')
      assert.equal(found.size, sessions, name)
    }
  })

  test('after which an edited crate is compiled by rustc with its directory', async () => {
    const dir = join(cluster.dir, 'warm')
    const made = objects(incremental(dir))
    await writeFile(moduleFile(dir, 7), moduleText(7, 'second'))
    const { units } = await build(dir)
    assert.deepEqual(new Set(outcomes(units)), new Set(crates.map((crate) => `${crate} passed-through incremental`)))
    assert.equal(await says(dir), 'second 1 [7]\n')
    const kept = [...objects(incremental(dir))].filter((inode) => made.has(inode))
    assert.ok(kept.length >= modules - 1, `${kept.length} object files used again`)
  })

  test('and is not disturbed when an edit comes while a directory is being made', async () => {
    const dir = await checkout('hasty')
    await build(dir)
    const warmed = (): number => node.log.split('incremental directory warmed').length
    const sofar = warmed()
    await rest(async () => warmed() > sofar)
    await writeFile(moduleFile(dir, 7), moduleText(7, 'third'))
    await build(dir)
    assert.equal(await says(dir), 'third 1 [7]\n')
    await appendFile(join(dir, 'top/src/lib.rs'), '// more\n')
    await build(dir)
    assert.equal(await says(dir), 'third 1 [7]\n')
    await rest(async () => (await pending()) === 0)
    const { units } = await build(dir)
    assert.deepEqual(units, [])
  })

  test('compiles a crate that version control sees changed with its directory from the start', async () => {
    const dir = await checkout('edited')
    for (const args of [
      ['init', '-q'],
      ['add', '.'],
      ['commit', '-qm', 'x'],
    ]) {
      const identity = ['-c', 'user.name=x', '-c', 'user.email=x@localhost']
      assert.equal((await capture('git', [...identity, ...args], { cwd: dir })).code, 0)
    }
    await writeFile(join(dir, 'top/src/lib.rs'), 'pub fn line() -> String { base::m7::f(2) }\n')
    const { units } = await build(dir)
    const by = new Map(units.map(({ crate, outcome }) => [crate, outcome]))
    assert.deepEqual([by.get('base'), by.get('top')], ['recalled-here', 'passed-through'])
    assert.equal(finishedSessions(incremental(dir), 'top').size, 1)
    assert.equal(await says(dir), 'first 2 [7, 8]\n')
  })

  test('is left alone when that is switched off', async () => {
    await node.stop()
    // What the node knew of files; the next one goes on with it.
    assert.ok(statSync(join(node.home, 'cache/digests')).size > 100)
    await node.configure(
      `name = "one"\n[build]\nwarm-incremental = false\n[mesh]\nlisten = ["127.0.0.1"]\nmdns = false\n`,
    )
    await node.start()
    const dir = await checkout('off')
    const { units } = await build(dir)
    assert.ok(units.some(({ outcome }) => outcome === 'recalled-here'))
    assert.equal(await pending(), 0)
    await rm(dir, { recursive: true })
  })
})

/** Name → content of the libraries of a dev build. */
function rlibs(dir: string): Map<string, string> {
  const deps = join(dir, 'target/debug/deps')
  const names = readdirSync(deps).filter((name) => /\.(rlib|rmeta)$/.test(name))
  return new Map(names.sort().map((name) => [name, readFileSync(join(deps, name)).toString('base64')]))
}

/** What tells every file of a dev build apart from another or a later one. */
function snapshot(dir: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const entry of readdirSync(join(dir, 'target'), { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (!entry.isFile() || path.includes('/incremental/')) continue
    const { ino, size, mtimeMs, ctimeMs } = statSync(path)
    found.set(path, `${ino} ${size} ${mtimeMs} ${ctimeMs}`)
  }
  return found
}

/** Inodes of the object files of `base`. */
function objects(dir: string): Set<number> {
  const entries = readdirSync(dir, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.name.endsWith('.o') && entry.parentPath.includes('/base-'))
  return new Set(files.map((entry) => statSync(join(entry.parentPath, entry.name)).ino))
}
