import { parseRustcArgs, type RustcArgs } from '../../src/plan/rustc-args.ts'

/** As cargo 1.95 calls rustc for a library of the registry. */
export const libArgs: readonly string[] = [
  '--crate-name',
  'anyhow',
  '--edition=2021',
  '/home/a/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/anyhow-1.0.104/src/lib.rs',
  '--error-format=json',
  '--json=diagnostic-rendered-ansi,artifacts,future-incompat',
  '--diagnostic-width=120',
  '--crate-type',
  'lib',
  '--emit=dep-info,metadata,link',
  '-C',
  'embed-bitcode=no',
  '-C',
  'debuginfo=2',
  '--cfg',
  'feature="std"',
  '--check-cfg',
  'cfg(docsrs,test)',
  '-C',
  'metadata=4cf5bb9fd6810878',
  '-C',
  'extra-filename=-f85147e1c9d68eab',
  '--out-dir',
  '/home/a/ws/target/debug/deps',
  '-L',
  'dependency=/home/a/ws/target/debug/deps',
  '--extern',
  'priv,noprelude:serde=/home/a/ws/target/debug/deps/libserde-11.rmeta',
  '--cap-lints',
  'allow',
]

/** What `libArgs` is with more options at its end. */
export const withOptions = (...more: string[]): RustcArgs => parseRustcArgs([...libArgs, ...more])

const kindOptions = new Set(['--crate-type', '--emit=dep-info,metadata,link'])

/**
 * The same crate as another kind of unit.
 * @param types values of `--crate-type`, none for no such option
 */
export function unitArgs(types: readonly string[], emit = 'dep-info,link', ...more: string[]): RustcArgs {
  const others = libArgs.filter((argument, at) => !kindOptions.has(argument) && libArgs[at - 1] !== '--crate-type')
  return parseRustcArgs([...others, ...types.flatMap((type) => ['--crate-type', type]), `--emit=${emit}`, ...more])
}
