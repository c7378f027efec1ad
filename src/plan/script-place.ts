import { posix } from 'node:path'
import type { RootName } from './action.ts'
import { isWithin } from './read-set.ts'
import type { Root } from './roots.ts'

/**
 * What a package of people's own may make something of: of the name of a directory, of how long a path is, of what lies above. The
 * packages of a registry or of a git checkout are called the same everywhere, and nobody but cargo puts anything around them.
 */
const ownRoots: ReadonlySet<RootName> = new Set<RootName>(['build', 'package', 'target', 'workspace'])

/** Roots to which a run is bound whatever it looked at: all that people name and move themselves; none for a package of a registry or of git. */
export function ownPlace(roots: readonly Root[]): RootName[] {
  const path = (name: RootName): string | undefined => roots.find((root) => root.name === name)?.path
  const dir = path('package')
  const isFetched = (['registry', 'git'] as const).some((name) => {
    const around = path(name)
    return dir !== undefined && around !== undefined && isWithin(dir, around)
  })
  return isFetched ? [] : roots.map(({ name }) => name).filter((name) => ownRoots.has(name))
}

/** Directories in which everything lies, so that two things in one have nothing to do with each other. */
const shared =
  /^\/(usr(\/local)?|home|Users|opt|var(\/(tmp|lib|cache))?|tmp|private(\/(tmp|var))?|mnt|media|srv|etc|nix(\/store)?)?$/

/** The directory nearest to the root of the file system that holds a path and no other things: `/work`, and of a home what is in it. */
function groundOf(path: string, home: string): string {
  const parts = path.split('/')
  for (let count = 2; count < parts.length; count++) {
    const dir = parts.slice(0, count).join('/')
    if (!shared.test(dir) && !isWithin(home, dir)) return dir
  }
  return path
}

/**
 * Roots to which a look binds a run: those in whose neighbourhood it was, outside of every root. Where these lie elsewhere, so does what
 * was looked at: `../proto` above a package, a `VERSION` some directories up.
 * @param path absolute, as it was asked for
 * @param home of whoever builds: what lies in it, and in none of the directories around the roots, is found by its name
 */
export function boundByLook(path: string, roots: readonly Root[], home: string): RootName[] {
  const plain = posix.normalize(path).replace(/(?<=.)\/$/, '')
  if (roots.some((root) => isWithin(plain, root.path))) return []
  return roots.filter((root) => isWithin(plain, groundOf(root.path, home))).map(({ name }) => name)
}

const ofName = /[\w.+@~-]/

/**
 * Roots to which it binds a run that these bytes name a directory above a root, or something there that lies in no root.
 * @param bytes where roots have their paths, or their names
 */
export function boundByWords(bytes: Buffer, roots: readonly Root[]): Set<RootName> {
  const bound = new Set<RootName>()
  const grounds = new Set(roots.map(({ path }) => groundOf(path, '')))
  for (const ground of grounds) {
    const around = roots.filter(({ path }) => isWithin(path, ground))
    const needle = Buffer.from(ground)
    for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + needle.length)) {
      if (around.every(({ name }) => bound.has(name))) break
      if (!isWholeAt(bytes, at, ground) || isGlued(bytes, at)) continue
      // Of the path of a root itself others take care.
      if (roots.some(({ path }) => startsWith(bytes, at, path) && isWholeAt(bytes, at, path))) continue
      for (const { name } of around) bound.add(name)
    }
  }
  return bound
}

const startsWith = (bytes: Buffer, at: number, path: string): boolean =>
  bytes.subarray(at, at + Buffer.byteLength(path)).equals(Buffer.from(path))

function isWholeAt(bytes: Buffer, at: number, path: string): boolean {
  const next = bytes[at + Buffer.byteLength(path)]
  return next === undefined || !ofName.test(String.fromCharCode(next))
}

/** `x/src` holds no `/src`, but `-I/src` does. */
function isGlued(bytes: Buffer, at: number): boolean {
  const before = bytes.subarray(Math.max(0, at - 3), at).toString('latin1')
  return ofName.test(before.at(-1) ?? '') && !/(^|[^\w.+@~-])-[A-Za-z]$/.test(before)
}
