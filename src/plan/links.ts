import { readlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { codeOf } from '../base/errors.ts'

const maxLinks = 40

/**
 * The symbolic links that are followed on the way of paths, each once, by the paths that they have on the way.
 * @param paths absolute
 */
export function linksOnTheWay(paths: Iterable<string>): string[] {
  const texts = new Map<string, string | undefined>()
  const textAt = (path: string): string | undefined => {
    if (!texts.has(path)) texts.set(path, readText(path))
    return texts.get(path)
  }
  for (const path of paths) {
    let way: string | undefined = path
    for (let left = maxLinks; way !== undefined && left > 0; left--) way = followFirst(way, textAt)
  }
  return [...texts].flatMap(([path, text]) => (text === undefined ? [] : path))
}

/** The path with its first link replaced by what it says; undefined when there is none. */
function followFirst(path: string, textAt: (path: string) => string | undefined): string | undefined {
  for (let end = path.indexOf('/', 1); ; end = path.indexOf('/', end + 1)) {
    const [link, rest] = end < 0 ? [path, ''] : [path.slice(0, end), path.slice(end)]
    // Above what a link leads to is not where it lies.
    const text = link.endsWith('/..') || link.endsWith('/.') ? undefined : textAt(link)
    if (text !== undefined) return (text.startsWith('/') ? text : join(dirname(link), '/') + text) + rest
    if (end < 0) return undefined
  }
}

function readText(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}
