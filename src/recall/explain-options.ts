import { parseRustcArgs, type RustcArgs, type RustcOption } from '../plan/rustc-args.ts'
import { type Cause, type CauseKind, cause } from './cause.ts'
import type { Sketch } from './sketch.ts'

export interface ExplainedOptions {
  /** What somebody changed: features first, then `--cfg`, `-C`, the rest. */
  causes: Cause[]
  /** What follows from changes elsewhere, such as the hash that cargo gives to a unit. */
  consequences: Cause[]
}

interface Setting {
  what: CauseKind
  name: string
  values: string[]
}

/** cargo makes these up from everything else that it knows about a unit. */
export const derivedOptions: ReadonlySet<string> = new Set(['metadata', 'extra-filename'])
/** Options of which each value stands for itself. */
const lists = new Set('A D F L W l allow check-cfg deny forbid force-warn warn'.split(' '))
const order: readonly CauseKind[] = ['feature', 'cfg', 'codegen', 'option']

/**
 * In which of rustc's options two actions differ, each by its name.
 * @throws ShoalError ERR_UNSUPPORTED for arguments that no action has
 */
export function explainOptions(older: Sketch, newer: Sketch): ExplainedOptions {
  if (older.argv.join('\n') === newer.argv.join('\n')) return { causes: [], consequences: [] }
  const before = settingsOf(parseRustcArgs(older.argv))
  const after = settingsOf(parseRustcArgs(newer.argv))
  const causes: Cause[] = []
  const consequences: Cause[] = []
  for (const key of new Set([...before.keys(), ...after.keys()])) {
    const [old, now] = [before.get(key), after.get(key)]
    const setting = now ?? old
    const [recorded, here] = [valuesOf(old), valuesOf(now)]
    if (setting === undefined || recorded === here) continue
    const follows = key.startsWith('extern ') || (setting.what === 'codegen' && derivedOptions.has(setting.name))
    ;(follows ? consequences : causes).push(cause(setting.what, setting.name, recorded, here))
  }
  if (causes.length + consequences.length === 0) {
    consequences.push(cause('option', 'order of the options', older.argv.join(' '), newer.argv.join(' ')))
  }
  causes.sort((a, b) => order.indexOf(a.what) - order.indexOf(b.what))
  // What cargo makes up says least of all.
  const isDerived = ({ what, name }: Cause): number => Number(what === 'codegen' && derivedOptions.has(name))
  consequences.sort((a, b) => isDerived(a) - isDerived(b))
  return { causes, consequences }
}

const valuesOf = (setting: Setting | undefined): string | null => setting?.values.join(', ') ?? null

function settingsOf(args: RustcArgs): Map<string, Setting> {
  const settings = new Map<string, Setting>()
  const add = (key: string, what: CauseKind, name: string, value: string): void => {
    const known = settings.get(key)
    if (known === undefined) settings.set(key, { what, name, values: [value] })
    else known.values.push(value)
  }
  for (const option of args.options) addOption(option, add)
  for (const source of args.sources) add('source', 'option', 'source file', source)
  return settings
}

function addOption(
  { name, value }: RustcOption,
  add: (key: string, what: CauseKind, name: string, value: string) => void,
): void {
  const dashed = name.length === 1 ? `-${name}` : `--${name}`
  if (value === undefined) {
    add(`flag ${name}`, 'option', dashed, 'on')
    return
  }
  const equals = value.indexOf('=')
  const [key, rest] = equals < 0 ? [value, 'on'] : [value.slice(0, equals), value.slice(equals + 1)]
  if (name === 'cfg') {
    const text = rest.replace(/^"(.*)"$/, '$1')
    if (key === 'feature') add(`feature ${text}`, 'feature', text, 'on')
    else add(`cfg ${key}`, 'cfg', key, rest)
  } else if (name === 'C') add(`codegen ${key}`, 'codegen', key, rest)
  else if (name === 'Z') add(`unstable ${key}`, 'option', `-Z ${key}`, rest)
  else if (name === 'extern') add(`extern ${key}`, 'option', `--extern ${key}`, withoutHash(rest))
  else if (lists.has(name)) add(`${name} ${value}`, 'option', `${dashed} ${value}`, 'on')
  else add(name, 'option', dashed, value)
}

const withoutHash = (path: string): string => path.replace(/-[0-9a-f]{8,}(?=\.\w+$)/, '')
