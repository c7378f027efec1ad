import { isAbsolute, normalize } from 'node:path/posix'
import { ShoalError } from '../base/errors.ts'
import { calledRoots, nameRoots, placeRoots, type Root } from './roots.ts'

/** What a `.d` file says: the files that were read, and the variables with their values (null: was not set). */
export interface DepInfo {
  files: string[]
  env: [string, string | null][]
}

/** cargo divides at any of these, and Shoal at spaces alone. */
const otherSpace = /[^\S ]|\u0085/
const variableMark = '# env-dep:'

/**
 * Reads rustc's dep-info. Its rules say the same of each output; of several that do not, cargo would go by the first.
 * @throws ShoalError ERR_DECODE when it has no rule, or rules that differ, or of which cargo would make something else
 */
export function parseDepInfo(text: string): DepInfo {
  const env = new Map<string, string | null>()
  let rule: string | undefined
  for (const line of text.split('\n')) {
    if (line.startsWith(variableMark)) {
      const [name, value] = readEnvDep(line.slice(variableMark.length))
      env.set(name, value)
      continue
    }
    // To cargo this is a rule whatever it begins with.
    const colon = line.indexOf(': ')
    if (colon < 0) continue
    const named = line.slice(colon + 2)
    if (otherSpace.test(named)) throw new ShoalError('ERR_DECODE', 'dep-info with paths that cargo would take apart')
    if (rule !== undefined && named !== rule) throw new ShoalError('ERR_DECODE', 'dep-info with rules that differ')
    rule = named
  }
  if (rule === undefined) throw new ShoalError('ERR_DECODE', 'dep-info without a rule')
  return { files: [...new Set(splitPaths(rule))], env: [...env].sort((a, b) => (a[0] < b[0] ? -1 : 1)) }
}

/**
 * Whether every source lies below a root.
 * @param text roots by name, as `nameDepInfo` returns it
 * @param cwd of the compile, beginning with the name of a root: relative paths begin there
 * @throws ShoalError ERR_DECODE when it has no rule
 */
export function hasSourcesWithin(text: string, cwd: string): boolean {
  return parseDepInfo(text).files.every((file) => {
    if (isAbsolute(file)) return false
    const [, below] = /^\0[^\0/]+\0((?:\/[^\0]*)?)$/.exec(file.startsWith('\0') ? file : `${cwd}/${file}`) ?? []
    return below !== undefined && !/^\.\.(\/|$)/.test(normalize(`.${below}`))
  })
}

/** Paths are separated by spaces; a space inside one is written `\ `. */
function splitPaths(rule: string): string[] {
  return rule
    .split(/(?<!\\) +/)
    .map((path) => path.replaceAll('\\ ', ' '))
    .filter((path) => path !== '')
}

function readEnvDep(text: string): [string, string | null] {
  const equals = text.indexOf('=')
  if (equals < 0) return [unescapeValue(text), null]
  return [unescapeValue(text.slice(0, equals)), unescapeValue(text.slice(equals + 1))]
}

function unescapeValue(text: string): string {
  return text.replace(/\\(.)/g, (_, character: string) =>
    character === 'n' ? '\n' : character === 'r' ? '\r' : character,
  )
}

const escaped = (path: string): string => path.replaceAll(' ', '\\ ')
/** rustc escapes the files that it read and not those that it makes. */
const withEscapedPaths = (roots: readonly Root[]): Root[] =>
  roots.map((root) => ({ ...root, path: root.name === 'out' ? root.path : escaped(root.path) }))

/** The text of a `.d` file with roots by name; make rules write a space in a path as `\ `. */
export function nameDepInfo(text: string, roots: readonly Root[]): string {
  const called = calledRoots(roots)
  const name = (line: string, some: readonly Root[]): string => nameRoots(nameRoots(line, withEscapedPaths(some)), some)
  return text
    .split('\n')
    .map((line) => name(line, line.startsWith(variableMark) ? called : roots))
    .join('\n')
}

/** The inverse of `nameDepInfo`. */
export function placeDepInfo(text: string, roots: readonly Root[]): string {
  return text
    .split('\n')
    .map((line) => placeRoots(line, line.startsWith(variableMark) ? roots : withEscapedPaths(roots)))
    .join('\n')
}
