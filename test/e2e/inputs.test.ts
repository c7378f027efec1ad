import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, lastReport, type Ran, type TestNode, type UnitRow } from '../support/cluster.ts'

const files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["lib", "app", "secretive"]\n',
  'lib/Cargo.toml': '[package]\nname = "colours"\nversion = "0.1.0"\nedition = "2021"\n',
  'lib/src/lib.rs': `/// What the variable said when this was compiled.
pub fn colour() -> &'static str {
    match option_env!("PAINT_COLOUR") {
        Some(colour) => colour,
        None => "none",
    }
}
/// A file of the package.
pub fn motto() -> &'static str {
    include_str!("../motto.txt")
}
/// Reported by rustc.
pub fn warned() {
    let unused = 1;
}
`,
  'lib/motto.txt': 'many small fish\n',
  'secretive/Cargo.toml': '[package]\nname = "secretive"\nversion = "0.1.0"\nedition = "2021"\nbuild = "build.rs"\n',
  'secretive/build.rs': 'fn main() { println!("cargo:rustc-env=DEPLOY_TOKEN=canary-4711"); }\n',
  'secretive/src/lib.rs': '/// A value that must not leave.\npub const TOKEN: &str = env!("DEPLOY_TOKEN");\n',
  'app/Cargo.toml':
    '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\ncolours = { path = "../lib" }\nsecretive = { path = "../secretive" }\n',
  'app/src/main.rs':
    'fn main() { print!("{} {} {}", colours::colour(), colours::motto().trim(), secretive::TOKEN.len()); }\n',
}

describe('what goes into a library', () => {
  let cluster: Cluster
  let node: TestNode

  before(async () => {
    cluster = await Cluster.start(['ada', 'ben'])
    node = cluster.node('ada')
  })
  after(() => cluster.close())

  async function workspace(name: string): Promise<string> {
    const dir = join(cluster.dir, name)
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(dir, path)), { recursive: true })
      await writeFile(join(dir, path), text)
    }
    return dir
  }

  async function cargo(dir: string, extra: NodeJS.ProcessEnv, ...args: string[]): Promise<Ran> {
    return await capture('cargo', args, { cwd: dir, env: { ...(await node.cargoEnv()), ...extra } })
  }

  async function unit(crate: string): Promise<UnitRow | undefined> {
    return (await lastReport(node)).units.find((row) => row.crate === crate)
  }

  const says = async (dir: string): Promise<string> => (await capture(join(dir, 'target/debug/app'), [])).stdout

  test('a variable and a file: changed they are compiled in, changed back they are recalled', async () => {
    const dir = await workspace('paint')
    const steps = [
      { colour: 'red', motto: 'one', outcome: /^compiled/ },
      { colour: 'blue', motto: 'one', outcome: /^compiled/ },
      { colour: 'blue', motto: 'two', outcome: /^compiled/ },
      { colour: 'red', motto: 'one', outcome: /^recalled/ },
      { colour: 'blue', motto: 'two', outcome: /^recalled/ },
      { colour: undefined, motto: 'two', outcome: /^compiled/ },
      { colour: undefined, motto: 'one', outcome: /^compiled/ },
      { colour: 'green', motto: 'one', outcome: /^compiled/ },
      { colour: undefined, motto: 'one', outcome: /^recalled/ },
    ]
    for (const { colour, motto, outcome } of steps) {
      await writeFile(join(dir, 'lib/motto.txt'), motto)
      await rm(join(dir, 'target'), { recursive: true, force: true })
      const ran = await cargo(dir, colour === undefined ? {} : { PAINT_COLOUR: colour }, 'build', '--offline')
      assert.equal(ran.code, 0, ran.stderr)
      assert.equal(await says(dir), `${colour ?? 'none'} ${motto} 11`)
      assert.match((await unit('colours'))?.outcome ?? '', outcome, JSON.stringify({ colour, motto }))
    }
  })

  test('warnings of a recalled library are those of rustc', async () => {
    const plainDir = await workspace('warned-plain')
    const plain = await capture('cargo', ['build', '--offline', '-j1'], {
      cwd: plainDir,
      env: { ...process.env, CARGO_INCREMENTAL: '0', CARGO_TERM_COLOR: 'never' },
    })
    const dir = await workspace('warned')
    await cargo(dir, {}, 'build', '--offline', '-j1')
    await rm(join(dir, 'target'), { recursive: true })
    const ran = await cargo(dir, {}, 'build', '--offline', '-j1')
    assert.match((await unit('colours'))?.outcome ?? '', /^recalled/)
    const warning = (text: string): string => text.slice(text.indexOf('warning:'), text.indexOf('generated 1 warning'))
    assert.ok(warning(plain.stderr).length > 100)
    assert.equal(warning(ran.stderr), warning(plain.stderr))
  })

  test('a unit with something like a secret stays here', async () => {
    const dir = await workspace('secret')
    assert.equal((await cargo(dir, {}, 'build', '--offline')).code, 0)
    assert.deepEqual(
      [(await unit('secretive'))?.outcome, (await unit('secretive'))?.reason],
      ['passed-through', 'secret-in-environment'],
    )
  })

  test('a flag that rustc does not know ends as without Shoal', async () => {
    const dir = await workspace('flag')
    const flags = { RUSTFLAGS: '--frobnicate', CARGO_TERM_COLOR: 'never' }
    const plain = await capture('cargo', ['build', '--offline', '-j1'], { cwd: dir, env: { ...process.env, ...flags } })
    const ran = await cargo(dir, flags, 'build', '--offline', '-j1')
    assert.notEqual(plain.code, 0)
    assert.equal(ran.code, plain.code)
    const message = (text: string): string => text.slice(text.indexOf('Unrecognized option'))
    assert.equal(message(ran.stderr), message(plain.stderr))
  })

  test('two cargos at once compile each library once', async () => {
    const dirs = await Promise.all(['at-once/one', 'at-once/two'].map(workspace))
    const motto = 'two at once'
    for (const dir of dirs) await writeFile(join(dir, 'lib/motto.txt'), motto)
    const rans = await Promise.all(dirs.map((dir) => cargo(dir, {}, 'build', '--offline')))
    assert.deepEqual(
      rans.map((ran) => ran.code),
      [0, 0],
    )
    const { sessions } = await node.json<{ sessions: { session: string; cwd: string }[] }>('report', '--list')
    const outcomes: string[] = []
    const all: UnitRow[] = []
    for (const { session } of sessions.filter(({ cwd }) => dirs.includes(cwd))) {
      const { units } = await node.json<{ units: UnitRow[] }>('report', session)
      all.push(...units)
      outcomes.push(...units.filter((row) => row.crate === 'colours').map((row) => row.outcome))
    }
    assert.equal(outcomes.length, 2)
    assert.equal(outcomes.filter((outcome) => outcome.startsWith('compiled')).length, 1, JSON.stringify(all))
  })

  test('a full disk costs the cache, not the build', async (t) => {
    if (process.getuid?.() !== 0) return t.skip('mounting a small file system needs root')
    const cache = join(node.home, 'cache')
    await node.stop()
    await rm(cache, { recursive: true })
    await mkdir(cache)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', cache])
    try {
      await node.start()
      const dir = await cluster.checkout('offline', 'full-disk')
      const ran = await node.cargo(dir, 'build', '--offline')
      assert.equal(ran.code, 0, ran.stderr)
      assert.equal((await capture(join(dir, 'target/debug/tally'), ['eval', '0.1 + 0.2'])).stdout.trim(), '0.3')
      const { health } = await node.json<{ health: { code: string }[] }>('status')
      assert.ok(
        health.some((problem) => problem.code === 'ERR_DISK_FULL'),
        JSON.stringify(health),
      )
    } finally {
      await node.stop()
      execFileSync('umount', [cache])
    }
  })
})
