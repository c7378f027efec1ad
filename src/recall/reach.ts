import { realpathSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, isAbsolute, normalize } from 'node:path'
import { codeOf } from '../base/errors.ts'
import type { Read, ReadSet } from '../plan/action.ts'
import { holdsPassword, looksSecret } from '../plan/environment.ts'
import { isWithin } from '../plan/read-set.ts'
import { type Ground, pathsOf } from './evidence.ts'

/** Of files that no root holds, together: so much is read because somebody else names them. */
const mostBytes = 2 ** 30

/** Nothing in it leads out of the root again. */
const inRoot = /^\0[a-z]+\0(?:$|\/(?!.*\.\.))/s
/** These name no path. */
const pathless: ReadonlySet<Read[0]> = new Set(['program', 'environ', 'bound', 'sorts', 'place'])

/**
 * Whether this machine looks at all that somebody else's trace names. Not into its user's home, but for what the roots hold: whether the
 * result is used would tell whoever gave it what lies there. Nor at a variable that is a secret, nor at more than is read in a moment.
 * @param known names of what this node was led to by what it keeps of the same action: of that a peer learns nothing new
 */
export function isWithinReach({ reads, env }: ReadSet, place: Ground, known: ReadonlySet<string>): boolean {
  // No trace that is told to others has such a value in it: it could only be guessed at.
  if (env.some(([name, value]) => value !== null && (looksSecret(name) || holdsPassword(value)))) return false
  const isOpen = opening(place)
  let bytes = 0
  for (const [kind, name] of reads) {
    if (pathless.has(kind) || inRoot.test(name) || known.has(name)) continue
    for (const path of pathsOf(name, place)) {
      if (!isAbsolute(path)) return false
      const isHeld = isHeldBy(place, normalize(path))
      if (!isHeld && !isOpen(path)) return false
      if (!isHeld && kind === 'file') bytes += sizeAt(path)
    }
  }
  return bytes <= mostBytes
}

function isHeldBy({ roots, dependencyDirs }: Ground, path: string): boolean {
  return roots.some((root) => isWithin(path, root.path)) || dependencyDirs.some((dir) => isWithin(path, dir))
}

/** Tells which paths lie outside of homes, whatever links lead there. Which programs there are is no secret. */
function opening({ env }: Ground): (path: string) => boolean {
  const given = [env.get('HOME') ?? '', homedir()].filter((home) => home.length > 1 && isAbsolute(home))
  const homes = [...new Set(given.flatMap((home) => [normalize(home).replace(/\/$/, ''), realDirectory(home)]))]
  const programs = new Set((env.get('PATH') ?? '').split(':'))
  const known = new Map<string, boolean>()
  const isOutside = (path: string): boolean => !homes.some((home) => isWithin(path, home))
  return (path) => {
    const dir = dirname(path)
    if (programs.has(dir)) return true
    if (!isOutside(normalize(path))) return false
    const isOpen = known.get(dir) ?? isOutside(realDirectory(dir))
    known.set(dir, isOpen)
    return isOpen
  }
}

/** Where a directory really lies; of one that is not there, the nearest that is. */
function realDirectory(dir: string): string {
  for (let at = dir; ; at = dirname(at)) {
    try {
      return realpathSync.native(at)
    } catch (error) {
      if (codeOf(error) === undefined) throw error
      if (at === dirname(at)) return at
    }
  }
}

function sizeAt(path: string): number {
  try {
    return statSync(path, { throwIfNoEntry: false })?.size ?? 0
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return 0
  }
}
