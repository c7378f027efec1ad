import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { codeOf, foreignText, ShoalError } from '../base/errors.ts'

const run = promisify(execFile)
const name = 'shoal-rustc'
const flags = ['--edition=2021', '-O', '-C', 'panic=abort', '-C', 'strip=symbols', '--crate-name=shoal_rustc']

export interface BuildShimOptions {
  /** The compiler to build with, a path or a name on PATH. */
  rustc: string
  /** Made if absent. The shim becomes `${outDir}/shoal-rustc`; beside it `shoal-rustc.json` says what it was made of. */
  outDir: string
  signal?: AbortSignal
}

export interface BuiltShim {
  path: string
  /** sha-256 of the shim's sources and flags, in hex: what the binary does. */
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
export async function buildShim({ rustc, outDir, signal }: BuildShimOptions): Promise<BuiltShim> {
  const options = signal === undefined ? {} : { signal }
  const path = join(outDir, name)
  const digest = await sourceDigest()
  const version = (await call(rustc, ['-vV'], options)).stdout
  const wanted = { digest, rustc: `${rustc}\n${version}` }
  if (await isCurrent(path, wanted)) return { path, digest, built: false }

  await mkdir(outDir, { recursive: true })
  const work = await mkdtemp(join(outDir, `.${name}-`))
  try {
    const binary = join(work, name)
    await call(rustc, [source('shim.rs'), ...flags, '-o', binary], options)
    const sidecar: Sidecar = { ...wanted, binary: sha256(await readFile(binary)) }
    await writeFile(join(work, 'sidecar'), JSON.stringify(sidecar))
    await rename(binary, path)
    await rename(join(work, 'sidecar'), `${path}.json`)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
  return { path, digest, built: true }
}

async function call(rustc: string, args: string[], options: { signal?: AbortSignal }): Promise<{ stdout: string }> {
  try {
    return await run(rustc, args, options)
  } catch (error) {
    options.signal?.throwIfAborted()
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

/** Covers `shim.rs`, the modules it names, and the flags. */
async function sourceDigest(): Promise<string> {
  const main = await readFile(source('shim.rs'), 'utf8')
  const hash = createHash('sha256').update(JSON.stringify([flags, main]))
  for (const [, module] of main.matchAll(/^mod (\w+);$/gm)) hash.update(await readFile(source(`${module}.rs`)))
  return hash.digest('hex')
}

const source = (file: string): string => join(import.meta.dirname, file)

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
