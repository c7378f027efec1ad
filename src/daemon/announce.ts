import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { librarySource, type Toolchain } from '../plan/toolchain.ts'

/**
 * The file beside the socket that tells a shim which path prefixes every compile hides, also when the daemon has been killed:
 * what was begun with these flags must go on with them. Removed by a clean stop.
 * @param installed toolchains whose sources are called in outputs what they are called everywhere
 * @param launches whether the shim puts a launcher in the place of every build script
 */
export async function writeAnnouncement(
  file: string,
  installed: readonly Toolchain[],
  launches: boolean,
): Promise<void> {
  const lines = sourceRemaps(installed)
    .filter(({ from, to }) => !/[\t\n]/.test(from + to))
    .map(({ from, to }) => `remap\t${from}\t${to}\n`)
  const fresh = `${file}.${process.pid}`
  await writeFile(fresh, `shoal 1\n${launches ? 'launch\n' : ''}${lines.join('')}`, { mode: 0o600 })
  await rename(fresh, file)
}

/** A toolchain's own sources have one name everywhere, whether they are installed or not. */
function sourceRemaps(toolchains: readonly Toolchain[]): { from: string; to: string }[] {
  return toolchains.flatMap(({ hasSource, sysroot, commitHash }) =>
    hasSource && commitHash !== undefined ? [{ from: join(sysroot, librarySource), to: `/rustc/${commitHash}` }] : [],
  )
}

export async function removeAnnouncement(file: string): Promise<void> {
  await rm(file, { force: true })
}
