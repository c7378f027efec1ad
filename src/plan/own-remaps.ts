import { normalize } from 'node:path'
import { isWithin } from './read-set.ts'
import { calledRoots, nameRoots, type Root, rootToken } from './roots.ts'
import type { RustcArgs } from './rustc-args.ts'

const option = 'remap-path-prefix'

/** The two halves of the option's value: the first may have a `=` in it. */
function split(value: string): { from: string; to: string } | undefined {
  const equals = value.lastIndexOf('=')
  return equals < 0 ? undefined : { from: value.slice(0, equals), to: value.slice(equals + 1) }
}

/**
 * A `--remap-path-prefix` that cargo was told to give, as values of that option which say the same on every machine: what
 * becomes of each root below the prefix, because where it lies there may differ, then the prefix itself.
 * @returns undefined when it cannot be said: rustc goes by the text, and a root that is reached through links has two
 */
export function namedRemaps(value: string, roots: readonly Root[]): string[] | undefined {
  const remap = split(value)
  if (remap === undefined) return undefined
  const { from, to } = remap
  if (!from.startsWith('/')) return [value]
  const plain = normalize(from).replace(/\/$/, '')
  if (plain === '' || (from !== plain && from !== `${plain}/`)) return undefined
  const linked = roots.filter(({ name }) => roots.some((root) => root.alias && root.name === name))
  if (linked.some(({ path }) => isWithin(path, plain) || isWithin(plain, path))) return undefined
  const called = calledRoots(roots)
  const below = called.filter(({ path }) => path !== plain && isWithin(path, plain))
  const effects = below.map(({ name, path }) => `${rootToken(name)}=${to}${path.slice(plain.length)}`)
  return [...effects.sort(), `${nameRoots(plain, called)}=${to}`]
}

/** Whether cargo's own arguments remap a path, so that they and not Shoal say what it is called in the outputs. */
export function isRemapped(path: string, { options }: Pick<RustcArgs, 'options'>): boolean {
  return options.some(({ name, value }) => {
    const remap = name === option && value !== undefined ? split(value) : undefined
    return remap !== undefined && isWithin(path, remap.from.replace(/\/+$/, ''))
  })
}
