import { join } from 'node:path'
import { codeOf } from '../base/errors.ts'
import { observationFile, readObservations } from '../plan/observation.ts'
import { isWithin, type ReadScope } from '../plan/read-set.ts'
import type { PlannedScript } from '../plan/script-plan.ts'
import { temporaryDirs, withReal } from './observed.ts'

/** What the observer wrote in a directory. @throws the file system's error */
export function readNotes(dir: string): ReturnType<typeof readObservations> {
  try {
    return readObservations(join(dir, observationFile))
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    return { attached: false, complete: false, events: [] }
  }
}

/** What of all that a script looks at is its own. @param notes the directory with those of the observer */
export function scopeOf({ call, toolchain, roots }: PlannedScript, notes: string): ReadScope {
  const { sysroot, covered } = toolchain
  return {
    products: [...withReal(call.outDir), notes],
    temporary: temporaryDirs(call.env),
    owned: roots.filter(({ name }) => name !== 'build').map(({ path }) => path),
    dependencyDirs: [],
    dependencies: new Set(),
    complete: true,
    covered: (path) => {
      if (path === call.program) return true
      const inside = isWithin(path, sysroot) ? path.slice(sysroot.length + 1) : undefined
      return inside !== undefined && (inside === '' || covered.has(inside))
    },
    unnamedDirs: [],
    programDirs: new Set((call.env.get('PATH') ?? '').split(':').filter((each) => each.startsWith('/'))),
  }
}
