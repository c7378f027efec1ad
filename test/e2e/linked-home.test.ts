import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, readFile, rm, symlink } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, type TestNode, type UnitRow } from '../support/cluster.ts'
import { assertAllRecalled, packageManifest, writeFiles } from '../support/fixture.ts'
import { settled } from '../support/settled.ts'

const library = `/// The place of the caller's code.
#[macro_export]
macro_rules! NAME_place {
    () => {
        (file!(), line!())
    };
}
pub fn place() -> &'static str {
    file!()
}
pub fn first<T: Clone>(all: &[T]) -> T {
    all[0].clone()
}
include!(concat!(env!("OUT_DIR"), "/made.rs"));
`
const script = `fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/made.rs"), "pub const MADE: u8 = 7;").unwrap();
}
`
const packageFiles = (name: string) => ({
  'Cargo.toml': packageManifest(name, 'build = "build.rs"\ndescription = "a crate"\nlicense = "MIT"\n'),
  'build.rs': script,
  'src/lib.rs': library.replaceAll('NAME', name),
})

const main = `fn main() {
    println!("registry={}", shelved::place());
    println!("git={}", borrowed::place());
    println!("own={:?} {:?}", shelved::shelved_place!(), borrowed::borrowed_place!());
    println!("made={}", shelved::MADE + borrowed::MADE + shelved::first(&[1]) + borrowed::first(&[1]));
}
`

describe('a home behind a symbolic link', () => {
  let cluster: Cluster
  let node: TestNode

  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
    await publish()
  })
  after(() => cluster.close())

  const at = (...names: string[]): string => join(cluster.dir, ...names)

  async function must(program: string, args: string[], cwd: string): Promise<void> {
    const ran = await capture(program, args, { cwd })
    assert.equal(ran.code, 0, ran.stderr)
  }

  /** A git repository with one package, and a registry on disk with another. */
  async function publish(): Promise<void> {
    await writeFiles(at('borrowed'), packageFiles('borrowed'))
    const commit = ['-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '--quiet', '-m', 'first']
    for (const args of [['init', '--quiet'], ['add', '.'], commit]) await must('git', args, at('borrowed'))

    await writeFiles(at('shelved'), packageFiles('shelved'))
    await must('cargo', ['package', '--offline', '--no-verify', '--allow-dirty', '--quiet'], at('shelved'))
    const packed = await readFile(at('shelved/target/package/shelved-0.1.0.crate'))
    const cksum = createHash('sha256').update(packed).digest('hex')
    const entry = { name: 'shelved', vers: '0.1.0', deps: [], cksum, features: {}, yanked: false }
    await writeFiles(at('shelf'), {
      'shelved-0.1.0.crate': packed,
      'index/sh/el/shelved': `${JSON.stringify(entry)}\n`,
    })
  }

  /** Builds in a checkout of its own, from nothing, and tells what the program says. */
  async function build(who: string, env: NodeJS.ProcessEnv): Promise<{ said: string; units: UnitRow[] }> {
    const dir = at(`${who}'s`, 'checkout')
    await writeFiles(dir, {
      'Cargo.toml': packageManifest(
        'app',
        `[dependencies]\nshelved = "0.1"\nborrowed = { git = "file://${at('borrowed')}" }\n`,
      ),
      'src/main.rs': main,
      '.cargo/config.toml': `[source.crates-io]
replace-with = "shelf"
[source.shelf]
local-registry = "${at('shelf')}"
[net]
git-fetch-with-cli = true
`,
    })
    const all = { ...(await node.cargoEnv()), ...env }
    for (const [name, value] of Object.entries(all)) if (value === undefined) delete all[name]
    const { ran, units } = await settled(node, 'cargo', ['build', '--quiet'], { cwd: dir, env: all })
    assert.equal(ran.code, 0, ran.stderr)
    return { said: (await capture(join(dir, 'target/debug/app'), [])).stdout, units }
  }

  test('is no other home', async () => {
    const plain = await build('ann', { CARGO_HOME: at('ann', '.cargo') })
    assert.match(plain.said, /^made=16$/m)

    await mkdir(at('disk', 'ben'), { recursive: true })
    await symlink(at('disk', 'ben'), at('ben'))
    const linked = await build('ben', { CARGO_HOME: at('ben', '.cargo') })
    assert.equal(linked.said, plain.said)
    assertAllRecalled(linked.units)

    await mkdir(at('disk', 'cyd'), { recursive: true })
    await symlink(at('disk', 'cyd'), at('cyd'))
    await symlink(process.env.RUSTUP_HOME ?? join(homedir(), '.rustup'), at('cyd', '.rustup'))
    const home = { HOME: at('cyd'), CARGO_HOME: undefined, RUSTUP_HOME: undefined }
    const whole = await build('cyd', home)
    assert.equal(whole.said, plain.said)
    assertAllRecalled(whole.units)
  })

  test('is found by others when it was the first', async () => {
    await mkdir(at('disk', 'dan', 'registry'), { recursive: true })
    await mkdir(at('disk', 'git'), { recursive: true })
    await mkdir(at('dan'), { recursive: true })
    await symlink(at('disk', 'dan', 'registry'), at('dan', 'registry'))
    await symlink(at('disk', 'git'), at('dan', 'git'))
    const flags = { RUSTFLAGS: '--cfg other' }
    const linked = await build('dan', { CARGO_HOME: at('dan'), ...flags })
    const plain = await build('eve', { CARGO_HOME: at('eve'), ...flags })
    assert.equal(linked.said, plain.said)
    assertAllRecalled(plain.units)
  })

  test('of a workspace leads to what was compiled there', async () => {
    const files = {
      'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["member", "user"]\n',
      'member/Cargo.toml': packageManifest('member'),
      'member/text.txt': 'text',
      'member/src/lib.rs': `pub const TEXT: &str = include_str!("../text.txt");
pub fn file() -> &'static str {
    file!()
}
`,
      'user/Cargo.toml': packageManifest('user', '[dependencies]\nmember = { path = "../member" }\n'),
      'user/src/main.rs': `fn main() {
    println!("{} {} {}", member::TEXT, member::file(), env!("CARGO_MANIFEST_DIR"));
}
`,
    }
    const built = async (dir: string): Promise<{ said: string; units: UnitRow[] }> => {
      const args = ['build', '--offline', '--quiet', '--manifest-path', join(dir, 'Cargo.toml')]
      const { ran, units } = await settled(node, 'cargo', args, { cwd: cluster.dir, env: await node.cargoEnv() })
      assert.equal(ran.code, 0, ran.stderr)
      const { stdout } = await capture(join(dir, 'target/debug/user'), [])
      await rm(join(dir, 'target'), { recursive: true })
      return { said: stdout.trim(), units }
    }
    const outcomes = (units: UnitRow[]): string[] => units.map(({ crate, outcome }) => `${crate} ${outcome}`)
    await writeFiles(at('disk', 'work'), files)
    await symlink(at('disk', 'work'), at('work'))
    for (const again of [false, true]) {
      for (const dir of [at('disk', 'work'), at('work')]) {
        const { said, units } = await built(dir)
        assert.equal(said, `text member/src/lib.rs ${dir}/user`)
        if (again) assertAllRecalled(units)
        else if (dir === at('work')) assert.deepEqual(outcomes(units), ['member recalled-here', 'user compiled-here'])
      }
    }
  })
})
