import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import { codeOf } from '../base/errors.ts'
import { type Action, encodeAction, type ReadSet } from './action.ts'
import type { PlannedAction } from './plan.ts'
import { calledRoots, nameRoots, placeRoots } from './roots.ts'
import { scratchName } from './unit-roots.ts'

/** How cargo tells a test where a program of its package lies. What they are for is to be put into the test, path and all. */
const prefix = 'CARGO_BIN_EXE_'
const maxSourceBytes = 4 << 20

const isPathHere = ([name, value]: Action['env'][number]): boolean => name.startsWith(prefix) && value.includes('\0')

/** Whether an action names paths of programs by their roots. */
export const hasProgramPaths = ({ action }: Pick<PlannedAction, 'action'>): boolean => action.env.some(isPathHere)

/** Whether a unit can have paths of its place in it that cargo told it: of programs, or of its files. */
export const canHavePlacePaths = (planned: PlannedAction): boolean =>
  planned.scratch !== undefined || hasProgramPaths(planned)

/** Whether others were told those paths as they are here. */
export const tellsPlacePaths = (planned: PlannedAction, lent: PlannedAction): boolean => {
  const own = new Map(planned.action.env)
  return lent.action.env.some(
    ([name, value]) => (name.startsWith(prefix) || name === scratchName) && own.get(name) !== value,
  )
}

/**
 * The same action with the paths of its place as they are here: made by others, it has them in it as it would have here. So it is
 * of use in this place only, and whoever makes it learns where that is.
 */
export function withPlacePaths(planned: PlannedAction): PlannedAction {
  const { scratch } = planned
  const env = planned.action.env.map((entry): Action['env'][number] =>
    isPathHere(entry) ? [entry[0], placeRoots(entry[1], planned.roots)] : entry,
  )
  if (scratch !== undefined) env.push([scratchName, scratch])
  env.sort(([a], [b]) => (a < b ? -1 : 1))
  const action: Action = { ...planned.action, env }
  const { cid, bytes } = encodeAction(action)
  return { ...planned, action, key: cid, actionBytes: bytes }
}

/** What of a unit's variables its trace has to say that its action does not, where others were told it. */
export function toldBeside({ scratch, roots }: PlannedAction, lent: PlannedAction): ReadSet['env'] {
  const isTold = scratch !== undefined && lent.action.env.some(([name]) => name === scratchName)
  return isTold ? [[scratchName, nameRoots(scratch, calledRoots(roots))]] : []
}

/** Whether the source that rustc is given spells the name of such a variable; one that cannot be read does not. */
export async function spellsPlacePaths({ args, action, roots }: PlannedAction): Promise<boolean> {
  const path = resolve(placeRoots(action.cwd, roots), args.sources[0] ?? '')
  try {
    // A pipe would keep its reader waiting.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const found = await file.stat()
    if (!found.isFile() || found.size > maxSourceBytes) return false
    const text = await file.readFile('utf8')
    return text.includes(prefix) || text.includes(scratchName)
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return false
  }
}
