import { calledRoots, nameRoots, type Root } from './roots.ts'

export interface NamedDiagnostics {
  /** With roots by name. */
  text: string
  /**
   * A root's path is in it where rustc did not write the name of a source file. Elsewhere other words may stand there, or
   * the very same: whoever quotes a source line does not know what the path in it means.
   */
  bound: boolean
}

/**
 * Names the roots in what rustc wrote to standard error: in the file names of its JSON diagnostics and in the lines of
 * their rendered text that begin an excerpt.
 * @param roots as `sortRoots` returns them
 * @returns undefined when it holds a NUL, with which roots are named
 */
export function nameDiagnostics(text: string, roots: readonly Root[]): NamedDiagnostics | undefined {
  if (text.includes('\0')) return undefined
  if (nameRoots(text, roots) === text) return { text, bound: false }
  const called = calledRoots(roots)
  let bound = false
  const lines = text.split('\n').map((line) => {
    const everywhere = nameRoots(line, called)
    if (everywhere !== line && nameFiles(line, called) !== everywhere) bound = true
    // Another way to a root stays as it is: whoever names it is not told what it is called.
    if (nameRoots(everywhere, roots) !== everywhere) bound = true
    return everywhere
  })
  return { text: lines.join('\n'), bound }
}

/** Of a line that somebody made for it, a parser makes fifty times as much memory. */
const maxLine = 1 << 20

/** The line with roots named in the names of files, and there only; as it is when it is no JSON, or not rustc's. */
function nameFiles(line: string, roots: readonly Root[]): string {
  if (!line.startsWith('{') || line.length > maxLine) return line
  try {
    const diagnostic: unknown = JSON.parse(line)
    const names = new Map([...fileNames(diagnostic)].map((path) => [path, namePath(path, roots)]))
    const named = JSON.stringify(diagnostic, (key, value: unknown) => {
      if (typeof value !== 'string') return value
      if (key === 'file_name') return names.get(value) ?? value
      return key === 'rendered' ? withNamedHeaders(value, names) : value
    })
    return named.replace(/\\u0000([a-z]+)\\u0000/g, '\0$1\0')
  } catch (error) {
    // The latter: nested without end.
    if (error instanceof SyntaxError || error instanceof RangeError) return line
    throw error
  }
}

/** As it is unless the path is below a root, and one only. */
function namePath(path: string, roots: readonly Root[]): string {
  const named = nameRoots(path, roots)
  return /^\0[a-z]+\0[^\0]*$/.test(named) ? named : path
}

/** ` --> src/lib.rs:1:8`, in colours or without. Lines of an excerpt begin with a number or with `|`. */
const header =
  /^((?:\u001b\[[\d;]*m| )*(?:-->|:::|╭▸|⸬)(?:\u001b\[[\d;]*m| )*)(.+?)((?::\d+){1,2}(?:\u001b\[[\d;]*m)*)$/u

/** @param names of the files that the diagnostic speaks of; what merely looks like a header of another one is text. */
function withNamedHeaders(rendered: string, names: ReadonlyMap<string, string>): string {
  const lines = rendered.split('\n').map((line) => {
    const [, mark = '', path = '', position = ''] = header.exec(line) ?? []
    const named = names.get(path)
    return named === undefined ? line : mark + named + position
  })
  return lines.join('\n')
}

/** The key of a notification, as it is or with a letter of it escaped. */
const mayNotify = /artifact|\\u00[67]/i

/**
 * Leaves out the lines that cargo would take for rustc's word that an output is there. It goes by the key `artifact` alone, and ends
 * in a panic when it is told of metadata twice, or of some that it does not wait for.
 */
export function withoutNotifications(text: string): string {
  if (!mayNotify.test(text)) return text
  return text
    .split('\n')
    .filter((line) => !isNotification(line))
    .join('\n')
}

function isNotification(line: string): boolean {
  if (!line.startsWith('{') || !mayNotify.test(line)) return false
  if (line.length > maxLine) return true
  try {
    const told: unknown = JSON.parse(line)
    return typeof told === 'object' && told !== null && 'artifact' in told && typeof told.artifact === 'string'
  } catch (error) {
    // cargo understands it no better.
    if (error instanceof SyntaxError || error instanceof RangeError) return false
    throw error
  }
}

function fileNames(value: unknown, found = new Set<string>()): Set<string> {
  if (typeof value !== 'object' || value === null) return found
  for (const [key, item] of Object.entries(value)) {
    if (key === 'file_name' && typeof item === 'string') found.add(item)
    else fileNames(item, found)
  }
  return found
}
