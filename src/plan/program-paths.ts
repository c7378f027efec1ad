import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import { codeOf } from '../base/errors.ts'
import { type Action, encodeAction } from './action.ts'
import type { PlannedAction } from './plan.ts'
import { placeRoots } from './roots.ts'

/** How cargo tells a test where a program of its package lies. What they are for is to be put into the test, path and all. */
const prefix = 'CARGO_BIN_EXE_'
const maxSourceBytes = 4 << 20

const isPathHere = ([name, value]: Action['env'][number]): boolean => name.startsWith(prefix) && value.includes('\0')

/** Whether an action names paths of programs by their roots. */
export const hasProgramPaths = ({ action }: Pick<PlannedAction, 'action'>): boolean => action.env.some(isPathHere)

/**
 * The same action with the paths of programs as they are here: made by others, it has them in it as it would have here. So it is
 * of use in this place only, and whoever makes it learns where that is.
 */
export function withProgramPaths(planned: PlannedAction): PlannedAction {
  const env = planned.action.env.map((entry): Action['env'][number] =>
    isPathHere(entry) ? [entry[0], placeRoots(entry[1], planned.roots)] : entry,
  )
  const action: Action = { ...planned.action, env }
  const { cid, bytes } = encodeAction(action)
  return { ...planned, action, key: cid, actionBytes: bytes }
}

/** Whether the source that rustc is given spells the name of such a variable; one that cannot be read does not. */
export async function spellsProgramPaths({ args, action, roots }: PlannedAction): Promise<boolean> {
  const path = resolve(placeRoots(action.cwd, roots), args.sources[0] ?? '')
  try {
    // A pipe would keep its reader waiting.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const found = await file.stat()
    if (!found.isFile() || found.size > maxSourceBytes) return false
    return (await file.readFile('utf8')).includes(prefix)
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return false
  }
}
