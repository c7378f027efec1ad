import assert from 'node:assert/strict'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, type TestNode, type UnitRow } from '../support/cluster.ts'
import { cargoHome, publish } from '../support/registry.ts'
import { buildAnew, outDirOf, withLaunchers, writeAll } from '../support/scripts.ts'

/** Published packages: one whose script writes down how long a path is, and one that asks the compiler, as that of libc does. */
const packages = [
  {
    name: 'measures-sys',
    version: '1.0.0',
    manifest: '',
    files: {
      'build.rs': `use std::{env, fs};
fn main() {
    let length = env::var("CARGO_MANIFEST_DIR").unwrap().len();
    fs::write(format!("{}/length", env::var("OUT_DIR").unwrap()), length.to_string()).unwrap();
}
`,
      'src/lib.rs': 'pub const LENGTH: &str = include_str!(concat!(env!("OUT_DIR"), "/length"));\n',
    },
  },
  {
    name: 'probes-sys',
    version: '1.0.0',
    manifest: '',
    files: {
      'build.rs': `use std::{env, process::Command};
fn main() {
    let rustc = env::var_os("RUSTC").unwrap();
    let mut command = match env::var_os("RUSTC_WRAPPER").filter(|wrapper| !wrapper.is_empty()) {
        Some(wrapper) => { let mut command = Command::new(wrapper); command.arg(rustc); command }
        None => Command::new(rustc),
    };
    let said = String::from_utf8(command.arg("--version").output().unwrap().stdout).unwrap();
    let minor = said.split('.').nth(1).unwrap();
    assert!(Command::new("shoal-is-nowhere").output().is_err());
    println!("cargo::rustc-check-cfg=cfg(probed)");
    println!("cargo::rustc-env=MINOR={minor}");
    println!("cargo::rustc-cfg=probed");
}
`,
      'src/lib.rs': 'pub const MINOR: &str = env!("MINOR");\n',
    },
  },
]
const app = {
  'Cargo.toml':
    '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nmeasures-sys = "1"\nprobes-sys = "1"\n[workspace]\n',
  'src/main.rs': 'fn main() { println!("{} {}", measures_sys::LENGTH, probes_sys::MINOR) }\n',
}

describe('the script of a published package', () => {
  let cluster: Cluster
  let node: TestNode
  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
    await withLaunchers(node)
    await publish(join(cluster.dir, 'crates'), packages)
  })
  after(() => cluster.close())

  /** Builds from nothing, in a directory and with a home of cargo's that have this name. */
  async function build(place: string): Promise<{ runs: Map<string, UnitRow>; length: string; dir: string }> {
    const [dir, home] = [join(cluster.dir, place), join(cluster.dir, `home-${place}`)]
    await writeAll(dir, app)
    await cargoHome(home, join(cluster.dir, 'crates'))
    const homes = { CARGO_HOME: home, RUSTUP_HOME: process.env.RUSTUP_HOME ?? join(process.env.HOME ?? '/', '.rustup') }
    await rm(join(dir, 'target'), { recursive: true, force: true })
    const ran = await buildAnew(node, dir, { env: homes })
    assert.equal(ran.code, 0, ran.stderr)
    const length = await readFile(join(await outDirOf(dir, 'measures-sys'), 'length'), 'utf8')
    return { runs: ran.runs, length, dir: join(home, 'registry/src') }
  }
  const outcome = (runs: Map<string, UnitRow>, name: string): string => {
    const run = runs.get(name)
    return `${run?.outcome} ${run?.reason}`.trim()
  }

  test('that writes down how long its path is runs in each new place, and that asks the compiler in two', async () => {
    const places = ['one', 'second', 'another-third', 'x']
    const lengths = new Set<string>()
    for (const [at, place] of places.entries()) {
      const { runs, length, dir } = await build(place)
      lengths.add(length)
      // Below that: the registry, and the package with its version.
      assert.ok(Number(length) > dir.length, `${length} in ${dir}`)
      assert.equal(outcome(runs, 'measures-sys'), at === 0 ? 'compiled-here' : 'compiled-here new-place', place)
      const asks = ['compiled-here', 'compiled-here new-place'][at] ?? 'recalled-here'
      assert.equal(outcome(runs, 'probes-sys'), asks, place)
    }
    assert.equal(lengths.size, places.length)
    assert.match((await node.shoal('why', 'measures_sys')).stdout, /where it lies \(length of the path of .*registry/)
    for (const place of places) {
      const { runs, length } = await build(place)
      assert.equal(outcome(runs, 'measures-sys'), 'recalled-here', place)
      assert.ok(lengths.delete(length), `${length} in ${place}`)
    }
  })

  test('that has done the same in places whose paths are equally long runs in the next one', async () => {
    // Its own paths are as long as those of the last one of the others, and other ones.
    const { runs } = await build('y')
    assert.equal(outcome(runs, 'measures-sys'), 'compiled-here new-place')
    assert.equal(outcome(runs, 'probes-sys'), 'recalled-here')
  })
})
