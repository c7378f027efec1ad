import assert from 'node:assert/strict'
import { copyFile, mkdir, readdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { Cluster, capture, type TestNode } from '../support/cluster.ts'
import { type Built, buildAnew, outDirOf, type Texts, withLaunchers, writeAll } from '../support/scripts.ts'

/** A script that does what a variable says. */
const deeds: Texts = {
  'Cargo.toml': `[package]\nname = "deeds"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n`,
  'src/lib.rs': '',
  'packed.gz': '',
  'build.rs': `use std::{env, fs, process::{Command, exit}};
fn main() {
    let out = env::var("OUT_DIR").unwrap();
    let beside = env::var("BESIDE").unwrap();
    let child = |program: &str| Command::new(program);
    let done = |command: &mut Command| assert!(command.status().unwrap().success());
    match env::var("DEED").unwrap().as_str() {
        "nothing" => {}
        "writes-elsewhere" => fs::write(format!("{beside}/left"), "x").unwrap(),
        "leaves-temporary" => fs::write(env::temp_dir().join("shoal-left-over"), "x").unwrap(),
        "uses-network" => drop(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()),
        "runs-static" => done(child(&format!("{beside}/static")).arg("true")),
        "clears" => done(child("true").env_clear()),
        "asks-time" => fs::write(format!("{out}/time"), format!("{:?}", std::time::SystemTime::now())).unwrap(),
        "runs-date" => done(child("sh").args(["-c", "date > $OUT_DIR/time"])),
        "compiles-date" => {
            fs::write(format!("{out}/x.c"), "const char *when = __DATE__ __TIME__;").unwrap();
            done(child("cc").args(["-c", &format!("{out}/x.c"), "-o", &format!("{out}/x.o")]));
        }
        "asks-random" => done(child("sh").args(["-c", "head -c 8 /dev/urandom > $OUT_DIR/random"])),
        "asks-secret" => println!("cargo::warning={}", env::var("FISH_TOKEN").unwrap().len()),
        "dumps" => fs::write(format!("{out}/all"), format!("{:?}", env::vars().collect::<Vec<_>>())).unwrap(),
        "leaves-much" => fs::File::create(format!("{out}/large")).unwrap().set_len((2 << 30) + 1).unwrap(),
        "asks-other-rustc" => done(child(&format!("{beside}/other/bin/rustc")).arg("-vV")),
        "makes-pipe" => done(child("mkfifo").arg(format!("{out}/pipe"))),
        "knows-place" => fs::write(format!("{out}/place.rs"), format!("{out:?}")).unwrap(),
        "packs" => drop(fs::copy("packed.gz", format!("{out}/packed.gz")).unwrap()),
        "writes" => fs::write(format!("{out}/value"), env::var("VALUE").unwrap()).unwrap(),
        "fails" => exit(3),
        other => panic!("{other}"),
    }
}
`,
}

describe('a build script that cannot be recalled', () => {
  let cluster: Cluster
  let node: TestNode
  let dir: string
  before(async () => {
    cluster = await Cluster.start(['ada'])
    node = cluster.node('ada')
    await withLaunchers(node)
    dir = join(cluster.dir, 'deeds')
    await writeAll(dir, deeds)
    await writeFile(join(dir, 'packed.gz'), gzipSync('a path'))
    await copyFile(join(node.home, 'state/bin/shoal-rustc'), join(cluster.dir, 'static'))
    const sysroot = (await capture('rustc', ['--print=sysroot'])).stdout.trim()
    await mkdir(join(cluster.dir, 'other/bin'), { recursive: true })
    await copyFile(join(sysroot, 'bin/rustc'), join(cluster.dir, 'other/bin/rustc'))
    await symlink(join(sysroot, 'lib'), join(cluster.dir, 'other/lib'))
  })
  after(() => cluster.close())

  const build = (deed: string, env: NodeJS.ProcessEnv = {}): Promise<Built> =>
    buildAnew(node, dir, { env: { DEED: deed, BESIDE: cluster.dir, TMPDIR: cluster.dir, ...env } })
  const outcome = ({ runs }: Built): string => `${runs.get('deeds')?.outcome} ${runs.get('deeds')?.reason}`

  const cases: [deed: string, reason: string, env?: NodeJS.ProcessEnv][] = [
    ['writes-elsewhere', 'writes-elsewhere'],
    ['leaves-temporary', 'writes-elsewhere'],
    ['uses-network', 'uses-network'],
    ['runs-static', 'unobserved'],
    ['clears', 'unobserved'],
    ['asks-time', 'clock'],
    ['runs-date', 'clock'],
    ['compiles-date', 'clock'],
    ['asks-random', 'randomness'],
    ['asks-secret', 'secret-in-environment', { FISH_TOKEN: 'abcdefgh12345' }],
    ['dumps', 'unusual-output'],
    ['makes-pipe', 'unusual-output'],
    ['leaves-much', 'too-large'],
    ['asks-other-rustc', 'other-compiler'],
  ]
  test('runs each time, and the report says why', async () => {
    assert.equal(outcome(await build('nothing')), 'compiled-here ')
    assert.equal(outcome(await build('nothing')), 'recalled-here ')
    for (const [deed, reason, env] of cases) {
      for (const time of deed.startsWith('asks') ? ['first', 'second'] : ['first']) {
        const built = await build(deed, env)
        assert.equal(built.code, 0, `${deed}: ${built.stderr}`)
        assert.equal(outcome(built), `compiled-here ${reason}`, `${deed}, the ${time} time`)
      }
    }
    const dated = { SOURCE_DATE_EPOCH: '86400' }
    assert.equal(outcome(await build('compiles-date', dated)), 'compiled-here ')
    assert.equal(outcome(await build('compiles-date', dated)), 'recalled-here ')
    assert.equal(outcome(await build('compiles-date', { SOURCE_DATE_EPOCH: '172800' })), 'compiled-here ')
    assert.equal(outcome(await build('compiles-date')), 'compiled-here clock')

    const failed = await build('fails')
    assert.equal(failed.code, 101)
    assert.match(failed.stderr, /exit status: 3/)
    assert.equal(outcome(failed), 'compiled-here failed')
  })

  test('is told by what it is built on, unless it is that itself', async () => {
    for (const [name, reason] of [
      ['rustix', ''],
      ['other', 'unobserved'],
    ] as const) {
      const at = join(cluster.dir, name)
      const script = 'fn main() { println!("cargo::rustc-env=MODULE=linux_raw") }\n'
      const manifest = `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n`
      await writeAll(at, { 'Cargo.toml': manifest, 'build.rs': script, 'src/lib.rs': '' })
      const { runs } = await buildAnew(node, at)
      assert.equal(runs.get(name)?.reason, reason, name)
    }
  })

  test('is recalled in its own place only, if it holds that, or could', async () => {
    const other = join(cluster.dir, 'elsewhere')
    await writeAll(other, deeds)
    await copyFile(join(dir, 'packed.gz'), join(other, 'packed.gz'))
    for (const deed of ['knows-place', 'packs']) {
      assert.equal(outcome(await build(deed)), 'compiled-here path-bound')
      assert.equal(outcome(await build(deed)), 'recalled-here ')
      const env = { DEED: deed, BESIDE: cluster.dir, TMPDIR: cluster.dir }
      const there = await buildAnew(node, other, { env })
      assert.equal(outcome(there), 'compiled-here path-bound')
    }
  })

  test('is not kept when it ran on top of what was there, and what was there gives way to what is recalled', async () => {
    const on = async (value: string, keep = true): Promise<string> => {
      const now = new Date()
      await utimes(join(dir, 'build.rs'), now, now)
      const env = { DEED: 'writes', VALUE: value, BESIDE: cluster.dir, TMPDIR: cluster.dir }
      return outcome(await buildAnew(node, dir, { env, keep }))
    }
    const left = async (): Promise<string[]> => {
      const out = await outDirOf(dir, 'deeds')
      return await Promise.all(
        (await readdir(out)).map(async (name) => `${name} ${await readFile(join(out, name), 'utf8')}`),
      )
    }
    assert.equal(await on('1', false), 'compiled-here ')
    await writeFile(join(await outDirOf(dir, 'deeds'), 'more'), 'more')
    assert.equal(await on('2'), 'passed-through out-dir-in-use')
    assert.deepEqual((await left()).toSorted(), ['more more', 'value 2'])
    assert.equal(await on('1'), 'recalled-here ')
    assert.deepEqual(await left(), ['value 1'])
  })

  test('runs as it is where a directory, or what compiles, cannot be named', async () => {
    const odd = join(cluster.dir, 'a=b')
    await writeAll(odd, deeds)
    await copyFile(join(dir, 'packed.gz'), join(odd, 'packed.gz'))
    const env = { DEED: 'nothing', BESIDE: cluster.dir, TMPDIR: cluster.dir }
    for (const _ of [1, 2]) assert.equal(outcome(await buildAnew(node, odd, { env })), 'passed-through unusual-path')
    const around = join(cluster.dir, 'around/rustc')
    await mkdir(join(cluster.dir, 'around'))
    await writeFile(around, '#!/bin/sh\nexec rustc "$@"\n', { mode: 0o755 })
    for (const _ of [1, 2])
      assert.equal(outcome(await build('nothing', { RUSTC: around })), 'passed-through toolchain-unknown')
  })

  test('is not asked about when its package says so, or the configuration', async () => {
    const manifest = join(dir, 'Cargo.toml')
    const text = await readFile(manifest, 'utf8')
    await writeFile(manifest, `${text}\n[package.metadata.shoal]\nbuild-script = "always-run"\n`)
    for (const _ of [1, 2]) assert.equal(outcome(await build('nothing')), 'passed-through always-run')
    await writeFile(manifest, text)
    assert.equal(outcome(await build('nothing')), 'recalled-here ')
    await node.stop()
    await node.configure(`${await readFile(join(node.home, 'config.toml'), 'utf8')}\nalways-run = ["deeds"]\n`)
    await node.start()
    for (const _ of [1, 2]) assert.equal(outcome(await build('nothing')), 'passed-through always-run')
  })
})
