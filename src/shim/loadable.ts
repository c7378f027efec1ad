import { existsSync } from 'node:fs'
import { chmod, copyFile, mkdtemp, realpath, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { codeOf } from '../base/errors.ts'
import type { Environment } from '../base/paths.ts'

/** A library under a path that `LD_PRELOAD` can say. */
export interface Loadable {
  path: string
  /** Removes what was made for it. */
  close(): Promise<void>
}

/** The loader splits the variable at these and expands `$`, and there is no way to quote them. */
export const isLoadable = (path: string): boolean => !/[\s:;$]/.test(path)

/**
 * Finds a way to load a library that may lie anywhere: where it is or, if its path cannot be said, as a copy in a directory that
 * only this user can change.
 * @param works tells whether it can be loaded from there; a file system may forbid that
 * @returns undefined when there is nothing to copy, or no such place
 */
export async function makeLoadable(
  library: string,
  env: Environment,
  works: (path: string) => Promise<boolean>,
): Promise<Loadable | undefined> {
  if (isLoadable(library)) return { path: library, close: async () => {} }
  if (!existsSync(library)) return undefined
  for (const place of [env.XDG_RUNTIME_DIR, tmpdir(), '/tmp', '/var/tmp']) {
    if (!place || !isAbsolute(place) || !isLoadable(place) || !(await isSafe(place))) continue
    // Made by nobody else, with a name that nobody knows before, for this user only.
    const dir = await mkdtemp(join(place, 'shoal-observer-')).catch(noDirectory)
    if (dir === undefined) continue
    const close = (): Promise<void> => rm(dir, { recursive: true, force: true })
    const path = join(dir, basename(library))
    try {
      await copyFile(library, path)
      await chmod(path, 0o500)
      if (await works(path)) return { path, close }
    } catch (error) {
      await close()
      throw error
    }
    await close()
  }
  return undefined
}

/** Whether nobody but this user and root can put another directory in the place of one that is made there. */
async function isSafe(place: string): Promise<boolean> {
  try {
    for (let at = await realpath(place); ; at = dirname(at)) {
      const { uid, mode } = await stat(at)
      const sticky = (mode & 0o1000) !== 0
      if (uid !== 0 && uid !== process.getuid?.()) return false
      if ((mode & 0o022) !== 0 && !sticky) return false
      if (at === dirname(at)) return true
    }
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return false
  }
}

function noDirectory(error: unknown): undefined {
  if (codeOf(error) === undefined) throw error
}
