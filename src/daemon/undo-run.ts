import { lstatSync, readdirSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { saidBeside } from '../plan/script-said.ts'
import { targetDirectory } from '../plan/target-dir.ts'

/**
 * Has cargo run a build script again: takes away what was put into its OUT_DIR, and what it said. Whatever lies there by now goes: it was made on
 * top of that, or is made again in a moment.
 * @returns the number of files in it
 */
export async function undoRun(outDir: string): Promise<number> {
  // Somebody else's directory by now, of which nothing is known.
  if (basename(outDir) !== 'out' || targetDirectory(outDir) === undefined) return 0
  if (!lstatSync(outDir, { throwIfNoEntry: false })?.isDirectory()) return 0
  // First, so that nobody takes an empty directory for what a script has left.
  for (const name of saidBeside) rmSync(join(dirname(outDir), name), { force: true })
  const files = readdirSync(outDir, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory())
  for (const name of readdirSync(outDir)) rmSync(join(outDir, name), { recursive: true, force: true })
  return files.length
}
