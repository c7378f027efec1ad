import { codeOf } from '../base/errors.ts'
import { decodeScriptAction, type ScriptAction } from '../plan/script-action.ts'
import type { PlannedScript } from '../plan/script-plan.ts'
import { type Cause, cause, shortDigest, shownDigits } from './cause.ts'
import type { Difference } from './evidence.ts'
import { explainDifference, firstTime, maxCauses, nearest, notKept } from './explain.ts'

/** As the script itself is called among the causes of a run. */
const scriptName = 'build script'

/**
 * Why a run of a build script was not recalled.
 * @param difference how what is kept of the very same run differs
 * @param seen runs of the same package's script before, newest first
 */
export function explainScript(
  { action, actionBytes, call }: PlannedScript,
  difference: Difference | undefined,
  seen: readonly { action: Uint8Array }[],
): Cause[] {
  if (difference !== undefined) return explainDifference(difference)
  const name = call.env.get('CARGO_PKG_NAME') ?? ''
  if (seen.some((other) => Buffer.compare(other.action, actionBytes) === 0)) return [notKept(name)]
  const causes = nearest(seen.flatMap(readAction), (before) => explain(before, action))
  return causes === undefined ? [firstTime(name)] : causes.slice(0, maxCauses)
}

function explain(before: ScriptAction, now: ScriptAction): Cause[] {
  const causes: Cause[] = []
  if (before.salt !== now.salt) causes.push(cause('mesh', 'mesh', before.salt, now.salt))
  if (before.toolchain !== now.toolchain) {
    const [older, newer] = [before, now].map(({ toolchain }) => toolchain.slice(0, shownDigits))
    causes.push(cause('toolchain', 'toolchain', older ?? null, newer ?? null))
  }
  if (!before.script.equals(now.script))
    causes.push(cause('program', scriptName, shortDigest(before.script), shortDigest(now.script)))
  const [older, newer] = [new Map(before.env), new Map(now.env)]
  for (const name of new Set([...older.keys(), ...newer.keys()])) {
    const [recorded, here] = [older.get(name) ?? null, newer.get(name) ?? null]
    if (recorded !== here) causes.push(cause('variable', name, recorded, here))
  }
  if (before.cwd !== now.cwd) causes.push(cause('cwd', 'working directory', before.cwd, now.cwd))
  if (before.processor !== now.processor) causes.push(cause('variable', 'processor', before.processor, now.processor))
  const [nested, nests] = [before, now].map(({ nesting }) => nesting.map((pair) => pair.join(' ')).join(', '))
  if (nested !== nests) causes.push(cause('place', 'target directory', nested ?? null, nests ?? null))
  if (before.umask !== now.umask)
    causes.push(cause('variable', 'umask', before.umask.toString(8), now.umask.toString(8)))
  return causes
}

/** What is kept for comparing may be of an older version, or damaged. */
function readAction({ action }: { action: Uint8Array }): ScriptAction[] {
  try {
    return [decodeScriptAction(action)]
  } catch (error) {
    if (codeOf(error) === 'ERR_DECODE') return []
    throw error
  }
}
