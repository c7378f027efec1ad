import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Locks that cargo keeps in the directory of each profile. */
const locks = ['.cargo-lock', '.cargo-build-lock']
const maxLevels = 8

/** Whether a directory is one of a profile, such as `target/debug`. */
export const isProfile = (dir: string): boolean => locks.some((lock) => existsSync(join(dir, lock)))

/**
 * The directory that holds the directories of the profiles, found from a unit's out-dir under both of cargo's layouts:
 * what it is called and whether it lies in the workspace is the user's choice. Undefined when it cannot be told.
 */
export function targetDirectory(outDir: string): string | undefined {
  let dir = outDir
  for (let level = 0; level < maxLevels && dir !== dirname(dir); level++) {
    if (isProfile(dir)) return dirname(dir)
    dir = dirname(dir)
  }
  return undefined
}
