import { readFile } from 'node:fs/promises'
import { ShoalError } from '../base/errors.ts'

/** Options of rustc that take a value, as `--name value` or `--name=value`. */
const longWithValue = new Set(
  (
    'allow cap-lints cfg check-cfg codegen color crate-name crate-type deny diagnostic-width edition emit error-format ' +
    'explain extern forbid force-warn json out-dir print remap-path-prefix remap-path-scope sysroot target warn'
  ).split(' '),
)
const shortWithValue = new Set(['A', 'C', 'D', 'F', 'L', 'W', 'Z', 'l', 'o'])
const longFlags = new Set(['help', 'test', 'verbose', 'version'])
const shortFlags = new Set(['O', 'V', 'g', 'h', 'v'])

/** One option as rustc understands it: `--codegen` is `C`, and a flag has no value. */
export interface RustcOption {
  name: string
  value?: string
}

export interface Extern {
  /** What stands before `=`, with its modifiers such as `priv,noprelude:`. */
  name: string
  /** Absent for a crate of the sysroot, such as `--extern proc_macro`. */
  path?: string
}

/** rustc's arguments, understood. */
export interface RustcArgs {
  options: RustcOption[]
  sources: string[]
  crateName: string
  crateTypes: string[]
  emit: string[]
  outDir: string
  externs: Extern[]
  target?: string
  test: boolean
  /** Values of `-C`, last one wins; a key without value is ''. */
  codegen: Map<string, string>
}

/**
 * Replaces `@file` by the lines of the file, as rustc does: one argument a line, nothing trimmed, a blank line is an
 * empty argument.
 * @throws ShoalError ERR_UNSUPPORTED when such a file cannot be read as UTF-8
 */
export async function expandArgFiles(argv: readonly string[]): Promise<string[]> {
  if (!argv.some((argument) => argument.startsWith('@'))) return [...argv]
  const expanded: string[] = []
  for (const argument of argv) {
    if (!argument.startsWith('@')) {
      expanded.push(argument)
      continue
    }
    let text: string
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(await readFile(argument.slice(1)))
    } catch (error) {
      throw new ShoalError('ERR_UNSUPPORTED', 'argument file cannot be read', { cause: error })
    }
    const lines = text.split(/\r?\n/)
    if (lines.at(-1) === '') lines.pop()
    expanded.push(...lines)
  }
  return expanded
}

/**
 * Understands rustc's arguments (without the program, argument files expanded).
 * @throws ShoalError ERR_UNSUPPORTED for an option that is not known or that has no value
 */
export function parseRustcArgs(argv: readonly string[]): RustcArgs {
  const options: RustcOption[] = []
  const sources: string[] = []
  for (let at = 0; at < argv.length; at++) {
    const argument = argv[at] ?? ''
    if (argument === '-' || !argument.startsWith('-')) {
      sources.push(argument)
      continue
    }
    const option = readOption(argument)
    if (option.needsValue) {
      const value = argv[++at]
      if (value === undefined) throw new ShoalError('ERR_UNSUPPORTED', `option ${argument} without its value`)
      options.push({ name: option.name, value: spelled(option.name, value) })
    } else {
      const { name, value } = option
      options.push(value === undefined ? { name } : { name, value: spelled(name, value) })
    }
  }
  return summarise(options, sources)
}

/** rustc takes `-C target_cpu=…` for `-C target-cpu=…`, and so with all of `-C` and `-Z`. */
function spelled(name: string, value: string): string {
  return name === 'C' || name === 'Z' ? value.replace(/^[^=]*/, (key) => key.replaceAll('_', '-')) : value
}

function readOption(argument: string): { name: string; value?: string; needsValue: boolean } {
  if (argument.startsWith('--')) {
    const equals = argument.indexOf('=')
    const long = equals < 0 ? argument.slice(2) : argument.slice(2, equals)
    const name = long === 'codegen' ? 'C' : long
    if (longWithValue.has(long)) {
      return equals < 0 ? { name, needsValue: true } : { name, value: argument.slice(equals + 1), needsValue: false }
    }
    if (equals < 0 && longFlags.has(long)) return { name, needsValue: false }
    throw new ShoalError('ERR_UNSUPPORTED', `option --${long}`)
  }
  const name = argument[1] ?? ''
  if (shortWithValue.has(name)) {
    return argument.length === 2 ? { name, needsValue: true } : { name, value: argument.slice(2), needsValue: false }
  }
  if (argument.length === 2 && shortFlags.has(name)) return { name, needsValue: false }
  throw new ShoalError('ERR_UNSUPPORTED', `option ${argument}`)
}

function summarise(options: RustcOption[], sources: string[]): RustcArgs {
  const values = (name: string): string[] =>
    options.flatMap((option) => (option.name === name && option.value !== undefined ? [option.value] : []))
  const list = (name: string): string[] => values(name).flatMap((value) => value.split(','))
  const codegen = new Map<string, string>()
  for (const value of values('C')) {
    const equals = value.indexOf('=')
    if (equals < 0) codegen.set(value, '')
    else codegen.set(value.slice(0, equals), value.slice(equals + 1))
  }
  const target = values('target').at(-1)
  return {
    options,
    sources,
    crateName: values('crate-name').at(-1) ?? '',
    crateTypes: list('crate-type'),
    emit: list('emit'),
    outDir: values('out-dir').at(-1) ?? '',
    externs: values('extern').map(readExtern),
    ...(target === undefined ? {} : { target }),
    test: options.some((option) => option.name === 'test'),
    codegen,
  }
}

function readExtern(value: string): Extern {
  const equals = value.indexOf('=')
  return equals < 0 ? { name: value } : { name: value.slice(0, equals), path: value.slice(equals + 1) }
}
