// @ts-check
// What has to be there before the first line of TypeScript can run. Runs on Node 18.
import { spawn } from 'node:child_process'
import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs'
import { delimiter, join } from 'node:path'

/**
 * libp2p needs Node 22, type stripping without a flag 24.
 * @param {string} version such as `24.21.0`
 */
export function nodeFits(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 24 || (major === 24 && minor >= 9)
}

/**
 * The Node that npm brought as an optional dependency, or undefined.
 * @param {string} root
 * @returns {string | undefined}
 */
export function privateNode(root) {
  const modules = join(root, 'node_modules')
  if (!existsSync(modules)) return undefined
  return readdirSync(modules)
    .filter((name) => name.startsWith('node-'))
    .map((name) => join(modules, name, 'bin/node'))
    .find(isExecutable)
}

/** @param {string} file */
function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'EACCES')) return false
    throw error
  }
}

/**
 * Says what is wrong with node_modules, or undefined when it holds what package-lock.json names. Compared by content: the
 * times of files say nothing after a checkout.
 * @param {string} root
 * @param {{ development: boolean }} options whether the development dependencies are needed too
 * @returns {string | undefined}
 */
export function staleDependencies(root, { development }) {
  const wanted = packagesOf(join(root, 'package-lock.json'))
  if (wanted === undefined) return undefined
  const installed = packagesOf(join(root, 'node_modules/.package-lock.json'))
  if (installed === undefined) return 'the dependencies are not installed'
  for (const [path, entry] of Object.entries(wanted)) {
    // Optional ones depend on the platform.
    if (path === '' || entry.optional || entry.devOptional || (entry.dev && !development)) continue
    if (installed[path]?.version !== entry.version) return 'the dependencies are older than package-lock.json'
  }
  return undefined
}

/**
 * @param {string} file
 * @returns {Record<string, { version?: string, optional?: boolean, devOptional?: boolean, dev?: boolean }> | undefined}
 */
function packagesOf(file) {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')).packages ?? {}) : undefined
}

/**
 * @param {string} root
 * @returns {Promise<number>} npm's exit code
 */
export function installDependencies(root) {
  // `npm run -s` silences every npm below it, and then nobody would learn why this one failed.
  return run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: root })
}

const othersWrite = 0o022

/**
 * Where Node keeps what it has compiled of this program, which it runs the next time without looking at it again: so only in a directory
 * that nobody but this user can change. What other versions of Node have left there is removed.
 * @param {string} cache the node's cache directory, absolute
 * @returns {string | undefined} undefined when there is no such directory
 */
export function compiledDir(cache) {
  const dir = join(cache, 'compiled')
  try {
    mkdirSync(dir, { mode: 0o700 })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    // Nothing was set up here, or others forbid it.
    if (code !== 'EEXIST') return undefined
  }
  try {
    const [held, above] = [lstatSync(dir), statSync(cache)]
    const isMine = [held, above].every(({ uid, mode }) => uid === process.getuid?.() && (mode & othersWrite) === 0)
    if (!isMine || !held.isDirectory()) return undefined
    for (const name of readdirSync(dir)) {
      if (!name.startsWith(`${process.version}-`)) rmSync(join(dir, name), { recursive: true, force: true })
    }
    return dir
  } catch {
    return undefined
  }
}

/** What the demo and the tests use besides Node and Rust: program → Debian package. */
const tools = { bwrap: 'bubblewrap', ip: 'iproute2' }

/**
 * Debian packages of the programs that are not there. Empty where there is no sandbox of this kind anyway.
 * @param {string} path PATH
 * @param {string} platform
 */
export function missingTools(path, platform) {
  if (platform !== 'linux') return []
  const dirs = [...path.split(delimiter).filter(Boolean), '/usr/sbin', '/sbin']
  return Object.entries(tools)
    .filter(([program]) => !dirs.some((dir) => isExecutable(join(dir, program))))
    .map(([, name]) => name)
}

/**
 * Installs Debian packages when that is possible without asking, and says the command otherwise. Never fails: what can
 * be done without them is done.
 * @param {readonly string[]} packages
 * @param {(text: string) => void} say
 */
export async function installTools(packages, say) {
  const install = ['install', '-y', '--no-install-recommends', ...packages]
  const debian = isExecutable('/usr/bin/apt-get')
  if (!debian || process.getuid?.() !== 0) {
    say(`not installed: ${packages.join(', ')}. To use everything: sudo apt-get ${install.join(' ')}`)
    return
  }
  say(`installing ${packages.join(', ')} (apt-get)`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  let code = await run('apt-get', install, { env, quiet: true })
  if (code !== 0 && (await run('apt-get', ['update'], { env, quiet: true })) === 0) {
    code = await run('apt-get', install, { env, quiet: true })
  }
  if (code !== 0) say(`apt-get could not install them; going on without. By hand: apt-get ${install.join(' ')}`)
}

/**
 * Runs a program with its output on standard error.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, quiet?: boolean }} options
 * @returns {Promise<number>}
 */
function run(program, args, { cwd, env, quiet = false }) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', quiet ? 'ignore' : 2, quiet ? 'ignore' : 2],
      ...(cwd === undefined ? {} : { cwd }),
      ...(env === undefined ? {} : { env }),
    })
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? 1))
  })
}
