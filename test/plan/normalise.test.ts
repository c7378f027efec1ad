import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { declaredOutputs, dependencyPath, normaliseArgs, unnamedSearchPaths } from '../../src/plan/normalise.ts'
import { type Root, sortRoots } from '../../src/plan/roots.ts'
import { parseRustcArgs, type RustcArgs } from '../../src/plan/rustc-args.ts'
import { unitArgs, withOptions } from './support.ts'

const roots = sortRoots([
  { name: 'registry', path: '/home/a/.cargo/registry/src' },
  { name: 'workspace', path: '/home/a/ws' },
  { name: 'target', path: '/home/a/ws/target' },
  { name: 'out', path: '/home/a/ws/target/debug/deps' },
  { name: 'build', path: '/home/a/ws/target/debug/build/anyhow-1/out' },
] satisfies Root[])
const context = { roots, processor: (): string | undefined => 'c0ffee' }
const normalised = (args: RustcArgs, from = context): string[] => {
  const argv = normaliseArgs(args, from)
  assert.ok(Array.isArray(argv), String(argv))
  return argv
}
/** What these options become at the end of a library's arguments. */
const endOf = (...options: string[]): string[] => {
  const plain = normalised(withOptions()).slice(0, -1)
  const argv = normalised(withOptions(...options)).slice(0, -1)
  assert.deepEqual(argv.slice(0, plain.length), plain)
  return argv.slice(plain.length)
}

test('arguments are the same on every machine: spelling, roots, dependencies in one directory', () => {
  assert.deepEqual(normalised(withOptions()), [
    ...['--crate-name', 'anyhow', '--edition', '2021', '--error-format', 'json'],
    ...['--json', 'diagnostic-rendered-ansi,artifacts,future-incompat', '--crate-type', 'lib'],
    ...['--emit', 'dep-info,metadata,link', '-C', 'embed-bitcode=no', '-C', 'debuginfo=2', '--cfg', 'feature="std"'],
    ...['--check-cfg', 'cfg(docsrs,test)', '-C', 'metadata=4cf5bb9fd6810878', '-C', 'extra-filename=-f85147e1c9d68eab'],
    ...['--out-dir', '\0out\0', '-L', 'dependency=\0deps\0'],
    ...['--extern', 'priv,noprelude:serde=\0deps\0/libserde-11.rmeta', '--cap-lints', 'allow'],
    '\0registry\0/index.crates.io-1949cf8c6b5b557f/anyhow-1.0.104/src/lib.rs',
  ])
})

test('other directories and another width of the terminal change nothing', () => {
  const elsewhere = (text: string): string =>
    text
      .replaceAll('/home/a/.cargo', '/opt/cargo')
      .replaceAll('/home/a/ws/target', '/var/build')
      .replaceAll('/home/a/ws', '/srv/x')
  const argv = normalised(withOptions())
  const moved = {
    ...context,
    roots: sortRoots(roots.map(({ name, path }): Root => ({ name, path: elsewhere(path) }))),
  }
  const options = withOptions().options.flatMap(({ name, value }) =>
    value === undefined ? [] : [name.length === 1 ? `-${name}` : `--${name}`, elsewhere(value)],
  )
  const there = parseRustcArgs([...options, elsewhere(withOptions().sources[0] ?? '')])
  assert.deepEqual(normalised(there, moved), argv)
  assert.deepEqual(normalised(withOptions('--diagnostic-width=80', '--color', 'always')), argv)
})

test('the incremental directory is left out, every other codegen option is kept as it came', () => {
  assert.deepEqual(endOf('-C', 'incremental=/home/a/ws/target/debug/incremental'), [])
  assert.deepEqual(endOf('-Cincremental=x', '-C', 'opt-level=3'), ['-C', 'opt-level=3'])
  assert.deepEqual(endOf('-C', 'opt-level=3', '-Copt-level=1', '-g', '-Z', 'threads=2'), [
    ...['-C', 'opt-level=3', '-C', 'opt-level=1', '-g', '-Z', 'threads=2'],
  ])
})

test('what is for a linker is left out where none runs', () => {
  const told = ['-C', 'linker=/home/a/ws/ld', '-Clink_arg=-la_b', '-C', 'link-args=-lc -ld']
  assert.deepEqual(endOf(...told), [])
  assert.deepEqual(normalised(unitArgs(['bin'], 'metadata', ...told)), normalised(unitArgs(['bin'], 'metadata')))
  for (const type of ['bin', 'proc-macro', 'cdylib']) {
    const argv = normalised(unitArgs([type], 'dep-info,link', ...told)).slice(0, -1)
    const kept = ['-C', 'linker=\0workspace\0/ld', '-C', 'link-arg=-la_b', '-C', 'link-args=-lc -ld']
    assert.deepEqual(argv.slice(-kept.length), kept)
  }
})

test('this very processor is called by its name; without one there is no action', () => {
  assert.deepEqual(endOf('-C', 'target-cpu=native'), ['-C', 'target-cpu=native:c0ffee'])
  assert.deepEqual(endOf('-C', 'target-cpu=x86-64-v3'), ['-C', 'target-cpu=x86-64-v3'])
  const unknown = { ...context, processor: () => undefined }
  assert.equal(normaliseArgs(withOptions('-Ctarget-cpu=native'), unknown), 'native-cpu')
  assert.ok(Array.isArray(normaliseArgs(withOptions('-Ctarget-cpu=x86-64-v3'), unknown)))
  assert.deepEqual(endOf('-Z', 'tune-cpu=native'), ['-Z', 'tune-cpu=native:c0ffee'])
  assert.equal(normaliseArgs(withOptions('-Ztune_cpu=native'), unknown), 'native-cpu')
})

test('rustc takes underscores for hyphens in the names of -C and -Z, and there only', () => {
  assert.deepEqual(endOf('-C', 'target_cpu=native'), ['-C', 'target-cpu=native:c0ffee'])
  assert.deepEqual(endOf('--codegen=opt_level=s'), ['-C', 'opt-level=s'])
  assert.deepEqual(endOf('-Zunstable_options'), ['-Z', 'unstable-options'])
  assert.deepEqual(endOf('--cfg', 'a_b="c_d"'), ['--cfg', 'a_b="c_d"'])
})

test('a crate of the sysroot has no path, others lie in the one directory wherever they lie here', () => {
  assert.deepEqual(endOf('--extern', 'proc_macro', '--extern', 'noprelude:a=/elsewhere/liba-1.so'), [
    ...['--extern', 'proc_macro', '--extern', 'noprelude:a=\0deps\0/liba-1.so'],
  ])
  assert.deepEqual(endOf('-L', 'dependency=/home/a/ws/target/release/deps'), [])
})

const native = ['-L', 'native=/usr/lib/x', '-L', 'native=/home/a/ws/target/debug/build/anyhow-1/out/lib'] as const
const named = ['-L', 'native=/usr/lib/x', '-L', 'native=\0build\0/lib'] as const

test('a library is not told where others have native libraries, and those are watched', () => {
  assert.deepEqual(endOf(...native), ['-L', 'native=\0build\0/lib'])
  assert.deepEqual(unnamedSearchPaths(withOptions(...native), roots), ['/usr/lib/x'])
  assert.deepEqual(unnamedSearchPaths(withOptions(), roots), [])
})

test('other kinds of search paths are kept: rustc looks for crates there', () => {
  const paths = ['-L', '/home/a/ws/libs', '-L', 'crate=/c', '-L', 'all=/home/a/ws/all', '-L', 'framework=/f']
  assert.deepEqual(endOf(...paths), [
    ...['-L', '\0workspace\0/libs', '-L', 'crate=/c', '-L', 'all=\0workspace\0/all', '-L', 'framework=/f'],
  ])
  assert.deepEqual(unnamedSearchPaths(withOptions(...paths), roots), [])
})

for (const [what, args] of [
  ['bundles a library', withOptions('-l', 'static=z', ...native)],
  ['bundles a whole library', withOptions('-lstatic:+whole-archive=z', ...native)],
  ['is an archive', unitArgs(['staticlib'], 'dep-info,link', ...native)],
  ['is linked', unitArgs(['bin'], 'dep-info,link', ...native)],
  ['is also linked', unitArgs(['lib', 'cdylib'], 'dep-info,link', ...native)],
  ['is a test', unitArgs([], 'dep-info,link', '--test', ...native)],
] as const) {
  test(`a unit that ${what} is told, in this order`, () => {
    assert.deepEqual(normalised(args).slice(-5, -1), named)
    assert.deepEqual(unnamedSearchPaths(args, roots), [])
  })
}

test('a unit that names a dynamic library, or is only checked, links nothing', () => {
  for (const args of [withOptions('-l', 'dylib=z', ...native), unitArgs(['bin'], 'dep-info,metadata', ...native)]) {
    assert.deepEqual(normalised(args).slice(-3, -1), ['-L', 'native=\0build\0/lib'])
    assert.deepEqual(unnamedSearchPaths(args, roots), ['/usr/lib/x'])
  }
})

const stem = 'anyhow-f85147e1c9d68eab'
const outputNames = (args: RustcArgs): string[] => declaredOutputs(args).map(([name]) => name)

test('outputs are declared with their kinds', () => {
  assert.deepEqual(declaredOutputs(withOptions()), [
    [`${stem}.d`, 'dep-info'],
    [`lib${stem}.rmeta`, 'metadata'],
    [`lib${stem}.rlib`, 'link'],
  ])
  assert.deepEqual(declaredOutputs(unitArgs(['lib', 'cdylib', 'staticlib'])), [
    [`${stem}.d`, 'dep-info'],
    [`lib${stem}.rlib`, 'link'],
    [`lib${stem}${process.platform === 'darwin' ? '.dylib' : '.so'}`, 'link'],
    [`lib${stem}.a`, 'link'],
  ])
})

test('the target decides what linked files are called', () => {
  const of = (type: string, target: string): string[] => outputNames(unitArgs([type], 'link', '--target', target))
  assert.deepEqual(of('cdylib', 'aarch64-apple-darwin'), [`lib${stem}.dylib`])
  assert.deepEqual(of('cdylib', 'x86_64-unknown-linux-gnu'), [`lib${stem}.so`])
  assert.deepEqual(of('bin', 'aarch64-apple-darwin'), [stem])
  assert.deepEqual(of('bin', 'wasm32-unknown-unknown'), [`${stem}.wasm`])
  assert.deepEqual(of('cdylib', 'wasm32-wasip1'), [`${stem}.wasm`])
  assert.deepEqual(of('lib', 'wasm32-wasip1'), [`lib${stem}.rlib`])
})

test('what dependents are compiled against is metadata, else the library, and nothing of a program', () => {
  assert.equal(dependencyPath('/o', withOptions()), `/o/lib${stem}.rmeta`)
  assert.equal(dependencyPath('/o', unitArgs(['lib'])), `/o/lib${stem}.rlib`)
  assert.equal(
    dependencyPath('/o', unitArgs(['proc-macro'], 'link', '--target', 'x86_64-unknown-linux-gnu')),
    `/o/lib${stem}.so`,
  )
  assert.equal(dependencyPath('/o', unitArgs(['bin'])), undefined)
  assert.equal(dependencyPath('/o', unitArgs(['staticlib'])), undefined)
})

test('rustc itself writes the declared outputs, for every kind of unit, and nothing else', async (t) => {
  const scratch = mkdtempSync(join(tmpdir(), 'shoal-outputs-'))
  try {
    writeFileSync(join(scratch, 'lib.rs'), 'pub fn f() {}\n')
    writeFileSync(join(scratch, 'main.rs'), 'fn main() {}\n')
    writeFileSync(join(scratch, 'macro.rs'), '')
    for (const [source, ...options] of [
      ['lib.rs', '--crate-type=lib', '--emit=dep-info,metadata,link'],
      ['lib.rs', '--crate-type=rlib', '--emit=dep-info,link'],
      ['lib.rs', '--crate-type=lib', '--emit=dep-info,metadata'],
      ['macro.rs', '--crate-type=proc-macro', '--emit=dep-info,link'],
      ['lib.rs', '--crate-type=staticlib', '--emit=dep-info,link'],
      ['lib.rs', '--crate-type=cdylib', '--crate-type=rlib', '--emit=dep-info,link'],
      ['lib.rs', '--crate-type=dylib', '-Cprefer-dynamic', '--emit=dep-info,link'],
      ['main.rs', '--crate-type=bin', '--emit=dep-info,link'],
      ['main.rs', '--emit=dep-info,link'],
      ['main.rs', '--crate-type=bin', '--emit=dep-info,metadata'],
      ['lib.rs', '--test', '--emit=dep-info,link'],
      ['lib.rs', '--test', '--emit=dep-info,metadata'],
    ] as const) {
      await t.test(options.join(' '), () => {
        const outDir = mkdtempSync(join(scratch, 'out-'))
        const argv = [
          '--crate-name',
          'x',
          '-Cextra-filename=-1',
          '--out-dir',
          outDir,
          ...options,
          join(scratch, source),
        ]
        execFileSync('rustc', argv, { stdio: ['ignore', 'ignore', 'pipe'] })
        assert.deepEqual(outputNames(parseRustcArgs(argv)).sort(), readdirSync(outDir).sort())
      })
    }
  } finally {
    rmSync(scratch, { recursive: true })
  }
})
