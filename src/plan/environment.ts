import { readFile } from 'node:fs/promises'

/** Names that look like a secret; cargo's own package metadata is exempt. */
const secretName =
  /(TOKEN|SECRET|PASS(W|WD|PHRASE)|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY|AUTH(?!OR)|COOKIE|_DSN|DATABASE_URL|^AWS_|^AZURE_|^GOOGLE_|^GITHUB_|^GH_|^NPM_|^CARGO_REGISTR)/i
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

export const looksSecret = (name: string): boolean => !name.startsWith('CARGO_PKG_') && secretName.test(name)

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
 * @param cargo cargo's environment; undefined when it could not be read, then only well-known names are taken
 */
export function actionEnvironment(
  rustc: ReadonlyMap<string, string>,
  cargo: ReadonlyMap<string, string> | undefined,
): { env: [string, string][]; secret: string | undefined } {
  const env: [string, string][] = []
  let secret: string | undefined
  for (const [name, value] of rustc) {
    if (mechanics.has(name)) continue
    const injected = cargo !== undefined && cargo.get(name) !== value
    if (!injected && !always.test(name) && !ambient.includes(name)) continue
    if (looksSecret(name)) secret ??= name
    env.push([name, value])
  }
  env.sort((a, b) => (a[0] < b[0] ? -1 : 1))
  return { env, secret }
}

/** Reads the environment that a process was started with; undefined where the system does not tell. */
export async function processEnvironment(pid: number): Promise<Map<string, string> | undefined> {
  try {
    return readEnvironment((await readFile(`/proc/${pid}/environ`, 'utf8')).split('\0'))
  } catch {
    return undefined
  }
}
