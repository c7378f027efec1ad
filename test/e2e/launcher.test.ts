import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, lastReport, type TestNode } from '../support/cluster.ts'

describe('build scripts behind launchers', () => {
  let cluster: Cluster
  let node: TestNode
  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
  })
  after(() => cluster.close())

  /** The scripts below a directory by package, as they are run, or the real ones. */
  async function scripts(dir: string, pattern: RegExp): Promise<Map<string, Buffer>> {
    const build = join(dir, 'target/debug/build')
    const files = (await readdir(build, { recursive: true })).filter((path) => pattern.test(path)).toSorted()
    const read = files.map(async (path) => [dirname(path), await readFile(join(build, path))] as const)
    return new Map(await Promise.all(read))
  }
  // Not what lies in private directories that are about to go.
  const compiled = /^[^/]*\/build_script_build-[0-9a-f]{16}$/
  const real = /build-script\.real$/

  /** Two packages with a build script each. */
  async function workspace(): Promise<string> {
    const dir = join(cluster.dir, 'launched')
    const write = async (path: string, text: string): Promise<void> => {
      await mkdir(dirname(join(dir, path)), { recursive: true })
      await writeFile(join(dir, path), text)
    }
    await write('Cargo.toml', '[workspace]\nmembers = ["one", "two"]\nresolver = "2"\n')
    for (const name of ['one', 'two']) {
      await write(`${name}/Cargo.toml`, `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n`)
      await write(`${name}/build.rs`, `fn main() { println!("cargo::rustc-env=NAMED=${name}") }\n`)
      await write(`${name}/src/lib.rs`, 'pub const NAMED: &str = env!("NAMED");\n')
    }
    return dir
  }

  async function build(dir: string): Promise<void> {
    const ran = await node.cargo(dir, 'build', '--offline')
    assert.equal(ran.code, 0, ran.stderr)
  }

  /** Has the node started again with launchers, or without. */
  async function withLaunchers(wanted: boolean): Promise<void> {
    await node.stop()
    const config = join(node.home, 'config.toml')
    const text = (await readFile(config, 'utf8')).replace(/\[build\]\nscript-launcher = \w+\n/, '')
    await node.configure(`${text}[build]\nscript-launcher = ${wanted}\n`)
    await node.start()
  }

  test('the same bytes are kept and recalled with launchers and without, and cargo is content with either', async () => {
    const dir = await workspace()
    await build(dir)
    const plain = await scripts(dir, compiled)
    assert.equal(plain.size, 2)
    assert.equal((await scripts(dir, real)).size, 0)

    await withLaunchers(true)
    await rm(join(dir, 'target'), { recursive: true })
    await build(dir)
    const recalled = async (): Promise<void> => {
      const units = (await lastReport(node)).units.filter(({ kind }) => kind === 'build-script')
      assert.equal(units.length, plain.size)
      assert.deepEqual(new Set(units.map(({ outcome }) => outcome)), new Set(['recalled-here']))
    }
    await recalled()
    assert.deepEqual(await scripts(dir, real), plain)
    const launchers = [...(await scripts(dir, compiled)).values()]
    assert.equal(launchers.length, plain.size)
    for (const launcher of launchers) assert.ok(launcher.equals(launchers[0] ?? Buffer.alloc(0)))

    // What is compiled behind a launcher is kept as the script itself.
    await node.stop()
    await rm(join(node.home, 'cache'), { recursive: true })
    await withLaunchers(true)
    await rm(join(dir, 'target'), { recursive: true })
    await build(dir)
    assert.deepEqual(await scripts(dir, real), plain)
    await withLaunchers(false)
    await rm(join(dir, 'target'), { recursive: true })
    await build(dir)
    await recalled()
    assert.deepEqual(await scripts(dir, compiled), plain)

    // With the wrapper switched off cargo has nothing to do, and without a node the launchers work.
    await withLaunchers(true)
    await rm(join(dir, 'target'), { recursive: true })
    await build(dir)
    await node.stop()
    const env = { ...(await node.cargoEnv()), SHOAL: 'off', RUSTC_WRAPPER: '' }
    const cargo = (...args: string[]) => capture('cargo', [...args, '--offline', '-v'], { cwd: dir, env })
    assert.doesNotMatch((await cargo('build')).stderr, /Dirty|Compiling|Running/)
    for (const script of (await readdir(join(dir, 'target/debug/build'), { recursive: true })).filter((path) =>
      /^[^/]*\/output$/.test(path),
    ))
      await rm(join(dir, 'target/debug/build', script))
    const rerun = await cargo('build')
    assert.equal(rerun.code, 0, rerun.stderr)
    assert.match(rerun.stderr, /Running `[^`]*build-script-build`/)
    await node.start()
  })
})
