import type { CID } from 'multiformats/cid'
import { type Action, encodeAction } from './action.ts'
import type { Dependency } from './dependencies.ts'
import { isForTheLinker } from './normalise.ts'
import type { PlannedAction } from './plan.ts'

/** What the program is called that a lender's rustc takes for a linker, as `shim/record.rs` knows it. */
export const recorderName = 'shoal-linker'

/** Stands, in the arguments of a linker, where those of the builder's own user go. */
export const linkArgsPlace = '--shoal-link-args'

/** The file that a lender gives in place of a linked one: what a linker needs to make it. */
export const objectsName = (name: string): string => `${name}.objects`

/**
 * The part of a unit that others can do: everything up to the linker. An action of its own, the same for builders whose
 * linkers differ.
 * @param linked names of the outputs that a linker makes
 * @param thin of a library, what of it a compiler looks at; undefined where that cannot be told
 * @returns undefined when something that it needs cannot be lent
 */
export async function codegenOf(
  planned: PlannedAction,
  linked: ReadonlySet<string>,
  thin: (dependency: Dependency) => Promise<{ cid: CID; size: number; path: string } | undefined>,
): Promise<PlannedAction | undefined> {
  const dependencies: Dependency[] = []
  for (const dependency of planned.dependencies) {
    if (!dependency.name.endsWith('.rlib')) {
      dependencies.push(dependency)
      continue
    }
    const thinned = await thin(dependency)
    if (thinned === undefined) return undefined
    dependencies.push({ ...dependency, ...thinned })
  }
  const action: Action = {
    ...planned.action,
    argv: withoutLinker(planned.action.argv),
    deps: dependencies.map(({ name, cid }) => [name, cid]),
    outputs: planned.action.outputs.map(([name, kind]) =>
      kind === 'link' && linked.has(name) ? [objectsName(name), kind] : [name, kind],
    ),
  }
  const { cid, bytes } = encodeAction(action)
  return { ...planned, action, key: cid, actionBytes: bytes, dependencies }
}

function withoutLinker(argv: readonly string[]): string[] {
  const kept: string[] = []
  for (let at = 0; at < argv.length; at++) {
    const [argument = '', value = ''] = [argv[at], argv[at + 1]]
    if (argument === '-C' && isForTheLinker(value)) at++
    else kept.push(argument)
  }
  return kept
}
