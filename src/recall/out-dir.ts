import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { normalize, posix } from 'node:path'
import { codeOf } from '../base/errors.ts'
import { parseDepInfo } from '../plan/dep-info.ts'
import { placeRoots } from '../plan/roots.ts'
import type { Place } from './evidence.ts'

const variable = 'OUT_DIR'
const spelled = /OUT_DIR"/g
/** Names a file to be taken in, and is gone with that. */
const including =
  /\binclude(?:_str|_bytes)?\s*!\s*[([{]\s*(?:(?:std|core)::)?concat\s*!\s*[([{]\s*(?:(?:std|core)::)?env\s*!\s*[([{]\s*"OUT_DIR"/g
/** Whoever names more than that, or larger ones, gets no answer: a lender may name anything. */
const maxSources = 4096
const maxSourceBytes = 8 << 20
const maxBytes = 64 << 20

/**
 * Whether a source spells `env!("OUT_DIR")` for something else than the name of a file that is included. What is computed from a
 * directory, such as its length, depends on where it lies and need not show in the outputs. A comment counts as a source, and a
 * macro of another crate as nothing. What is no regular file in a root, or too much to be read, may spell it.
 * @param depInfoText roots by name
 */
export async function computesWithOutDir(
  depInfoText: string,
  { action, roots }: Pick<Place, 'action' | 'roots'>,
): Promise<boolean> {
  const { files, env } = parseDepInfo(depInfoText)
  if (!env.some(([name]) => name === variable)) return false
  const sources = files.filter((file) => file.endsWith('.rs'))
  if (sources.length > maxSources) return true
  let left = maxBytes
  for (const file of sources) {
    const isAbsolute = file.startsWith('/') || file.startsWith('\0')
    const path = normalize(placeRoots(isAbsolute ? file : posix.join(action.cwd, file), roots))
    if (!roots.some((root) => path.startsWith(`${root.path}/`))) return true
    const bytes = await bytesOf(path, Math.min(left, maxSourceBytes))
    if (bytes === undefined) return true
    left -= bytes.length
    const text = bytes.toString()
    if ((text.match(spelled)?.length ?? 0) > (text.match(including)?.length ?? 0)) return true
  }
  return false
}

/** Undefined when it is not there any more, no regular file, or larger. */
async function bytesOf(path: string, most: number): Promise<Buffer | undefined> {
  try {
    // A pipe would keep its reader waiting.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const found = await file.stat()
    if (!found.isFile() || found.size > most) return undefined
    const { buffer, bytesRead } = await file.read(Buffer.alloc(found.size + 1), 0, found.size + 1, 0)
    return bytesRead > found.size ? undefined : buffer.subarray(0, bytesRead)
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}
