import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Name → bytes of all that the compiler and the linker made in `target/debug` of a workspace. */
export async function madeIn(dir: string): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>()
  for (const entry of await readdir(join(dir, 'target/debug'), { recursive: true, withFileTypes: true })) {
    const isOutput =
      entry.isFile() && /(^|\/)(deps|examples|build\/[^/]+)$/.test(entry.parentPath) && !/\.d$/.test(entry.name)
    const path = join(entry.parentPath, entry.name)
    if (isOutput && !/^(output|stderr|root-output|invoked\.timestamp)$/.test(entry.name))
      found.set(path.slice(dir.length), await readFile(path))
  }
  return found
}
