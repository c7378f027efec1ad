import { isUtf8 } from 'node:buffer'
import { readFile } from 'node:fs/promises'

/** Names that look like a secret; those in which cargo puts what a package, or a program or feature of it, is called are exempt. */
const secretName =
  /(TOKEN|SECRET|PASS(W|WD|PHRASE|CODE|KEY)|(^|_)PASS(_|\d|$)|_PWD$|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY|(^|_|SSH|SIGNING|MASTER|ENCRYPTION|LICENSE)KEYS?$|_KEY_?(PEM|DATA|B(ASE)?64|HEX|V?\d+)$|(^|_)(JWT|PEM)$|AUTH(?!OR)|COOKIE|SESSION_ID|WEBHOOK|CONNECTION_STRING|NETRC|_DSN|_PAT$|DATABASE_URL|^AWS_|^AZURE_|^GOOGLE_|^GITHUB_|^GH_|^NPM_|^KUBE|^CARGO_REGISTR)/i
/** Names of secrets themselves, and not only of things around them, so that their values are secrets wherever they turn up. */
const secretItself =
  /(TOKEN|SECRET|PASSW(OR)?D|PASSPHRASE|PASSCODE|(^|_)PASS\d*$|_PWD$|CREDENTIAL|PRIVATE_?KEY|API_?KEY|ACCESS_?KEY|CONNECTION_STRING|_DSN|_PAT$)/i
/** The same, unless the value is where one lies. */
const keyItself = /(^|_)KEY$/i
const isPath = (value: string): boolean => /^[~./]/.test(value)
/** `scheme://user:password@host`, and what is too long to be somebody's name. */
const withPassword = /[a-z][\w+.-]*:\/\/(?:[^\s/:@]*:[^\s/@]+|[^\s/:@]{24,})@/i
/** What is a key whatever it is called: those of GitHub, GitLab, AWS, Slack, Stripe, OpenAI, Google, npm, PyPI and crates.io, a JWT with its signature, a private key. */
const wellKnown =
  /\b(gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|A[KS]IA[A-Z0-9]{16}\b|xox[abeprs]-[\w-]{20,}|[rs]k_live_\w{16,}|sk-[\w-]{32,}|AIza[\w-]{35}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{40,}|cio[A-Za-z0-9]{32}\b|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,})|-----BEGIN [A-Z ]*PRIVATE KEY/
/** `--cfg` with a value. */
const cfgName = /^(\w+)\s*=/
/** What cargo sets for its own mechanics: differs between machines or runs and is no input of a compile. */
const mechanics = new Set([
  'CARGO',
  'CARGO_MAKEFLAGS',
  'MAKEFLAGS',
  'MFLAGS',
  'LD_LIBRARY_PATH',
  'DYLD_LIBRARY_PATH',
  'DYLD_FALLBACK_LIBRARY_PATH',
  'CARGO_TARGET_TMPDIR',
  'CARGO_SBOM_PATH',
  // Differs between `cargo build` and `cargo build -p`; who looks at it has that in the trace.
  'CARGO_PRIMARY_PACKAGE',
  'RUSTC_WRAPPER',
  'RUSTC_WORKSPACE_WRAPPER',
  'SHOAL',
  'SHOAL_SOCKET',
  'SHOAL_HOME',
  'PWD',
  'OLDPWD',
  '_',
])
/** Set by cargo for every unit; taken even when cargo's own environment cannot be read. */
const always = /^(CARGO_PKG_\w+|CARGO_CRATE_NAME|CARGO_BIN_NAME|CARGO_MANIFEST_DIR|CARGO_MANIFEST_PATH|OUT_DIR)$/
/** Part of every action, whoever set them. */
const ambient = ['RUSTC_BOOTSTRAP', 'MACOSX_DEPLOYMENT_TARGET', 'SDKROOT']

const named = /^CARGO_(PKG|BIN_EXE|FEATURE)_/
/** What is called like a secret by its first word alone, and says where or of what something was built. */
const harmless =
  /^(GITHUB_(SHA|REF|REF_NAME|REF_TYPE|HEAD_REF|BASE_REF|RUN_ID|RUN_NUMBER|RUN_ATTEMPT|REPOSITORY|REPOSITORY_OWNER|WORKFLOW|JOB|ACTOR|EVENT_NAME|ACTIONS|WORKSPACE|SERVER_URL|API_URL)|AWS_(DEFAULT_)?REGION|GOOGLE_CLOUD_(PROJECT|REGION))$/

/** Whether a variable of this name is a secret itself, and not only something around one. */
export const isSecretItself = (name: string): boolean =>
  !named.test(name) && (secretItself.test(name) || keyItself.test(name))

export const looksSecret = (name: string): boolean => !named.test(name) && !harmless.test(name) && secretName.test(name)

/** Whether a text holds what looks like a password or a key whatever it is called. */
export const holdsPassword = (text: string): boolean => withPassword.test(text) || wellKnown.test(text)

/** Values that nobody would use for anything else, of variables that are called like secrets, and those that hold one by their form. */
export function secretValues(env: ReadonlyMap<string, string>): string[] {
  const isLong = (value: string): boolean =>
    value.length >= 12 || (value.length >= 8 && /\d/.test(value) && /[A-Za-z]/.test(value))
  return [...env].flatMap(([name, text]) => {
    if (named.test(name)) return []
    // Who reads one out of a file has a line feed at its end, and takes it off.
    const value = text.trim()
    const isItself = secretItself.test(name) || (keyItself.test(name) && !isPath(value))
    return (isItself && isLong(value)) || holdsPassword(value) ? [value] : []
  })
}

/**
 * Whether there is a secret in what an action says: a value of one of the variables that look like it, an address with a
 * password, or a `--cfg` that is called like a secret.
 * @param argv rustc's arguments as the action has them
 * @param env what the action says of the environment
 * @param variables the whole environment of rustc
 */
export function tellsSecret(
  argv: readonly string[],
  env: readonly (readonly [string, string])[],
  variables: ReadonlyMap<string, string>,
): boolean {
  const values = secretValues(variables)
  const tells = (text: string): boolean => holdsPassword(text) || values.some((value) => text.includes(value))
  if (argv.some(tells) || env.some(([, value]) => tells(value))) return true
  return argv.some((argument, at) => {
    const setting = argv[at - 1] === '--cfg' ? argument : argument.startsWith('--cfg=') ? argument.slice(6) : ''
    return looksSecret(cfgName.exec(setting)?.[1] ?? '')
  })
}

/** `K=V` entries; the first of two equal names counts, as getenv() sees it. */
export function readEnvironment(entries: readonly string[]): Map<string, string> {
  const env = new Map<string, string>()
  for (const entry of entries) {
    const equals = entry.indexOf('=')
    if (equals <= 0) continue
    const name = entry.slice(0, equals)
    if (!env.has(name)) env.set(name, entry.slice(equals + 1))
  }
  return env
}

/**
 * The part of rustc's environment that belongs to the action: what cargo itself put there (package metadata, OUT_DIR,
 * `cargo::rustc-env`, `[env]`), found as the difference to cargo's own environment. Sorted by name.
 * @returns `secrets`: names of those among it that look like a secret, which are left out
 * @param cargo cargo's environment; undefined when it could not be read, then only well-known names are taken
 */
export function actionEnvironment(
  rustc: ReadonlyMap<string, string>,
  cargo: ReadonlyMap<string, string> | undefined,
): { env: [string, string][]; secrets: string[] } {
  const env: [string, string][] = []
  const secrets: string[] = []
  for (const [name, value] of rustc) {
    if (mechanics.has(name)) continue
    const injected = cargo !== undefined && cargo.get(name) !== value
    if (!injected && !always.test(name) && !ambient.includes(name)) continue
    if (looksSecret(name)) secrets.push(name)
    else env.push([name, value])
  }
  env.sort((a, b) => (a[0] < b[0] ? -1 : 1))
  return { env, secrets }
}

/**
 * An entry of an environment as text. What of it is not UTF-8 is its bytes in hex, so that two that differ never look the same to what a compile was
 * seen to read.
 */
export function entryText(entry: Uint8Array): string {
  if (isUtf8(entry)) return Buffer.from(entry).toString()
  const equals = entry.indexOf('='.charCodeAt(0))
  const textOf = (bytes: Uint8Array): string =>
    isUtf8(bytes) ? Buffer.from(bytes).toString() : `\ufffd${Buffer.from(bytes).toString('hex')}`
  return equals < 0 ? textOf(entry) : `${textOf(entry.subarray(0, equals))}=${textOf(entry.subarray(equals + 1))}`
}

/** Reads the environment that a process was started with; undefined where the system does not tell. */
export async function processEnvironment(pid: number): Promise<Map<string, string> | undefined> {
  try {
    const bytes = await readFile(`/proc/${pid}/environ`)
    if (isUtf8(bytes)) return readEnvironment(bytes.toString().split('\0'))
    // Each byte is a character of this, and none of a longer one is zero.
    const entries = bytes.toString('latin1').split('\0')
    return readEnvironment(entries.map((entry) => entryText(Buffer.from(entry, 'latin1'))))
  } catch {
    return undefined
  }
}
