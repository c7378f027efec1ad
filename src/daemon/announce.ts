import { rename, rm, writeFile } from 'node:fs/promises'

/**
 * The file beside the socket that tells a shim which path prefixes every compile hides, also when the daemon has been killed:
 * what was begun with these flags must go on with them. Removed by a clean stop.
 * @param remaps real directory → name in the outputs, such as a toolchain's own sources
 * @param launches whether the shim puts a launcher in the place of every build script
 */
export async function writeAnnouncement(
  file: string,
  remaps: readonly { from: string; to: string }[],
  launches: boolean,
): Promise<void> {
  const lines = remaps
    .filter(({ from, to }) => !/[\t\n]/.test(from + to))
    .map(({ from, to }) => `remap\t${from}\t${to}\n`)
  const fresh = `${file}.${process.pid}`
  await writeFile(fresh, `shoal 1\n${launches ? 'launch\n' : ''}${lines.join('')}`, { mode: 0o600 })
  await rename(fresh, file)
}

export async function removeAnnouncement(file: string): Promise<void> {
  await rm(file, { force: true })
}
