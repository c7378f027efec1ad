import { basename, join } from 'node:path'
import type { OutputKind } from './action.ts'
import { links, type Reason } from './classify.ts'
import { linkedOutputName, madeByCompiler } from './output-names.ts'
import { namedRemaps } from './own-remaps.ts'
import { calledRoots, nameRoots, type Root, rootToken } from './roots.ts'
import type { RustcArgs } from './rustc-args.ts'

/** Options that shape what a terminal shows and nothing else. */
const forTheTerminal = new Set(['diagnostic-width', 'color'])
/** Codegen options that say which linker runs and what else it is told: nothing in them changes what it is given. */
const forTheLinker = new Set(['linker', 'link-arg', 'link-args'])

/** Whether a codegen option, as it is written after `-C`, matters to a linker alone. */
export const isForTheLinker = (option: string): boolean => forTheLinker.has(option.replace(/=.*/s, ''))

export interface NormaliseContext {
  roots: readonly Root[]
  /** Names the processor of this machine; undefined when that cannot be told. */
  processor(): string | undefined
}

/**
 * rustc's arguments as they are on every machine: roots by name, externs and dependency directories under the root `deps`,
 * options for the terminal, the incremental directory and, where no linker runs, what is for a linker left out.
 * @returns the arguments, or the reason why they cannot be named
 */
export function normaliseArgs(args: RustcArgs, { roots, processor }: NormaliseContext): string[] | Reason {
  const argv: string[] = []
  const push = (name: string, value?: string): void => {
    argv.push(name.length === 1 ? `-${name}` : `--${name}`)
    if (value !== undefined) argv.push(value)
  }
  const deps = rootToken('deps')
  const keepsSearchPaths = bundlesOrLinks(args)
  const hasLinker = links(args)
  let dependencies = false
  for (const { name, value } of args.options) {
    if (forTheTerminal.has(name) || (name === 'C' && value?.startsWith('incremental='))) continue
    // cargo tells libraries of it too.
    if (!hasLinker && name === 'C' && isForTheLinker(value ?? '')) continue
    if (value === undefined) {
      push(name)
      continue
    }
    if (name === 'extern') {
      const equals = value.indexOf('=')
      push(name, equals < 0 ? value : `${value.slice(0, equals)}=${deps}/${basename(value.slice(equals + 1))}`)
      continue
    }
    if (name === 'out-dir') {
      // However it is written: cargo leaves the `..` of a relative target directory in.
      push(name, rootToken('out'))
      continue
    }
    if ((name === 'C' && value === 'target-cpu=native') || (name === 'Z' && value === 'tune-cpu=native')) {
      const cpu = processor()
      if (cpu === undefined) return 'native-cpu'
      push(name, `${value}:${cpu}`)
      continue
    }
    if (name === 'remap-path-prefix') {
      const named = namedRemaps(value, roots)
      if (named === undefined) return 'unusual-path'
      for (const remap of named) push(name, remap)
      continue
    }
    if (name !== 'L') {
      push(name, nameRoots(value, calledRoots(roots)))
      continue
    }
    const equals = value.indexOf('=')
    if (value.startsWith('dependency=')) {
      // One flag for all of them: in an action every dependency lies in one directory.
      if (!dependencies) push('L', `dependency=${deps}`)
      dependencies = true
      continue
    }
    const named = nameRoots(value.slice(equals + 1), calledRoots(roots))
    const kind = equals < 0 ? '' : value.slice(0, equals + 1)
    // Native libraries of other packages matter to whoever links, and to this unit only if it bundles one.
    if (keepsSearchPaths || kind !== 'native=' || named.startsWith(rootToken('build'))) push('L', `${kind}${named}`)
  }
  const [source] = args.sources
  argv.push(nameRoots(source ?? '', calledRoots(roots)))
  return argv
}

/** Whether the order in which libraries are searched for can matter to this unit. */
function bundlesOrLinks(args: RustcArgs): boolean {
  const bundles = args.options.some((option) => option.name === 'l' && /^static\b/.test(option.value ?? ''))
  return bundles || links(args) || args.crateTypes.includes('staticlib')
}

/** Directories with native libraries that the action does not name: what is found in one is not described by it. */
export function unnamedSearchPaths(args: RustcArgs, roots: readonly Root[]): string[] {
  if (bundlesOrLinks(args)) return []
  return args.options.flatMap(({ name, value }) => {
    if (name !== 'L' || !value?.startsWith('native=')) return []
    const path = value.slice('native='.length)
    return nameRoots(path, calledRoots(roots)).startsWith(rootToken('build')) ? [] : [path]
  })
}

/** The files that rustc will write, as names under the root `out`. */
export function declaredOutputs(args: RustcArgs): [string, OutputKind][] {
  const stem = outputStem(args)
  const outputs: [string, OutputKind][] = []
  if (args.emit.includes('dep-info')) outputs.push([`${stem}.d`, 'dep-info'])
  if (args.emit.includes('metadata')) outputs.push([`lib${stem}.rmeta`, 'metadata'])
  if (!args.emit.includes('link')) return outputs
  const names = new Set(typesMade(args).map((type) => linkedOutputName(type, stem, args.target ?? '')))
  return [...outputs, ...[...names].map((name): [string, OutputKind] => [name, 'link'])]
}

/** Crate types as rustc takes them: a test is a program whatever it is said to be. */
const typesMade = ({ test, crateTypes }: RustcArgs): readonly string[] =>
  test || crateTypes.length === 0 ? ['bin'] : crateTypes

const outputStem = (args: RustcArgs): string => `${args.crateName}${args.codegen.get('extra-filename') ?? ''}`

/** Those of the declared outputs that a linker makes. */
export function linkedOutputs(args: RustcArgs): ReadonlySet<string> {
  if (!args.emit.includes('link')) return new Set()
  const linked = typesMade(args).filter((type) => !madeByCompiler.has(type))
  return new Set(linked.map((type) => linkedOutputName(type, outputStem(args), args.target ?? '')))
}

/** Where the file lies that dependents are compiled against: metadata where there is some, else what they link. */
export function dependencyPath(outDir: string, args: RustcArgs): string | undefined {
  const outputs = declaredOutputs(args)
  const metadata = outputs.find(([, kind]) => kind === 'metadata')
  const library = outputs.find(([name, kind]) => kind === 'link' && /\.(rlib|so|dylib)$/.test(name))
  const name = (metadata ?? library)?.[0]
  return name === undefined ? undefined : join(outDir, name)
}
