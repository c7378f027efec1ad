import assert from 'node:assert/strict'
import { readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, type TestNode } from '../support/cluster.ts'
import { crossing, withLaunchers, writeAll } from '../support/scripts.ts'

/** Its script says how it was started: cargo shows that in what the program says. */
const files = {
  'Cargo.toml': '[package]\nname = "alone"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n',
  'build.rs': `fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/said"), std::env::var("SAYS").unwrap_or_default()).unwrap();
    println!("cargo::rerun-if-env-changed=SAYS");
    println!("cargo::rustc-env=FOR={}", std::env::var("TARGET").unwrap());
}
`,
  'src/main.rs': 'fn main() { println!("{} {}", include_str!(concat!(env!("OUT_DIR"), "/said")), env!("FOR")) }\n',
}

const elsewhere = 'aarch64-unknown-linux-gnu'
/** `e_machine` of that in ELF. */
const aarch64 = 183

describe('launchers of a node that is gone, with all its files', () => {
  let cluster: Cluster
  let node: TestNode
  let host: string
  const layouts: Record<string, { env: NodeJS.ProcessEnv; args: string[]; program: string }> = {}
  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
    await withLaunchers(node)
    host = /host: (.*)/.exec((await capture('rustc', ['-vV'])).stdout)?.[1] ?? ''
    const newer = { env: { RUSTC_BOOTSTRAP: '1' }, args: ['-Zbuild-dir-new-layout'] }
    layouts.usual = { env: {}, args: [], program: 'debug/alone' }
    layouts['with a target'] = { env: {}, args: [`--target=${host}`], program: `${host}/debug/alone` }
    layouts.new = { ...newer, program: 'debug/alone' }
    const across = { env: { RUSTC_BOOTSTRAP: '1' }, args: [`--target=${elsewhere}`], program: '' }
    layouts.across = across
    layouts['across, new'] = { ...across, args: [...across.args, ...newer.args] }
    const env = { ...(await node.cargoEnv()), CARGO_INCREMENTAL: '0' }
    for (const [name, { env: more, args }] of Object.entries(layouts)) {
      const dir = join(cluster.dir, name)
      await writeAll(dir, name.startsWith('across') ? crossing : files)
      const built = await capture('cargo', ['build', '--offline', ...args], { cwd: dir, env: { ...env, ...more } })
      assert.equal(built.code, 0, built.stderr)
      const entries = await readdir(join(dir, 'target'), { recursive: true })
      assert.equal(entries.filter((path) => path.endsWith('build-script.real')).length, 1, name)
    }
    await node.stop()
    await rm(node.home, { recursive: true })
  })
  after(() => cluster.close())

  /** Has the script run, and nothing else compiled than the package, by a cargo that knows of no node. */
  async function runs(name: string, says: string, target: string, wrapper: NodeJS.ProcessEnv = {}): Promise<void> {
    const { env = {}, args = [], program = '' } = layouts[name] ?? {}
    const own = { CARGO_INCREMENTAL: '0', RUSTC_WRAPPER: '', CARGO_TARGET_DIR: target, SAYS: says, ...wrapper }
    const options = { cwd: join(cluster.dir, name), env: { ...process.env, ...env, ...own } }
    const ran = await capture('cargo', ['build', '--offline', '-v', ...args], options)
    assert.equal(ran.code, 0, `${name}: ${ran.stderr}`)
    assert.match(ran.stderr, /Running `[^`]*build[-_]script[-_]build`/, name)
    assert.doesNotMatch(ran.stderr, /--crate-name build_script_build/, name)
    assert.equal((await capture(join(target, program), [])).stdout, `${says} ${host}\n`, name)
  }

  for (const name of ['across', 'across, new']) {
    test(`become their scripts for another kind of machine, too: ${name}`, async () => {
      const { env = {}, args = [] } = layouts[name] ?? {}
      const dir = join(cluster.dir, name)
      const own = { CARGO_INCREMENTAL: '0', RUSTC_WRAPPER: '', SAYS: 'alone' }
      const options = { cwd: dir, env: { ...process.env, ...env, ...own } }
      const machine = async (): Promise<number> => {
        const library = await readFile(join(dir, 'target', elsewhere, 'debug/libcrossing.rlib'))
        return library.readUInt16LE(library.indexOf('\x7fELF', 0, 'latin1') + 18)
      }
      assert.equal(await machine(), aarch64)
      const ran = await capture('cargo', ['build', '--offline', '-v', ...args], options)
      assert.equal(ran.code, 0, ran.stderr)
      assert.match(ran.stderr, /Running `[^`]*build[-_]script[-_]build`/)
      assert.doesNotMatch(ran.stderr, /--crate-name build_script_build/)
      assert.match(ran.stderr, /--cfg says_alone/)
      assert.equal(await machine(), aarch64)
    })
  }

  for (const name of ['usual', 'with a target', 'new']) {
    test(`become their scripts, in both layouts, in a directory that was moved, copied or linked: ${name}`, async () => {
      const target = join(cluster.dir, name, 'target')
      await runs(name, 'alone', target)
      await runs(name, 'off', target, { SHOAL: 'off' })

      const moved = join(cluster.dir, `${name}, moved`)
      await rename(target, moved)
      await runs(name, 'moved', moved)

      const linked = join(cluster.dir, `${name}, linked`)
      const done = await capture('cp', ['-al', moved, linked])
      assert.equal(done.code, 0, done.stderr)
      await runs(name, 'linked', linked)
      await runs(name, 'moved again', moved)

      const copied = join(cluster.dir, `${name}, copied`)
      assert.equal((await capture('cp', ['-a', moved, copied])).code, 0)
      await rm(moved, { recursive: true })
      await rm(linked, { recursive: true })
      await runs(name, 'copied', copied)
    })
  }
})
