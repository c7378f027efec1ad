import { copyFile, mkdir, realpath, rename, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ShoalError } from '../base/errors.ts'
import { type LoadedLibrary, loadedLibraries } from '../plan/elf.ts'
import { exists } from '../plan/sysroot.ts'
import { librarySource, type Toolchain } from '../plan/toolchain.ts'
import { codegenBackends, compilerProgram, standardLibraryOf } from '../plan/toolchain-manifest.ts'
import { letRead } from './guest-users.ts'
import { removeTree } from './remove-tree.ts'
import type { Mount, SandboxSetup } from './sandbox.ts'

/** What one program needs from the host to start inside an empty root, as options of bubblewrap. */
export interface Runtime {
  /** Mounts of the loader and the libraries, and of the few files that take the place of `/proc`. */
  mounts: string[]
}

/** Without this file the compiler's allocator assumes that memory cannot be overcommitted, and is slower. */
const overcommit = 'sys/vm/overcommit_memory'

export interface RuntimeOptions {
  /** Libraries to mount from where they are instead of copying them. Default: none. */
  large?(library: LoadedLibrary): boolean
  /** See `loadedLibraries`. */
  within?: string
}

/**
 * Copies the loader and the libraries that starting `executable` takes into `dir`, made anew.
 * @throws ShoalError ERR_TOOLCHAIN when a library is not found
 */
export async function prepareRuntime(
  executable: string,
  dir: string,
  { large = () => false, within }: RuntimeOptions = {},
): Promise<Runtime> {
  const { interpreter, libraries } = await loadedLibraries(executable, within)
  const system = libraries.find((library) => /^libc\./.test(library.name))
  if (system === undefined) throw new ShoalError('ERR_TOOLCHAIN', `${executable} does not use the C library`)
  const libraryDir = dirname(system.path)
  const fresh = `${dir}.new`
  await removeTree(fresh)
  await mkdir(join(fresh, 'proc', dirname(overcommit)), { recursive: true })
  await mkdir(join(fresh, 'lib'))
  await writeFile(join(fresh, 'proc', overcommit), '0\n')
  for (const path of ['lib', 'proc', 'proc/sys', 'proc/sys/vm', join('proc', overcommit)]) letRead(join(fresh, path))
  const mounts = ['--ro-bind', join(dir, 'lib'), libraryDir, '--ro-bind', join(dir, 'proc'), '/proc']
  await copyReadable(interpreter, join(fresh, 'lib', basename(interpreter)))
  if (dirname(interpreter) !== libraryDir) {
    mounts.push('--symlink', join(libraryDir, basename(interpreter)), interpreter)
  }
  for (const library of libraries) {
    const copy = join(fresh, 'lib', library.name)
    if (!large(library)) {
      await copyReadable(library.path, copy)
      continue
    }
    await writeFile(copy, '')
    mounts.push('--ro-bind', await realpath(library.path), join(libraryDir, library.name))
  }
  await removeTree(dir)
  await rename(fresh, dir)
  return { mounts }
}

async function copyReadable(from: string, to: string): Promise<void> {
  await copyFile(await realpath(from), to)
  letRead(to)
}

/** A toolchain made ready for the sandbox. */
export interface MountedToolchain {
  /** Of the host's loader and libraries. */
  runtime: Runtime
  /** Absolute, links resolved. */
  sysroot: string
  /** What a guest may read of it where nothing can be mounted; empty where it can. */
  inPlace: readonly Mount[]
  /** Mounts that show the compiler and the standard library, and nothing else of the toolchain, under `at`. */
  mountsAt(at: string): string[]
  /** Hides where the standard library's sources lie, as every compile does; empty when they are not installed. */
  remapAt(at: string): string[]
}

const inPlace = (path: string): Mount => ({ from: path, to: path })

/**
 * Makes a toolchain of this machine ready to run in the sandbox.
 * @throws ShoalError ERR_TOOLCHAIN when a library of the host that it needs is not found
 */
export async function prepareToolchain(
  toolchain: Toolchain,
  dir: string,
  kind: SandboxSetup['kind'],
): Promise<MountedToolchain> {
  const { sysroot, host, target } = toolchain
  const own = new Set(toolchain.files.map((file) => basename(file.path)))
  const libraries = toolchain.files.map(({ path }) => path).filter((path) => dirname(path) === 'lib')
  const isMounted = kind === 'bubblewrap'
  const runtime = isMounted
    ? await prepareRuntime(join(sysroot, compilerProgram), dir, {
        large: (library) => own.has(library.name),
        ...(toolchain.isFetched && { within: sysroot }),
      })
    : { mounts: [] }
  const shown = [compilerProgram, ...[...new Set([host, target])].map(standardLibraryOf)]
  if (exists(join(sysroot, codegenBackends(host)))) shown.push(codegenBackends(host))
  const { hasSource, commitHash } = toolchain
  if (hasSource) shown.push(librarySource)
  return {
    runtime,
    sysroot,
    inPlace: isMounted ? [] : [...shown, ...libraries].map((path) => inPlace(join(sysroot, path))),
    remapAt: (at) =>
      hasSource && commitHash !== undefined
        ? ['--remap-path-prefix', `${at}/${librarySource}=/rustc/${commitHash}`]
        : [],
    mountsAt: (at) => shown.flatMap((path) => ['--ro-bind', join(sysroot, path), `${at}/${path}`]),
  }
}
