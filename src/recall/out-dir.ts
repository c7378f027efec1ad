import { readFile } from 'node:fs/promises'
import { posix } from 'node:path'
import { codeOf } from '../base/errors.ts'
import { parseDepInfo } from '../plan/dep-info.ts'
import { placeRoots } from '../plan/roots.ts'
import type { Place } from './evidence.ts'

const variable = 'OUT_DIR'
const spelled = /OUT_DIR"/g
/** Names a file to be taken in, and is gone with that. */
const including =
  /\binclude(?:_str|_bytes)?\s*!\s*[([{]\s*(?:(?:std|core)::)?concat\s*!\s*[([{]\s*(?:(?:std|core)::)?env\s*!\s*[([{]\s*"OUT_DIR"/g

/**
 * Whether a source spells `env!("OUT_DIR")` for something else than the name of a file that is included. What is computed from a
 * directory, such as its length, depends on where it lies and need not show in the outputs. A comment counts as a source, and a
 * macro of another crate as nothing.
 * @param depInfoText roots by name
 */
export async function computesWithOutDir(
  depInfoText: string,
  { action, roots }: Pick<Place, 'action' | 'roots'>,
): Promise<boolean> {
  const { files, env } = parseDepInfo(depInfoText)
  if (!env.some(([name]) => name === variable)) return false
  for (const file of files) {
    if (!file.endsWith('.rs')) continue
    const isAbsolute = file.startsWith('/') || file.startsWith('\0')
    const text = await textOf(placeRoots(isAbsolute ? file : posix.join(action.cwd, file), roots))
    if (text === undefined) return true
    if ((text.match(spelled)?.length ?? 0) > (text.match(including)?.length ?? 0)) return true
  }
  return false
}

/** Undefined when it is not there any more. */
async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}
