import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, open, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { codeOf, foreignText, ShoalError } from '../base/errors.ts'
import type { Environment } from '../base/paths.ts'
import { isLoadable, type Loadable, makeLoadable } from './loadable.ts'

const run = promisify(execFile)

/** What a file is compiled from, and how. */
interface Recipe {
  name: string
  /** The crate's root, relative to this directory; its modules lie beside it. */
  root: string
  flags: readonly string[]
  /** Flags to be tried beside those first; without them when it then cannot be compiled or does not work. */
  better?: readonly string[]
  /** Whether the file does what it is for; tried before it is put in place. */
  works?: (path: string, options: Run) => Promise<boolean>
}

interface Run {
  rustc: string
  signal: AbortSignal | undefined
}

const common = ['--edition=2021', '-C', 'panic=abort', '-C', 'strip=symbols'] as const

const shim: Recipe = {
  name: 'shoal-rustc',
  root: 'shim.rs',
  flags: [...common, '-O', '--crate-name=shoal_rustc'],
  // It starts once for each unit: without a dynamic loader, which looks for libraries wherever cargo tells it to, in half the time.
  ...(process.platform === 'linux' && { better: ['-C', 'target-feature=+crt-static'] }),
  works: async (path, options) => {
    const env = { ...process.env, SHOAL: 'off' }
    const own = await call(['-vV'], options, env)
    return (await call([options.rustc, '-vV'], { ...options, rustc: path }, env)).stdout === own.stdout
  },
}

const observer: Recipe = {
  name: 'libshoal-observer.so',
  root: 'observer/observer.rs',
  flags: [
    ...[...common, '--crate-type=cdylib', '--crate-name=shoal_observer'],
    ...['-C', 'opt-level=s', '-C', 'lto', '-C', 'codegen-units=1'],
    // No start-up code of the C compiler; a symbol that is nowhere is to be found out here and not in a compile; before
    // glibc 2.34 `dlsym` was in a library of its own.
    ...['-C', 'link-args=-nostartfiles -Wl,-z,defs -Wl,--as-needed -ldl -lc'],
  ],
  works: async (path, options) => {
    if (isLoadable(path)) return await observes(path, options)
    const copy = await makeLoadable(path, process.env, (copied) => observes(copied, options))
    await copy?.close()
    return copy !== undefined
  },
}

export interface BuildShimOptions {
  /** The compiler to build with, a path or a name on PATH. */
  rustc: string
  /** Made if absent. The shim becomes `${outDir}/shoal-rustc`; beside it `shoal-rustc.json` says what it was made of. */
  outDir: string
  signal?: AbortSignal
}

export interface BuiltShim {
  path: string
  /** sha-256 of the sources and flags, in hex: what the binary does. */
  digest: string
  /** False when the one that was there is still right. */
  built: boolean
}

interface Sidecar {
  digest: string
  rustc: string
  binary: string
}

/**
 * Compiles what cargo starts instead of rustc (about a second), unless the same sources were compiled by the same rustc.
 * Put in place by a rename: builds that run meanwhile keep the one they started.
 * @throws ShoalError ERR_SHIM_BUILD when there is no usable rustc or no linker
 */
export function buildShim(options: BuildShimOptions): Promise<BuiltShim> {
  return build(shim, options)
}

export interface BuildObserverOptions extends BuildShimOptions {
  /** Where it is to run; this machine by default. */
  platform?: { os: string; arch: string }
}

/**
 * Compiles the library that notes what a compile reads, like `buildShim`, as `${outDir}/libshoal-observer.so`.
 * @returns undefined where there is none: it knows glibc on Linux, on x86-64 and arm64. macOS removes such libraries from the
 *   environment of its protected programs, and the linker is one of them.
 * @throws ShoalError ERR_SHIM_BUILD when it cannot be compiled (rustc before 1.88, no linker) or does not attach to this rustc (one
 *   that is linked statically, or with another libc): compiles go on without
 */
export async function buildObserver(options: BuildObserverOptions): Promise<BuiltShim | undefined> {
  const { os, arch } = options.platform ?? { os: process.platform, arch: process.arch }
  if (os !== 'linux' || (arch !== 'x64' && arch !== 'arm64')) return undefined
  return await build(observer, options)
}

/** How what lies there compares with what would be built now. */
export type Built = 'current' | 'outdated' | 'missing'

/** @throws ShoalError ERR_SHIM_BUILD when there is no usable rustc */
export async function isShimBuilt(options: BuildShimOptions): Promise<Built> {
  return await isBuilt(shim, options)
}

/** @returns undefined where there is none. @throws as `isShimBuilt` */
export async function isObserverBuilt(options: BuildShimOptions): Promise<Built | undefined> {
  const hasOne = process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64')
  return hasOne ? await isBuilt(observer, options) : undefined
}

async function isBuilt(recipe: Recipe, options: BuildShimOptions): Promise<Built> {
  const path = join(options.outDir, recipe.name)
  if (await isCurrent(path, await wantedOf(recipe, options))) return 'current'
  return existsSync(path) ? 'outdated' : 'missing'
}

async function wantedOf(
  recipe: Recipe,
  { rustc, signal }: Pick<BuildShimOptions, 'rustc'> & { signal?: AbortSignal | undefined },
): Promise<Omit<Sidecar, 'binary'>> {
  const { stdout: version } = await call(['-vV'], { rustc, signal })
  return { digest: await sourceDigest(recipe), rustc: `${rustc}\n${version}` }
}

/**
 * Finds a path under which the observer can be loaded into compiles, whether it is there already or not.
 * @param rustc tried with it if it has to be copied
 * @returns undefined when there is no such path
 */
export async function loadObserver(observer: string, env: Environment, rustc: string): Promise<Loadable | undefined> {
  return await makeLoadable(observer, env, (path) => observes(path, { rustc, signal: undefined }))
}

async function build(recipe: Recipe, { rustc, outDir, signal }: BuildShimOptions): Promise<BuiltShim> {
  const options = { rustc, signal }
  const path = join(outDir, recipe.name)
  const wanted = await wantedOf(recipe, options)
  const { digest } = wanted
  if (await isCurrent(path, wanted)) return { path, digest, built: false }

  await mkdir(outDir, { recursive: true })
  const work = await mkdtemp(join(outDir, `.${recipe.name}-`))
  try {
    const binary = join(work, recipe.name)
    await make(recipe, binary, options)
    const sidecar: Sidecar = { ...wanted, binary: sha256(await readFile(binary)) }
    await writeFile(join(work, 'sidecar'), JSON.stringify(sidecar))
    await rename(binary, path)
    await rename(join(work, 'sidecar'), `${path}.json`)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
  return { path, digest, built: true }
}

/** @throws ShoalError ERR_SHIM_BUILD when it cannot be compiled, or does not work */
async function make(recipe: Recipe, binary: string, options: Run): Promise<void> {
  const { better, ...plain } = recipe
  if (better !== undefined) {
    try {
      return await make({ ...plain, flags: [...recipe.flags, ...better] }, binary, options)
    } catch (error) {
      if (codeOf(error) !== 'ERR_SHIM_BUILD') throw error
    }
  }
  await call([source(recipe.root), ...recipe.flags, '-o', binary], options)
  if (recipe.works !== undefined && !(await recipe.works(binary, options)))
    throw new ShoalError('ERR_SHIM_BUILD', `${recipe.name} does not work with ${options.rustc}`)
}

/** Whether rustc says the same under the observer as without, and was observed, as protocols/observer.md tells. */
async function observes(path: string, options: Run): Promise<boolean> {
  const log = join(dirname(path), 'log')
  await writeFile(log, '')
  await truncate(log, 1 << 20)
  const env = { ...process.env, LD_PRELOAD: path, SHOAL_OBSERVE: log }
  const plain = await call(['-vV'], options)
  const observed = await call(['-vV'], options, env)
  if (observed.stdout !== plain.stdout || observed.stderr !== plain.stderr) return false
  await using file = await open(log)
  const { buffer } = await file.read(Buffer.alloc(40), 0, 40, 0)
  await rm(log)
  const [flags, expected, attached] = [16, 24, 32].map((at) => buffer.readBigUInt64LE(at))
  return buffer.toString('latin1', 0, 8) === 'shoalob1' && flags === 0n && Number(attached) > Number(expected)
}

async function call(
  args: string[],
  { rustc, signal }: Run,
  env: NodeJS.ProcessEnv = process.env,
): Promise<{ stdout: string; stderr: string }> {
  try {
    return await run(rustc, args, signal === undefined ? { env } : { env, signal })
  } catch (error) {
    signal?.throwIfAborted()
    if (codeOf(error) === 'ENOENT') throw new ShoalError('ERR_SHIM_BUILD', `no ${rustc} found`, { cause: error })
    const stderr =
      typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr) : String(error)
    const hint = /linker `[^`]*` not found/.test(stderr) ? { hint: 'Install a C linker: `apt install gcc`.' } : {}
    throw new ShoalError('ERR_SHIM_BUILD', foreignText(`${rustc} failed: ${stderr.trim()}`), { ...hint, cause: error })
  }
}

async function isCurrent(path: string, wanted: Omit<Sidecar, 'binary'>): Promise<boolean> {
  try {
    const sidecar: Partial<Sidecar> = JSON.parse(await readFile(`${path}.json`, 'utf8'))
    if (sidecar.digest !== wanted.digest || sidecar.rustc !== wanted.rustc) return false
    return sidecar.binary === sha256(await readFile(path))
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || error instanceof SyntaxError) return false
    throw error
  }
}

/** Covers the crate's root, the modules it names, and the flags. */
async function sourceDigest({ root, flags, better }: Recipe): Promise<string> {
  const main = await readFile(source(root), 'utf8')
  const hash = createHash('sha256').update(JSON.stringify([flags, better, main]))
  for (const [, module] of main.matchAll(/^mod (\w+);$/gm))
    hash.update(await readFile(source(join(dirname(root), `${module}.rs`))))
  return hash.digest('hex')
}

const source = (file: string): string => join(import.meta.dirname, file)

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
