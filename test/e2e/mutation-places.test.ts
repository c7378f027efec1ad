import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Cluster, capture, type UnitRow } from '../support/cluster.ts'
import { assertAllRecalled, assertNoticed, Fixture, packageManifest, readSaid, writeFiles } from '../support/fixture.ts'
import { countingState, placesState } from '../support/fixture-places.ts'

const outcomes = (units: readonly UnitRow[], crate: string): string[] =>
  units.filter((unit) => unit.crate === crate).map((unit) => unit.outcome)

describe('where a workspace lies, and what compiles it', () => {
  let cluster: Cluster
  let places: Fixture

  before(async () => {
    cluster = await Cluster.start(['ada'])
    places = place('one')
    await places.prepare()
  })
  after(() => cluster.close())

  function place(name: string): Fixture {
    const listen: ConstructorParameters<typeof Fixture>[3] = async (_dir, _env, ran) => readSaid(ran.stdout)
    return new Fixture(cluster.node('ada'), join(cluster.dir, name), placesState, listen)
  }

  /** What the workspace has to say about itself. */
  function assertSaysWhere(said: Readonly<Record<string, string>>, dir: string, target = join(dir, 'target')): void {
    const { out, ...rest } = said
    assert.deepEqual(rest, {
      exe: join(target, 'debug/placed'),
      ran: 'here',
      package: join(dir, 'bound'),
      file: 'free/src/lib.rs',
    })
    assert.ok(out?.startsWith(`${join(target, 'debug/build')}/`), out)
  }

  test('from nothing in the same place everything is recalled, also what knows where it is', async () => {
    assertSaysWhere(places.said, places.dir)
    const { ran, units } = await places.succeed(places.base)
    assertSaysWhere(readSaid(ran.stdout), places.dir)
    assertAllRecalled(units)
  })

  test('elsewhere, what knows where it is is compiled, and the rest recalled', async () => {
    const other = place('two words/ünïcødé')
    await rm(join(places.dir, 'target'), { recursive: true })
    await writeFiles(other.dir, other.base.files)
    const { ran, units } = await other.succeed(other.base)
    assertSaysWhere(readSaid(ran.stdout), other.dir)
    for (const crate of ['bound', 'places']) {
      for (const outcome of outcomes(units, crate)) assert.doesNotMatch(outcome, /^recalled/, crate)
    }
    for (const crate of ['free', 'macros']) {
      for (const outcome of outcomes(units, crate)) assert.match(outcome, /^recalled/, crate)
    }
    const fresh = await other.build(other.base, { keepTarget: true })
    assert.doesNotMatch(fresh.ran.stderr, /Compiling/)
    const back = await places.succeed(places.base)
    assertSaysWhere(readSaid(back.ran.stdout), places.dir)
    assertAllRecalled(back.units)
  })

  test('what includes from OUT_DIR is another unit where that path needs escapes in a string, and shared there too', async () => {
    const files = {
      'Cargo.toml': packageManifest('included', 'build = "build.rs"\n'),
      'build.rs':
        'fn main() { std::fs::write(std::env::var("OUT_DIR").unwrap() + "/n.rs", "pub const N: u8 = 1;").unwrap(); }\n',
      'src/lib.rs': 'include!(concat!(env!("OUT_DIR"), "/n.rs"));\n',
    }
    for (const [name, expected] of [
      ['included/plain', /^compiled/],
      ['included/with a space', /^recalled/],
      ['included/ünïcødé', /^compiled/],
      ["included/it's", /^recalled/],
    ] as const) {
      const state = { files, env: {}, args: ['build', '--offline'] }
      const fixture = new Fixture(cluster.node('ada'), join(cluster.dir, name), state, async () => ({}))
      await writeFiles(fixture.dir, files)
      const { units } = await fixture.succeed(state)
      const of = units.filter(({ crate, kind }) => crate === 'included' && kind === 'lib')
      assert.equal(of.length, 1)
      for (const { outcome } of of) assert.match(outcome, expected, name)
    }
  })

  for (const [what, inside] of [
    ['directory', ''],
    ['package', 'package'],
    ['out', 'target/debug/build/generated-0123456789abcdef/out'],
  ] as const) {
    test(`what is computed from a path (${what}) is right elsewhere`, async () => {
      const said: Record<string, string> = {}
      const expected: Record<string, string> = {}
      for (const name of ['counted', 'counted/in-a-deeper-place']) {
        const dir = join(cluster.dir, what, name)
        const fixture = new Fixture(cluster.node('ada'), dir, countingState, async () =>
          readSaid((await capture(join(dir, 'target/debug/counting'), [])).stdout),
        )
        await fixture.prepare()
        said[name] = fixture.said[what] ?? ''
        expected[name] = String(Buffer.byteLength(join(dir, inside)))
      }
      assert.deepEqual(said, expected)
    })
  }

  test('a target directory elsewhere, and one behind a link', async () => {
    const elsewhere = join(cluster.dir, 'elsewhere')
    const moved = await places.succeed({ ...places.base, env: { CARGO_TARGET_DIR: elsewhere } })
    assertSaysWhere(readSaid(moved.ran.stdout), places.dir, elsewhere)
    assert.deepEqual([...new Set(outcomes(moved.units, 'free'))], ['recalled-here'])

    const linked = place('linked')
    await writeFiles(linked.dir, linked.base.files)
    await mkdir(join(cluster.dir, 'behind'))
    await symlink(join(cluster.dir, 'behind'), join(linked.dir, 'build'))
    const target = join(linked.dir, 'build')
    for (const expected of [/./, /^recalled/]) {
      for (const name of await readdir(target)) await rm(join(target, name), { recursive: true })
      const { ran, units } = await linked.succeed({ ...linked.base, env: { CARGO_TARGET_DIR: target } })
      assertSaysWhere(readSaid(ran.stdout), linked.dir, target)
      for (const { outcome, crate, reason } of units) assert.match(outcome, expected, `${crate}: ${reason}`)
    }
  })

  test('RUSTC_BOOTSTRAP', async () => {
    const unstable = '#![feature(rustc_attrs)]\npub fn unstable() {}\n'
    const files = { 'Cargo.toml': packageManifest('unstable'), 'src/lib.rs': unstable }
    const state = { files, env: { RUSTC_BOOTSTRAP: '1' }, args: ['build', '--offline'] }
    const fixture = new Fixture(cluster.node('ada'), join(cluster.dir, 'bootstrap'), state, async () => ({}))
    await fixture.prepare()
    await assertNoticed(fixture, { title: 'unset', env: { RUSTC_BOOTSTRAP: undefined }, touches: [], fails: /E0554/ })
    await assertNoticed(fixture, { title: 'of others', env: { RUSTC_BOOTSTRAP: 'other' }, touches: [], fails: /E0554/ })
    await assertNoticed(fixture, { title: 'named', env: { RUSTC_BOOTSTRAP: 'unstable' }, touches: ['unstable lib'] })
  })

  test('another content of the toolchain under the same version', async (t) => {
    const message = 'called `Option::unwrap()` on a `None` value'
    const sysroot = await realpath((await capture('rustc', ['--print', 'sysroot'])).stdout.trim())
    if (sysroot === '/usr') return t.skip('the toolchain is not in a directory of its own')
    // A copy: links would change the time stamps of the toolchain that other builds use meanwhile.
    const dir = await mkdtemp(join(cluster.dir, 'other-'))
    t.after(() => rm(dir, { recursive: true, force: true }))
    await mkdir(join(dir, 'lib'), { recursive: true })
    for (const part of ['bin', 'lib']) {
      const copied = await capture('cp', ['-a', '--reflink=auto', join(sysroot, part), dir])
      assert.equal(copied.code, 0, copied.stderr)
    }
    const libs = join(dir, 'lib/rustlib', hostOf(await capture('rustc', ['-vV'])), 'lib')
    const core = (await readdir(libs)).find((name) => /^libcore-.*\.rlib$/.test(name))
    assert.ok(core)
    const original = await readFile(join(libs, core), 'latin1')
    assert.ok(original.includes(message))

    const files = {
      'Cargo.toml': packageManifest('shown'),
      'src/lib.rs': 'pub fn nothing() -> Option<u8> {\n    std::env::args().nth(9).map(|_| 1)\n}\n',
      'src/main.rs': 'fn main() {\n    shown::nothing().unwrap();\n}\n',
    }
    const state = { files, env: { PATH: `${join(dir, 'bin')}:${process.env.PATH}` }, args: ['build', '--offline'] }
    const fixture = new Fixture(cluster.node('ada'), join(cluster.dir, 'toolchain'), state, async (at) => ({
      panic:
        (await capture(join(at, 'target/debug/shown'), [])).stderr.split('\n').find((line) => /None/.test(line)) ?? '',
    }))
    await fixture.prepare()
    assert.equal(fixture.said.panic, message)
    const replaced = join(libs, core)
    const kept = join(dir, 'kept.rlib')
    const changedMessage = message.replace('called', 'CALLED')
    await rename(replaced, kept)
    await writeFile(replaced, Buffer.from(original.replaceAll(message, changedMessage), 'latin1'))
    const changed = await fixture.succeed(state)
    assert.equal((await fixture.listen(state.env, changed.ran)).panic, changedMessage)
    for (const { crate, outcome } of changed.units) assert.doesNotMatch(outcome, /^recalled/, crate)
    await rename(kept, replaced)
    const back = await fixture.succeed(state)
    assert.equal((await fixture.listen(state.env, back.ran)).panic, message)
    assertAllRecalled(back.units)
  })

  test('the description of a target', async (t) => {
    const nightly = { RUSTUP_TOOLCHAIN: 'nightly' }
    const version = await capture('rustc', ['-vV'], { env: { ...process.env, ...nightly } })
    if (version.code !== 0 || !/nightly|dev/.test(version.stdout)) return t.skip('no nightly toolchain')
    const printed = await capture('rustc', ['-Zunstable-options', '--print', 'target-spec-json'], {
      env: { ...process.env, ...nightly },
    })
    const { 'is-builtin': _, ...described } = JSON.parse(printed.stdout) as Record<string, unknown>
    const spec = (vendor: string): string => JSON.stringify({ ...described, vendor })
    const source = `#![feature(no_core, lang_items)]
#![no_core]
#[lang = "pointee_sized"]
pub trait PointeeSized {}
#[lang = "meta_sized"]
pub trait MetaSized: PointeeSized {}
#[lang = "sized"]
pub trait Sized: MetaSized {}
#[cfg_attr(target_vendor = "one", export_name = "vendor_one")]
#[cfg_attr(target_vendor = "two", export_name = "vendor_two")]
pub extern "C" fn vendor() {}
`
    const files = { 'Cargo.toml': packageManifest('bare'), 'src/lib.rs': source, 'spec.json': spec('one') }
    const state = { files, env: nightly, args: ['build', '--offline', '-Zjson-target-spec', '--target', 'spec.json'] }
    const fixture = new Fixture(cluster.node('ada'), join(cluster.dir, 'spec'), state, async (dir) => ({
      vendor: /vendor_(one|two)/.exec(await readFile(join(dir, 'target/spec/debug/libbare.rlib'), 'latin1'))?.[1] ?? '',
    }))
    await fixture.prepare()
    assert.equal(fixture.said.vendor, 'one')
    const recalled = (units: readonly UnitRow[]): string[] =>
      units.filter((unit) => unit.outcome.startsWith('recalled')).map((unit) => unit.crate)
    await writeFiles(fixture.dir, { 'spec.json': spec('two') })
    const changed = await fixture.succeed(state)
    assert.deepEqual(await fixture.listen(state.env, changed.ran), { vendor: 'two' })
    assert.deepEqual(recalled(changed.units), [])
    await writeFiles(fixture.dir, { 'spec.json': spec('one') })
    const back = await fixture.succeed(state)
    assert.deepEqual(await fixture.listen(state.env, back.ran), { vendor: 'one' })
    assertAllRecalled(back.units)
  })
})

const hostOf = ({ stdout }: { stdout: string }): string => /^host: (\S+)$/m.exec(stdout)?.[1] ?? ''
