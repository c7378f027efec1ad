import assert from 'node:assert/strict'
import { rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { whileBusy, writeFiles } from '../support/busy.ts'
import { Cluster, capture, lastReport, type UnitRow } from '../support/cluster.ts'
import { madeIn } from '../support/made.ts'
import { writeRemapWrapper } from '../support/plain.ts'

const manifest = (name: string, rest = ''): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`

const files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["macros", "base", "c", "d", "app"]\n',
  'macros/Cargo.toml': manifest('macros', '[lib]\nproc-macro = true\n'),
  'macros/src/lib.rs': `use proc_macro::TokenStream;
#[proc_macro] pub fn seven(_: TokenStream) -> TokenStream { "7".parse().unwrap() }
`,
  'base/Cargo.toml': manifest('base', '[dependencies]\nmacros = { path = "../macros" }\n'),
  'base/src/lib.rs': `pub fn seven() -> u32 { macros::seven!() }
pub fn sum<T: std::iter::Sum<T>>(all: Vec<T>) -> T { all.into_iter().sum() }
#[cfg(test)] mod tests { #[test] fn is_seven() { assert_eq!(super::seven(), 7) } }
`,
  'c/Cargo.toml': manifest(
    'c',
    '[lib]\ncrate-type = ["cdylib", "staticlib"]\n[dependencies]\nbase = { path = "../base" }\n',
  ),
  'c/src/lib.rs': '#[no_mangle] pub extern "C" fn seven() -> u32 { base::seven() }\n',
  'd/Cargo.toml': manifest('d', '[lib]\ncrate-type = ["dylib"]\n[dependencies]\nbase = { path = "../base" }\n'),
  'd/src/lib.rs': 'pub fn doubled() -> u32 { base::sum(vec![base::seven(), base::seven()]) }\n',
  'app/examples/shows.rs': 'fn main() { println!("{}", base::sum(vec![base::seven(), 2])) }\n',
  'app/Cargo.toml': manifest('app', 'build = "build.rs"\n[dependencies]\nbase = { path = "../base" }\n'),
  'app/build.rs': `fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/made.rs"), "pub const MADE: u32 = 35;").unwrap();
}
`,
  'app/src/main.rs': `include!(concat!(env!("OUT_DIR"), "/made.rs"));
fn main() { println!("{}", base::sum(vec![base::seven(), MADE])) }
`,
  'app/tests/adds.rs': '#[test] fn adds() { assert_eq!(base::sum(vec![base::seven(), 1]), 8) }\n',
  // With the path of the program in it.
  'app/tests/runs.rs': `#[test] fn runs() {
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_app")).output().unwrap();
    assert_eq!(program.stdout, b"42\\n");
}
`,
  // With the path of its own files in it.
  'app/tests/runs_files.rs': `#[test] fn keeps() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("kept");
    std::fs::write(&file, "kept").unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"kept");
}
`,
}
const host = /^host: (.*)$/m.exec((await capture('rustc', ['-vV'])).stdout)?.[1] ?? ''
const args = ['build', '--offline', '--workspace', '--all-targets']

const rowOf = ({ crate, kind, outcome, reason, fallback }: UnitRow): string =>
  `${crate} ${kind} ${outcome} ${reason} ${fallback ?? ''}`

/** Those that are the same wherever the workspace lies. */
const anywhere = (rows: readonly string[]): string[] => rows.filter((row) => !/^runs(_files)? /.test(row))

test('what is linked is compiled away and linked here, with the bytes of a compile here', async () => {
  const cluster = await Cluster.start(['ada', 'ben'])
  const ada = cluster.node('ada')
  try {
    const built = join(cluster.dir, 'built/w')
    await writeFiles(built, files)
    const env = { ...process.env, RUSTC_WRAPPER: await writeRemapWrapper(cluster.dir), CARGO_INCREMENTAL: '0' }
    const direct = await capture('cargo', args, { cwd: built, env })
    assert.equal(direct.code, 0, direct.stderr)
    const expected = await madeIn(built)
    await rm(join(built, 'target'), { recursive: true })
    const ran = await whileBusy(ada, join(cluster.dir, 'busy'), 2, () => ada.cargo(built, ...args, '-j8'))
    assert.equal(ran.code, 0, ran.stderr)
    const { units } = await lastReport(ada)
    const rows = units.map(rowOf)
    const away = units.filter(({ outcome }) => outcome === 'compiled-mesh')
    const log = cluster.nodes.flatMap(
      (node) => node.log.match(/^.*(?:unit (?:came|ended|does|not offered)|not used).*$/gm) ?? [],
    )
    assert.deepEqual(
      [...new Set(away.map(({ kind }) => kind))].sort(),
      ['bin', 'build-script', 'cdylib', 'dylib', 'lib', 'proc-macro', 'test'],
      [...rows, ...log].join('\n'),
    )
    for (const name of ['app', 'shows', 'adds', 'runs', 'runs_files'])
      assert.ok(
        away.some(({ crate }) => crate === name),
        [name, ...rows, ...log].join('\n'),
      )
    for (const name of ['runs', 'runs_files']) {
      const bound = units.find(({ crate }) => crate === name)
      assert.deepEqual([bound?.outcome, bound?.reason], ['compiled-mesh', 'path-bound'], name)
    }
    const actual = await madeIn(built)
    assert.deepEqual([...actual.keys()].sort(), [...expected.keys()].sort())
    assert.deepEqual(
      [...expected].filter(([name, bytes]) => !actual.get(name)?.equals(bytes)).map(([name]) => name),
      [],
    )
    assert.equal((await capture(join(built, 'target/debug/app'), [])).stdout, '42\n')

    // What is bound to a place is recalled there.
    await rm(join(built, 'target'), { recursive: true })
    assert.equal((await ada.cargo(built, ...args)).code, 0)
    const there = (await lastReport(ada)).units.map(rowOf)
    assert.deepEqual(
      there.filter((row) => !row.includes(' recalled-here ')),
      [],
    )

    const again = join(cluster.dir, 'again/w')
    await writeFiles(again, files)
    const second = await ada.cargo(again, ...args)
    assert.equal(second.code, 0, second.stderr)
    const recalled = (await lastReport(ada)).units.map(rowOf)
    for (const name of ['runs', 'runs_files']) {
      assert.ok(
        recalled.some((row) => row.startsWith(`${name} test compiled-`)),
        recalled.join('\n'),
      )
    }
    assert.deepEqual(
      anywhere(recalled).filter((row) => !row.includes(' recalled-here ')),
      [],
      `what the linker read is known: ${[...recalled, 'after', ...rows].join('\n')}`,
    )

    const tested = await ada.cargo(again, 'test', '--offline', '--workspace')
    assert.equal(tested.code, 0, tested.stdout + tested.stderr)

    const ben = cluster.node('ben')
    const other = join(cluster.dir, 'other/w')
    await writeFiles(other, files)
    // Another linker, of whose name rustc makes as much as of the usual one.
    const program = join(cluster.dir, 'another-cc')
    await symlink('/usr/bin/cc', program)
    const linker = { [`CARGO_TARGET_${host.toUpperCase().replaceAll('-', '_')}_LINKER`]: program }
    const otherwise = await capture('cargo', args, { cwd: other, env: { ...(await ben.cargoEnv()), ...linker } })
    assert.equal(otherwise.code, 0, otherwise.stderr)
    const linked = (await lastReport(ben)).units.map(rowOf)
    assert.deepEqual(
      anywhere(linked).filter((row) => !row.includes(' recalled-here ')),
      [],
      `only linked anew, by whoever lent: ${linked.join('\n')}`,
    )
    assert.equal((await capture(join(other, 'target/debug/app'), [])).stdout, '42\n')
  } finally {
    await cluster.close()
  }
})
