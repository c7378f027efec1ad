import { createHash } from 'node:crypto'
import { copyFile, cp, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { codeOf } from '../../src/base/errors.ts'
import { type BuiltShim, buildObserver, buildShim } from '../../src/shim/build.ts'

/**
 * What set-up compiles takes five seconds each time, so one test file leaves it to the next. Setting up decides by itself whether
 * what it finds is what it would make; how it makes it is tested elsewhere, from nothing.
 */
const cache = fileURLToPath(new URL('../../node_modules/.cache', import.meta.url))
const kept = join(cache, 'shoal-programs')
const keptToolchains = join(cache, 'shoal-toolchains.json')
const binOf = (home: string): string => join(home, 'state/bin')

/** Puts what an earlier test compiled where setting up looks for it. */
export async function keptPrograms(home: string): Promise<void> {
  await mkdir(join(home, 'state'), { recursive: true, mode: 0o700 })
  try {
    await cp(kept, binOf(home), { recursive: true })
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
}

/** Leaves what was compiled for later tests, unless it is there already. */
export async function keepPrograms(home: string): Promise<void> {
  if ((await namesOf(kept)) === (await namesOf(binOf(home)))) return
  await mkdir(cache, { recursive: true })
  const draft = await mkdtemp(`${kept}-`)
  await cp(binOf(home), draft, { recursive: true })
  await putInPlace(draft, kept)
}

async function putInPlace(draft: string, kept: string): Promise<void> {
  try {
    await rm(kept, { recursive: true, force: true })
    await rename(draft, kept)
  } catch (error) {
    // Another test has just done the same.
    if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error
    await rm(draft, { recursive: true, force: true })
  }
}

/** `buildShim`, which finds what an earlier test compiled with this rustc. */
export async function keptShim(rustc: string, outDir: string): Promise<BuiltShim> {
  return await withKept(['shoal-rustc', 'shoal-rustc.json'], rustc, outDir, () => buildShim({ rustc, outDir }))
}

/** `buildObserver`, likewise. */
export async function keptObserver(rustc: string, outDir: string): Promise<BuiltShim | undefined> {
  const files = ['libshoal-observer.so', 'libshoal-observer.so.json']
  return await withKept(files, rustc, outDir, () => buildObserver({ rustc, outDir }))
}

/** Lets `build` find these files as they were kept, and keeps what it made anew. */
async function withKept<T extends BuiltShim | undefined>(
  files: readonly string[],
  rustc: string,
  outDir: string,
  build: () => Promise<T>,
): Promise<T> {
  const kept = join(cache, `shoal-${files[0]}-${createHash('sha256').update(rustc).digest('hex').slice(0, 16)}`)
  await mkdir(outDir, { recursive: true })
  for (const name of files) await copyIfThere(join(kept, name), join(outDir, name))
  const built = await build()
  if (!built?.built) return built
  await mkdir(cache, { recursive: true })
  const draft = await mkdtemp(`${kept}-`)
  for (const name of files) await copyFile(join(outDir, name), join(draft, name))
  await putInPlace(draft, kept)
  return built
}

/** What an earlier node knew of the installed toolchains: it holds for files that are as they were. */
export async function knownToolchains(home: string): Promise<void> {
  await mkdir(join(home, 'cache'), { recursive: true, mode: 0o700 })
  await copyIfThere(keptToolchains, join(home, 'cache/toolchains.json'))
}

export async function keepToolchains(home: string): Promise<void> {
  await mkdir(cache, { recursive: true })
  const draft = `${keptToolchains}-${process.pid}`
  if (await copyIfThere(join(home, 'cache/toolchains.json'), draft)) await rename(draft, keptToolchains)
}

async function copyIfThere(from: string, to: string): Promise<boolean> {
  try {
    await copyFile(from, to)
    return true
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    return false
  }
}

/** What the programs were made of. */
async function namesOf(dir: string): Promise<string> {
  const sidecars = ['shoal-rustc.json', 'libshoal-observer.so.json'].map((name) => join(dir, name))
  const texts = await Promise.all(
    sidecars.map((file) => readFile(file, 'utf8').catch((error: unknown) => `${file}: ${codeOf(error)}`)),
  )
  return texts.join('\n')
}
