import { basename } from 'node:path'
import type { RustcArgs } from './rustc-args.ts'

/** What an invocation compiles, in cargo's words. */
export type UnitKind =
  | 'lib'
  | 'proc-macro'
  | 'bin'
  | 'test'
  | 'build-script'
  | 'dylib'
  | 'cdylib'
  | 'staticlib'
  | 'other'

/**
 * Why rustc simply runs here. A reason code is permanent; `src/README.md` lists each one (a test compares the two).
 */
export const reasons = {
  kind: 'this kind of unit is compiled here',
  incremental: 'cargo asked for incremental compilation',
  'unsupported-option': 'an option that Shoal does not handle',
  'unsupported-emit': 'an output that Shoal does not handle',
  'unusual-path': 'a path that cannot be named safely',
  'native-cpu': 'the code is made for this very processor',
  'native-library': 'a native library outside the package goes into it',
  environment: 'a variable that changes what rustc does',
  'secret-in-environment': 'a variable or an argument that looks like a secret',
  'dependency-unknown': 'a dependency was not compiled through Shoal',
  'toolchain-unknown': 'the toolchain cannot be identified',
  'source-outside-package': 'it reads files outside its package',
  private: 'it is private, or made from something private',
  'withheld-files': 'its package holds files that are not lent out',
  'too-large': 'its inputs are too large to be named',
  'path-bound': 'its outputs hold paths of this machine',
  'new-place': 'it was seen in places alone of which this one can differ',
  'source-changed': 'its sources changed while it was compiled',
  'link-time-optimisation': 'it is optimised together with its dependencies',
  linker: 'its linker needs rustc here, or has something to say',
  'split-debuginfo': 'debug information goes into files of its own',
  'writes-elsewhere': 'something in it writes files beside its outputs',
  'uses-network': 'something in it uses the network',
  unobserved: 'what it reads could not be observed',
  policy: 'the trust policy wants more than the word that others give',
  conflict: 'others do not agree about what comes out',
  unsteady: 'it comes out differently each time',
  clock: 'it asked what time it is',
  randomness: 'it asked for random numbers',
  'other-compiler': 'it ran a compiler of another toolchain',
  'out-dir-in-use': 'its directory held something already, and it was run on top of that',
  'unusual-output': 'it left something that cannot be kept',
  failed: 'it failed',
  'always-run': 'its package or the configuration says that it is to run each time',
} as const
export type Reason = keyof typeof reasons

/** Environment variables that change rustc's behaviour in ways an action does not express. */
const disturbing = ['RUSTC_FORCE_RUSTC_VERSION', 'RUSTC_OVERRIDE_VERSION_STRING', 'RUSTC_LOG', 'RUST_TARGET_PATH']

/** Options that are understood and either kept in the action or known not to matter. */
const handled = new Set(
  (
    'A C D F L W Z allow cap-lints cfg check-cfg codegen color crate-name crate-type deny diagnostic-width edition emit ' +
    'error-format extern forbid force-warn json out-dir remap-path-prefix target test warn l O g'
  ).split(' '),
)

/** Codegen options that name things of this machine: fine for a recall, which looks at them, but not for a lender. */
const hereOnly = new Set(['linker-plugin-lto', 'profile-use'])
/** Targets whose linked files have names that Shoal does not know. */
const unknownNames = /windows|emscripten|cuda|uefi/

/** Targets for which rustc's calls of a linker are known, word by word. */
export const canRecordFor = /^(x86_64|aarch64)-[\w.]+-linux-gnu$/

/**
 * Linkers from whose name rustc infers nothing, just as from that of the program that a lender gives it: so both are called
 * alike. Of `gcc` and `clang`, with a prefix or without, it infers that they do without LLVM's linker.
 */
const calledAsUnknown = /^(?:.*-)?cc(?:-\d+)?$/

/** Whether the target is described by a file, which rustc reads like a source. */
export const hasOwnTarget = ({ target }: Pick<RustcArgs, 'target'>): boolean =>
  target?.startsWith('/') === true && target.endsWith('.json')

/** The target whose standard library comes with the toolchain; undefined for the host, and where there is none. */
export const installedTarget = (args: Pick<RustcArgs, 'target'>): string | undefined =>
  hasOwnTarget(args) ? undefined : args.target

export function unitKind(args: RustcArgs): UnitKind {
  if (args.test) return 'test'
  if (args.crateName === 'build_script_build' || args.crateName.startsWith('build_script_')) return 'build-script'
  const types = args.crateTypes.length === 0 ? ['bin'] : args.crateTypes
  if (types.includes('lib') || types.includes('rlib')) return 'lib'
  const [type] = types
  if (type === 'proc-macro' || type === 'bin' || type === 'dylib' || type === 'cdylib' || type === 'staticlib')
    return type
  return 'other'
}

/** Whether a linker runs. */
export function links(args: RustcArgs): boolean {
  if (!args.emit.includes('link')) return false
  if (args.test || args.crateTypes.length === 0) return true
  return args.crateTypes.some((type) => type !== 'lib' && type !== 'rlib' && type !== 'staticlib')
}

/**
 * Whether an invocation can be named as an action at all; the reason if not. Looks at arguments and environment only.
 */
export function reasonToStay(args: RustcArgs, env: ReadonlyMap<string, string>): Reason | undefined {
  if (args.sources.length !== 1 || !args.sources[0]?.endsWith('.rs')) return 'unsupported-option'
  if (args.options.some((option) => !handled.has(option.name))) return 'unsupported-option'
  // With `rpath` the way from the output to its libraries goes into it, and the outputs are made elsewhere.
  if (['profile-generate', 'save-temps', 'rpath'].some((name) => args.codegen.has(name))) return 'unsupported-option'
  if ((args.codegen.get('split-debuginfo') ?? 'off') !== 'off') return 'split-debuginfo'
  if (args.emit.some((kind) => kind !== 'dep-info' && kind !== 'metadata' && kind !== 'link')) return 'unsupported-emit'
  if (!args.emit.includes('dep-info')) return 'unsupported-emit'
  if (args.target?.includes('.json') || args.target?.includes('/')) {
    // How linked files are called is in the specification; libraries are called the same everywhere.
    const isLibrary = args.crateTypes.every((type) => type === 'lib' || type === 'rlib') && args.crateTypes.length > 0
    if (!hasOwnTarget(args) || !isLibrary || args.test) return 'unsupported-option'
  }
  if (args.target !== undefined && unknownNames.test(args.target)) return 'unsupported-option'
  if (disturbing.some((name) => env.has(name))) return 'environment'
  return undefined
}

/**
 * Why a unit is not compiled by others, as far as its arguments tell. Of one that is linked they make what the linker needs.
 * @param target triple
 */
export function reasonNotAway(args: RustcArgs, driver: string | undefined, target: string): Reason | undefined {
  if (hasOwnTarget(args)) return 'unsupported-option'
  if (driver !== undefined || unitKind(args) === 'other') return 'kind'
  const isLinked = links(args)
  const isLibrary = !isLinked && args.emit.includes('link') && !args.crateTypes.includes('staticlib')
  if (isLibrary && !args.codegen.get('extra-filename')) return 'kind'
  if (isLibrary && !args.emit.includes('metadata')) return 'unsupported-emit'
  if (args.codegen.get('target-cpu') === 'native') return 'native-cpu'
  for (const key of args.codegen.keys()) {
    if (hereOnly.has(key)) return 'unsupported-option'
  }
  if (args.options.some(({ name }) => name === 'Z' || name === 'remap-path-prefix')) return 'unsupported-option'
  return isLinked || args.crateTypes.includes('staticlib') ? reasonNotLinked(args, target, isLinked) : undefined
}

/** What decides about a whole program is decided where the whole of it is. */
function reasonNotLinked(args: RustcArgs, target: string, isLinked: boolean): Reason | undefined {
  if (!['off', 'n', 'no', 'false'].includes(args.codegen.get('lto') ?? 'off')) return 'link-time-optimisation'
  if (!isLinked) return undefined
  if (!canRecordFor.test(target)) return 'kind'
  if (args.codegen.has('linker-flavor') || !calledAsUnknown.test(basename(args.codegen.get('linker') ?? 'cc')))
    return 'unsupported-option'
  // Which library of that name is taken is decided by rustc, where it runs.
  return args.options.some(({ name, value = '' }) => name === 'l' && /^static\b|[:,]\+verbatim\b/.test(value))
    ? 'native-library'
    : undefined
}

/**
 * Whether all that comes of a unit is what lints find in people's own code, where somebody wants to know that they find nothing: nothing is built of
 * it, so a lie about it would show nowhere. What one of the lints in a manifest is to fail, whatever builds the unit says as well.
 * @param isDriven something like clippy-driver runs in rustc's place
 */
export function isVerdict(args: RustcArgs, isDriven: boolean): boolean {
  if (args.emit.includes('link') || args.options.some(({ name }) => name === 'cap-lints')) return false
  return isDriven || args.options.some(({ name, value }) => failing.has(name) && value === 'warnings')
}

const failing: ReadonlySet<string> = new Set(['D', 'F', 'deny', 'forbid'])

/** Whether what comes of a unit runs on the machine that builds, with all that its user may do, while it builds. */
export const runsOnHost = (kind: UnitKind): boolean => kind === 'proc-macro' || kind === 'build-script'
