import { basename, join } from 'node:path'
import type { Reason } from './classify.ts'
import { nameRoots, type Root, rootToken } from './roots.ts'
import type { RustcArgs } from './rustc-args.ts'

/** Options that shape what a terminal shows and nothing else. */
const forTheTerminal = new Set(['diagnostic-width', 'color'])

/**
 * rustc's arguments as they are on every machine: roots by name, externs and dependency directories under the root `deps`,
 * options for the terminal left out.
 * @returns the arguments, or the reason why they cannot be named
 */
export function normaliseArgs(args: RustcArgs, roots: readonly Root[]): string[] | Reason {
  const argv: string[] = []
  const push = (name: string, value?: string): void => {
    argv.push(name.length === 1 ? `-${name}` : `--${name}`)
    if (value !== undefined) argv.push(value)
  }
  const deps = rootToken('deps')
  const bundles = args.options.some((option) => option.name === 'l' && /^static\b/.test(option.value ?? ''))
  let dependencies = false
  for (const { name, value } of args.options) {
    if (forTheTerminal.has(name)) continue
    if (value === undefined) {
      push(name)
      continue
    }
    if (name === 'extern') {
      const equals = value.indexOf('=')
      push(name, equals < 0 ? value : `${value.slice(0, equals)}=${deps}/${basename(value.slice(equals + 1))}`)
      continue
    }
    if (name !== 'L') {
      push(name, nameRoots(value, roots))
      continue
    }
    const equals = value.indexOf('=')
    const kind = equals < 0 ? '' : value.slice(0, equals)
    const path = value.slice(equals + 1)
    if (kind === 'dependency') {
      // One flag for all of them: in an action every dependency lies in one directory.
      if (!dependencies) push('L', `dependency=${deps}`)
      dependencies = true
      continue
    }
    if (kind !== 'native') return 'unsupported-option'
    const named = nameRoots(path, roots)
    if (named.startsWith(rootToken('build'))) push('L', `native=${named}`)
    // Native libraries of other packages matter to whoever links, and to this unit only if it bundles one.
    else if (bundles) return 'native-library'
  }
  const [source] = args.sources
  argv.push(nameRoots(source ?? '', roots))
  return argv
}

/** Whether native libraries outside the package could be found by this compile; its action does not say so. */
export function dropsNativeSearch(args: RustcArgs, roots: readonly Root[]): boolean {
  return args.options.some(
    ({ name, value }) =>
      name === 'L' &&
      value?.startsWith('native=') &&
      !nameRoots(value, roots).startsWith(`native=${rootToken('build')}`),
  )
}

/** The files that rustc will write, as names under the root `out`. */
export function declaredOutputs(args: RustcArgs): [string, 'dep-info' | 'metadata' | 'link'][] {
  const stem = `${args.crateName}${args.codegen.get('extra-filename') ?? ''}`
  const outputs: [string, 'dep-info' | 'metadata' | 'link'][] = []
  if (args.emit.includes('dep-info')) outputs.push([`${stem}.d`, 'dep-info'])
  if (args.emit.includes('metadata')) outputs.push([`lib${stem}.rmeta`, 'metadata'])
  if (args.emit.includes('link')) outputs.push([`lib${stem}.rlib`, 'link'])
  return outputs
}

/** Where rustc puts the metadata of a unit that emits some. */
export function metadataPath(outDir: string, args: RustcArgs): string {
  return join(outDir, `lib${args.crateName}${args.codegen.get('extra-filename') ?? ''}.rmeta`)
}
