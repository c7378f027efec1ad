import type { RootName } from './action.ts'

/** A root and its real directory on this machine (or in a sandbox). Absolute, without a trailing slash. */
export interface Root {
  name: RootName
  path: string
  /** The way past symbolic links to a root that is called otherwise. A value that has it is not the same as one that has not. */
  alias?: true
}

/** How a root is written inside actions, results and traces. */
export const rootToken = (name: RootName): string => `\0${name}\0`

const tokenPattern = /\0([a-z]+)\0/g

/** Longest path first, so that a root inside another root wins over it. */
export function sortRoots(roots: readonly Root[]): Root[] {
  return roots.filter((root) => root.path.length > 1).sort((a, b) => b.path.length - a.path.length)
}

/** Each root as it is called: what the value of a variable or of an option can hold and still be the same everywhere. */
export const calledRoots = (roots: readonly Root[]): Root[] => roots.filter(({ alias }) => alias === undefined)

/**
 * Replaces every occurrence of a root's path by its name. A path counts only where it ends or goes on with a character
 * that cannot continue a file name, so that `/home/a/ws` is not found in `/home/a/ws-2`.
 * @param roots as `sortRoots` returns them
 */
export function nameRoots(text: string, roots: readonly Root[]): string {
  let named = text
  for (const root of roots) {
    if (!named.includes(root.path)) continue
    named = replaceWhole(named, root.path, rootToken(root.name))
  }
  return named
}

/**
 * The same, but a path counts only where it begins, too: with `/src` a root, `/usr/src` stays what it is. `-I/src` begins one.
 * @param roots as `sortRoots` returns them
 */
export function nameLoneRoots(text: string, roots: readonly Root[]): string {
  let named = text
  for (const root of roots) {
    if (!named.includes(root.path)) continue
    named = replaceWhole(named, root.path, rootToken(root.name), (before) => !glued.test(before))
  }
  return named
}

/** What ends like this goes on in the next character; an option of one letter does not. */
const glued = /(?<!(^|[^\w.+@~-])-[A-Za-z])(?<=[\w.+@~-]|\0[a-z]+\0)$/

/** An absolute path by the name of the root that it lies in. @param roots as `sortRoots` returns them */
export function nameRootOf(path: string, roots: readonly Root[]): string {
  const root = roots.find((each) => path === each.path || path.startsWith(`${each.path}/`))
  return root === undefined ? path : rootToken(root.name) + path.slice(root.path.length)
}

/** The inverse of `nameRoots`; a name that `roots` does not hold stays as it is. */
export function placeRoots(text: string, roots: readonly Root[]): string {
  if (!text.includes('\0')) return text
  const placed = (name: string): Root | undefined =>
    roots.find((root) => root.name === name && root.alias === undefined)
  return text.replace(tokenPattern, (token, name: string) => placed(name)?.path ?? token)
}

function replaceWhole(
  text: string,
  path: string,
  token: string,
  begins: (before: string) => boolean = () => true,
): string {
  let from = 0
  let result = ''
  for (;;) {
    const at = text.indexOf(path, from)
    if (at < 0) return result + text.slice(from)
    const next = text[at + path.length]
    const ends = next === undefined || !/[\w.+@~-]/.test(next)
    const whole = ends && begins(text.slice(Math.max(0, at - 16), at))
    result += text.slice(from, at) + (whole ? token : path)
    from = at + path.length
  }
}
