import { ShoalError } from '../base/errors.ts'
import { nameRoots, placeRoots, type Root } from './roots.ts'

/** What a `.d` file says: the files that were read, and the variables with their values (null: was not set). */
export interface DepInfo {
  files: string[]
  env: [string, string | null][]
}

/**
 * Reads rustc's dep-info.
 * @throws ShoalError ERR_DECODE when it has no rule
 */
export function parseDepInfo(text: string): DepInfo {
  const files = new Set<string>()
  const env = new Map<string, string | null>()
  let rules = 0
  for (const line of text.split('\n')) {
    if (line.startsWith('# env-dep:')) {
      const [name, value] = readEnvDep(line.slice('# env-dep:'.length))
      env.set(name, value)
      continue
    }
    if (line === '' || line.startsWith('#')) continue
    const colon = line.indexOf(': ')
    if (colon < 0) continue
    rules++
    for (const file of splitPaths(line.slice(colon + 2))) files.add(file)
  }
  if (rules === 0) throw new ShoalError('ERR_DECODE', 'dep-info without a rule')
  return { files: [...files], env: [...env].sort((a, b) => (a[0] < b[0] ? -1 : 1)) }
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
  roots.map(({ name, path }) => ({ name, path: name === 'out' ? path : escaped(path) }))

/** The text of a `.d` file with roots by name; make rules write a space in a path as `\ `. */
export function nameDepInfo(text: string, roots: readonly Root[]): string {
  return nameRoots(nameRoots(text, withEscapedPaths(roots)), roots)
}

/** The inverse of `nameDepInfo`. */
export function placeDepInfo(text: string, roots: readonly Root[]): string {
  return text
    .split('\n')
    .map((line) => placeRoots(line, line.startsWith('# env-dep:') ? roots : withEscapedPaths(roots)))
    .join('\n')
}
