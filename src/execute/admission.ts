import { ShoalError } from '../base/errors.ts'
import { type Action, type OutputKind, rootNames } from '../plan/action.ts'
import { canRecordFor } from '../plan/classify.ts'
import { objectsName } from '../plan/codegen.ts'
import { looksSecret } from '../plan/environment.ts'
import { linkedOutputName, madeByCompiler } from '../plan/output-names.ts'
import { codegenOptions } from './codegen-options.ts'

/** What a lender knows about an action that it is willing to run. */
export interface Admitted {
  crate: string
  /** Names under the root `out`. */
  metadata: string | undefined
  depInfo: string | undefined
  /** Whether rustc calls a linker: what that would need is kept instead. */
  links: boolean
}

const token = `\\0(?:${rootNames.join('|')})\\0`
const segment = '(?!\\.{1,2}(?:/|$))[^/\\0-\\x1f\\x7f]+'
const underRoot = new RegExp(`^${token}(?:/${segment})*$`)
const relative = new RegExp(`^(?!-)${segment}(?:/${segment})*$`)
const inDeps = new RegExp(`^\\0deps\\0/${segment}$`)
const rootTokens = new RegExp(token, 'g')
const identifier = /^[A-Za-z_]\w{0,127}$/
const jsonKinds =
  /^(artifacts|diagnostic-short|diagnostic-unicode|diagnostic-rendered-ansi|future-incompat|unused-externs|unused-externs-silent)$/

/** Text without NUL other than in the names of roots: what `placeRoots` can put in place without surprises. */
const isText = (value: string): boolean => !value.replace(rootTokens, '').includes('\0')
const each = (value: string, allowed: RegExp): boolean => value.split(',').every((item) => allowed.test(item))
const matches =
  (allowed: RegExp) =>
  (value: string): boolean =>
    allowed.test(value)
const crateType = /^(lib|rlib|staticlib|bin|proc-macro|dylib|cdylib)$/
const lint = matches(/^[\w:-]{1,128}$/)

/** Every option that a guest may give to rustc, with what its value may be. */
const options = new Map<string, (value: string) => boolean>([
  ['crate-name', matches(identifier)],
  ['crate-type', (value) => each(value, crateType)],
  ['edition', matches(/^\d{4}$/)],
  ['emit', (value) => each(value, /^(dep-info|metadata|link)$/)],
  ['C', isCodegenOption],
  ['cfg', isText],
  ['check-cfg', isText],
  ['cap-lints', matches(/^(allow|warn|deny|forbid)$/)],
  ['L', isSearchPath],
  ['l', matches(/^(?:(?:static|dylib)(?::[+-][a-z-]+(?:,[+-][a-z-]+)*)?=)?[\w+-][\w.+-]{0,127}$/)],
  ['extern', isExtern],
  ['target', matches(/^(?!.*\.json)[\w.-]{1,64}$/)],
  ['error-format', matches(/^json$/)],
  ['json', (value) => each(value, jsonKinds)],
  ['diagnostic-width', matches(/^\d{1,5}$/)],
  ['out-dir', (value) => value === '\0out\0'],
  ...['A', 'W', 'D', 'F', 'allow', 'warn', 'deny', 'forbid', 'force-warn'].map((name) => [name, lint] as const),
])
const flags = new Set(['-g', '-O', '--test'])
/** rustc itself refuses these twice; two parsers must not disagree about which one counts. */
const once = ['crate-name', 'edition', 'target', 'out-dir', 'error-format', 'cap-lints', 'extra-filename']

const maxVariables = 512
/** cargo names programs of the package in them, which can have hyphens. */
const variableName = /^(?:[A-Za-z_]\w{0,255}|CARGO_BIN_EXE_[\w-]{1,128})$/
/** Variables that steer the loader, the allocator, the compiler or a build tool instead of describing the crate. */
const steering =
  /^(LD_|DYLD_|GLIBC_|MALLOC_|_RJEM|GCONV_|RUSTUP_|SHOAL|SSH_|GPG_|XDG_|DBUS_|SUDO_|SYSTEMD_|BASH_|LC_|RUSTC_LOG|RUST_LOG|CARGO_BUILD_|CARGO_PROFILE_|CARGO_HTTP_|CARGO_NET_)|_proxy$/i
const personal = new Set(
  (
    'PATH HOME USER LOGNAME USERNAME SHELL HOSTNAME MAIL DISPLAY TERM TMPDIR TMP TEMP TEMPDIR PWD OLDPWD LANG LANGUAGE LOCPATH ' +
    'NLSPATH IFS ENV _ MAKEFLAGS MFLAGS MAKELEVEL CARGO_MAKEFLAGS CARGO_HOME CARGO_ENCODED_RUSTFLAGS RUSTFLAGS RUSTDOCFLAGS ' +
    'CARGO_INCREMENTAL RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTC_ICE RUST_TARGET_PATH RUSTC_FORCE_RUSTC_VERSION ' +
    'RUSTC_OVERRIDE_VERSION_STRING NODE_OPTIONS'
  ).split(' '),
)

/**
 * Decides whether this node runs an action for somebody else. A list of what is allowed, made independently of how the
 * builder read the same arguments: anything not on it is refused, however harmless.
 * @throws ShoalError ERR_ADMISSION naming what was refused
 */
export function admit(action: Action): Admitted {
  if (action.driver !== null) refuse('driver', action.driver.toString())
  const args = readArguments(action.argv)
  const crate = args.values.get('crate-name')?.[0]
  if (crate === undefined || crate !== action.crate) refuse('crate name', crate ?? '')
  if (args.values.get('error-format') === undefined) refuse('--error-format', 'none')
  if ((args.values.get('target')?.[0] ?? action.target) !== action.target) refuse('--target', action.target)
  if (args.sources.length !== 1) refuse('number of source files', `${args.sources.length}`)
  const outputs = checkDeclared(action, crate, args)
  if (!underRoot.test(action.cwd)) refuse('working directory', action.cwd)
  for (const [, target] of action.remaps) if (!/^[^=\0-\x1f\x7f]{1,512}$/.test(target)) refuse('remap target', target)
  admitEnvironment(action.env)
  return { crate, ...outputs }
}

interface Arguments {
  values: Map<string, string[]>
  sources: string[]
  test: boolean
}

function readArguments(argv: readonly string[]): Arguments {
  const values = new Map<string, string[]>()
  const sources: string[] = []
  let test = false
  for (let at = 0; at < argv.length; at++) {
    const argument = argv[at] ?? ''
    if (!argument.startsWith('-')) {
      if (
        !argument.endsWith('.rs') ||
        !(underRoot.test(argument) || relative.test(argument)) ||
        argument.startsWith('@')
      ) {
        refuse('source file', argument)
      }
      sources.push(argument)
      continue
    }
    if (flags.has(argument)) {
      test ||= argument === '--test'
      continue
    }
    const { name, inline } = split(argument)
    const allowed = options.get(name)
    if (allowed === undefined) refuse('option', argument)
    const value = inline ?? argv[++at]
    // rustc reads any argument with a leading `@` as a file of arguments, also where a value is expected.
    if (value === undefined || (inline === undefined && /^[-@]/.test(value)) || !allowed(value)) {
      refuse(`value of ${argument}`, value ?? 'none')
    }
    remember(values, name, value)
  }
  for (const name of once) if ((values.get(name)?.length ?? 0) > 1) refuse('option given twice', name)
  return { values, sources, test }
}

function split(argument: string): { name: string; inline?: string } {
  if (!argument.startsWith('--')) {
    const name = argument.slice(1, 2)
    return argument.length === 2 ? { name } : { name, inline: argument.slice(2) }
  }
  const equals = argument.indexOf('=')
  const long = equals < 0 ? argument.slice(2) : argument.slice(2, equals)
  // One letter after two dashes, and nothing after them, are no options of rustc.
  if (long.length < 2) refuse('option', argument)
  const name = long === 'codegen' ? 'C' : long
  return equals < 0 ? { name } : { name, inline: argument.slice(equals + 1) }
}

function remember(values: Map<string, string[]>, name: string, value: string): void {
  const known = values.get(name)
  if (known === undefined) values.set(name, [value])
  else known.push(value)
  if (name === 'C' && value.startsWith('extra-filename=')) remember(values, 'extra-filename', value.slice(15))
}

function isCodegenOption(value: string): boolean {
  const equals = value.indexOf('=')
  const allowed = codegenOptions.get(equals < 0 ? value : value.slice(0, equals))
  return allowed?.test(equals < 0 ? '' : value.slice(equals + 1)) === true
}

function isSearchPath(value: string): boolean {
  return underRoot.test(value.replace(/^(dependency|crate|native|all)=/, ''))
}

function isExtern(value: string): boolean {
  const equals = value.indexOf('=')
  if (equals < 0) return identifier.test(value)
  return identifier.test(value.slice(0, equals)) && inDeps.test(value.slice(equals + 1))
}

/** The outputs that the arguments will produce must be those that the action declares. */
function checkDeclared(action: Action, crate: string, args: Arguments): Omit<Admitted, 'crate'> {
  const given = (name: string): string[] => (args.values.get(name) ?? []).flatMap((value) => value.split(','))
  const emitted = new Set(given('emit'))
  const stem = `${crate}${args.values.get('extra-filename')?.[0] ?? ''}`
  const types = args.test || given('crate-type').length === 0 ? ['bin'] : given('crate-type')
  if (new Set(types).size < types.length) refuse('crate type given twice', types.join(' '))
  const metadata = emitted.has('metadata') ? `lib${stem}.rmeta` : undefined
  const depInfo = emitted.has('dep-info') ? `${stem}.d` : undefined
  const outputs: [string | undefined, OutputKind][] = [
    [depInfo, 'dep-info'],
    [metadata, 'metadata'],
  ]
  const links = emitted.has('link') && types.some((type) => !madeByCompiler.has(type))
  if (links && !canRecordFor.test(action.target)) refuse('linking for', action.target)
  const linked = types.map((type) => {
    const name = linkedOutputName(type, stem, action.target)
    return madeByCompiler.has(type) ? name : objectsName(name)
  })
  if (emitted.has('link')) for (const name of new Set(linked)) outputs.push([name, 'link'])
  const expected = outputs.filter(([name]) => name !== undefined)
  const same =
    action.outputs.length === expected.length &&
    action.outputs.every(([name, kind], at) => expected[at]?.[0] === name && expected[at]?.[1] === kind)
  if (!same || expected.length === 0) refuse('declared outputs', action.outputs.map(([name]) => name).join(' '))
  return { metadata, depInfo, links }
}

function admitEnvironment(env: Action['env']): void {
  if (env.length > maxVariables) refuse('number of variables', `${env.length}`)
  const seen = new Set<string>()
  for (const [name, value] of env) {
    const plain = variableName.test(name) && !seen.has(name)
    if (!plain || steering.test(name) || personal.has(name.toUpperCase()) || looksSecret(name)) refuse('variable', name)
    if (!isText(value)) refuse('value of variable', name)
    seen.add(name)
  }
}

function refuse(what: string, value: string): never {
  const shown = value
    .replaceAll('\0', '%')
    .replace(/[^\x20-\x7e]/g, '?')
    .slice(0, 200)
  throw new ShoalError('ERR_ADMISSION', `${what} not allowed: ${shown}`)
}
