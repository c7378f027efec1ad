import assert from 'node:assert/strict'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, type TestNode } from '../support/cluster.ts'
import { buildAnew, withLaunchers, writeAll } from '../support/scripts.ts'

/** No library of another kind of machine is here, so this needs none: not even `core`. What it is made from comes from OUT_DIR. */
const files = {
  'Cargo.toml': '[package]\nname = "crossing"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n',
  'build.rs': `fn main() {
    let variable = |name| std::env::var(name).unwrap_or_default();
    assert_ne!(variable("TARGET"), variable("HOST"));
    let text = format!("macro_rules! said {{ ({}) => {{}} }}", variable("CARGO_CFG_TARGET_ARCH"));
    std::fs::write(format!("{}/said.rs", variable("OUT_DIR")), text).unwrap();
    println!("cargo::rerun-if-env-changed=SAYS");
    println!("cargo::rustc-cfg=says_{}", variable("SAYS"));
    println!("cargo::rustc-check-cfg=cfg(says_alone)");
}
`,
  'src/lib.rs': `#![feature(no_core, rustc_attrs)]
#![allow(internal_features)]
#![no_core]
#[rustc_builtin_macro]
macro_rules! include { () => {} }
#[rustc_builtin_macro]
macro_rules! concat { () => {} }
#[rustc_builtin_macro]
macro_rules! env { () => {} }
include!(concat!(env!("OUT_DIR"), "/said.rs"));
said!(aarch64);
`,
}
const target = 'aarch64-unknown-linux-gnu'
/** `e_machine` of that in ELF. */
const aarch64 = 183

describe('build scripts of packages for another kind of machine', () => {
  let cluster: Cluster
  let node: TestNode
  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
    await withLaunchers(node)
  })
  after(() => cluster.close())

  const layouts: Record<string, string[]> = { usual: [], new: ['-Zbuild-dir-new-layout'] }
  const env = { RUSTC_BOOTSTRAP: '1' }

  /** Of which machine the library is that lies there. */
  async function machineOf(dir: string): Promise<number> {
    const library = await readFile(join(dir, 'target', target, 'debug/libcrossing.rlib'))
    return library.readUInt16LE(library.indexOf('\x7fELF', 0, 'latin1') + 18)
  }

  test('run on this one behind their launchers, in both layouts, and without a node too', async () => {
    for (const [name, more] of Object.entries(layouts)) {
      const dir = join(cluster.dir, name)
      await writeAll(dir, files)
      const args = [`--target=${target}`, ...more]
      const built = await buildAnew(node, dir, { env, args })
      assert.equal(built.code, 0, built.stderr)
      assert.equal(await machineOf(dir), aarch64)
      const entries = await readdir(join(dir, 'target'), { recursive: true })
      assert.equal(entries.filter((path) => path.endsWith('build-script.real')).length, 1, name)
      const again = await buildAnew(node, dir, { env, args })
      assert.equal(again.code, 0, again.stderr)
      const [first, second] = [built, again].map(({ runs }) => runs.get('crossing'))
      console.log(first?.outcome, first?.reason, second?.outcome, second?.reason)
      console.log(entries.filter((path) => /(output|stdout|stderr|timestamp|\/out|\.lock|-lock)$/.test(path)).join(' '))
      await rm(join(dir, 'target', target), { recursive: true })
    }
    await node.stop()
    await rm(node.home, { recursive: true })
    for (const [name, more] of Object.entries(layouts)) {
      const dir = join(cluster.dir, name)
      const alone = { ...process.env, ...env, CARGO_INCREMENTAL: '0', RUSTC_WRAPPER: '', SAYS: 'alone' }
      const args = ['build', '--offline', '-v', `--target=${target}`, ...more]
      const ran = await capture('cargo', args, { cwd: dir, env: alone })
      assert.equal(ran.code, 0, `${name}: ${ran.stderr}`)
      assert.match(ran.stderr, /Running `[^`]*build[-_]script[-_]build`/, name)
      assert.doesNotMatch(ran.stderr, /--crate-name build_script_build/, name)
      assert.match(ran.stderr, /--cfg says_alone/, name)
      assert.equal(await machineOf(dir), aarch64, name)
    }
  })
})
