import type { Cause, Why } from './shapes.ts'

type Unit = Why['units'][number]
type Way = Unit['because'][number]

/** Why units were not recalled, as lines for a terminal: a block for each, in it the first cause first. */
export function whyLines({ session, over, units }: Why): string[] {
  const isRecalled = ({ outcome }: Unit): boolean => outcome.startsWith('recalled')
  const name = ({ crate, kind }: Unit): string => `${crate} (${kind})`
  const blocks = units
    .filter((unit) => !isRecalled(unit))
    .map((unit, _, all) => {
      const isAlone = all.filter((other) => name(other) === name(unit)).length === 1
      return unitLines(unit, isAlone || unit.source === undefined ? name(unit) : `${name(unit)} ${unit.source}`)
    })
  const recalled = units.filter(isRecalled)
  if (recalled.length > 0) blocks.push([recalledLine(recalled)])
  if (!over) blocks.push([`build ${session} still runs: there may be more to say`])
  return blocks.flatMap((block, at) => (at === 0 ? block : ['', ...block]))
}

/** Nothing to explain: the names are enough, once each. */
function recalledLine(units: readonly Unit[]): string {
  const counts = new Map<string, number>()
  for (const { crate, kind, outcome, where } of units) {
    const name = `${crate} (${kind})${outcome === 'recalled-mesh' ? ` from ${where}` : ''}`
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  const names = [...counts].map(([name, count]) => (count > 1 ? `${name} × ${count}` : name))
  return `recalled: ${names.join(', ')}`
}

/** @param name of the unit, unlike that of any other */
function unitLines(unit: Unit, name: string): string[] {
  const [first, ...others] = unit.because
  const reason = unit.meaning === undefined ? unit.reason : `${unit.meaning} (${unit.reason})`
  const title = `${name}: ${outcomeText(unit)}`
  const hint = hintOf(first?.[0]?.cause) ?? reasonHints[unit.reason]
  if (first === undefined) return [title, ...optional('because', reason), ...optional('hint', hint)]
  return [
    title,
    ...wayLines('because', first),
    ...others.flatMap((way) => wayLines('also', way)),
    ...optional('note', reason),
    ...optional('hint', hint),
  ]
}

const optional = (label: string, text = ''): string[] => (text === '' ? [] : entry(label, [text]))

function outcomeText({ outcome, where, kind }: Unit): string {
  if (kind === 'build-script-run') return 'it ran here'
  if (outcome === 'passed-through') return 'rustc simply ran here'
  return where === 'here' ? 'compiled here' : `compiled by ${where}`
}

/** From the root on, an entry for each unit that had to follow. The unit is named where it is not the one that was asked about. */
function wayLines(label: string, way: Way): string[] {
  return way.flatMap(({ crate, kind, cause }, at) => {
    const [subject, ...values] = causeText(cause)
    const place = way.length > 1 ? `in ${crate} (${kind}) ` : ''
    return entry(at === 0 ? label : 'so', [place + subject, ...values])
  })
}

const labelWidth = 9
const lineWidth = 110

/** One line when it fits, else the values below each other, where people can compare them. */
function entry(label: string, [subject = '', ...values]: readonly string[]): string[] {
  const start = `  ${label.padEnd(labelWidth)}`
  const whole = values.length === 0 ? start + subject : `${start}${subject}: ${values.join(', ')}`
  if (values.length === 0 || whole.length <= lineWidth) return [whole]
  return [start + subject, ...values.map((value) => `${' '.repeat(start.length + 2)}${value}`)]
}

/** What people call a kind of cause; `''` where the name says it all. */
const nouns: Readonly<Record<string, string>> = {
  mesh: '',
  toolchain: '',
  target: '',
  driver: '',
  profile: '',
  feature: 'feature',
  cfg: '--cfg',
  codegen: '-C',
  option: '',
  'out-dir': 'generated',
  cwd: '',
  remap: '',
  output: '',
  list: 'the entries of',
  absent: 'path',
  dir: 'directory',
  link: 'symbolic link',
  tree: 'directory',
  'path-bound': '',
  place: 'the place of the',
}

/** What differs, then both values. */
function causeText(cause: Cause): string[] {
  const { what, name, recorded, here } = cause
  if (what === 'first-time') return ['nothing like it was compiled here before']
  if (what === 'result') return ['the very same was compiled before, but its result was not kept']
  const isVariable = what === 'variable' || what === 'environment'
  const none = isVariable ? 'not set' : isSwitch(recorded, here) ? 'off' : 'absent'
  const value = what === 'environment' && name !== wholeEnvironment ? digestText : valueText
  return [subjectOf(cause), `was ${value(recorded, none)}`, `is ${value(here, none)}`]
}

/** Where it is not known in which variables it differs. */
const wholeEnvironment = 'the environment as a whole'

function subjectOf(cause: Cause): string {
  const { what, name } = cause
  if (what === 'version') return 'version'
  if (isMadeUp(cause)) return `cargo counts it as another package or build: -C ${name}`
  if (what === 'environment') return name === wholeEnvironment ? name : `variable ${name}`
  const noun = nouns[what] ?? what
  return noun === '' ? name : `${noun} ${name}`
}

/** What cargo puts together from everything that it knows about a unit. */
const isMadeUp = ({ what, name }: Cause): boolean =>
  what === 'codegen' && (name === 'metadata' || name === 'extra-filename')

/** What can be done about it, where something can. */
function hintOf(cause: Cause | undefined): string | undefined {
  if (cause === undefined) return undefined
  if (isMadeUp(cause)) {
    return 'where it comes from, its profile, RUSTFLAGS or something that it is built upon is another'
  }
  return hints[cause.what]
}

const hints: Readonly<Record<string, string>> = {
  'first-time': 'from now on it is kept: the same again will be recalled',
  toolchain: 'a rust-toolchain.toml gives everybody the same one',
  profile: 'what each profile makes is kept: the same again will be recalled',
  feature: 'cargo unites the features of what is built at once: build the same packages together',
  codegen: 'profiles, RUSTFLAGS and cargo configurations set it: the same again will be recalled',
  cfg: 'RUSTFLAGS and build scripts set it: the same again will be recalled',
  variable: 'the same value in every shell lets everybody recall it',
  environment: 'a macro or a program that it ran can see every variable: the same ones let everybody recall it',
  place: 'cargo tells packages outside of the workspace apart by where they lie',
  program: 'PATH leads to another one here',
}

const reasonHints: Readonly<Record<string, string>> = {
  incremental: 'it is being edited here: rustc with its own incremental directory is the fastest',
  'secret-in-environment': 'without the variable, or with cargo started without it, it can be kept',
  'new-place': 'when it has done the same in two places whose paths differ in length, it is recalled in others too',
  'path-bound': 'it knows where it lies, so it is recalled in its own directory only',
  'out-dir-in-use': 'what it leaves is kept when it begins with an empty directory, as after `cargo clean`',
  clock: 'what it makes of the time is new each time; tools that know SOURCE_DATE_EPOCH go by that if it is set',
  private: 'its manifest, its workspace or config.toml says so, or it is made from something of which one does',
}

/** Something that is given or not, without a value. */
const isSwitch = (recorded: string | null, here: string | null): boolean =>
  (recorded ?? 'on') === 'on' && (here ?? 'on') === 'on'

function valueText(value: string | null, none: string): string {
  if (value === null) return none
  return value === '' ? '""' : value
}

/** Values that may be anything are kept as digests. */
function digestText(digest: string | null, none: string): string {
  if (digest === null) return none
  return digest.startsWith('(') ? `set ${digest}` : `set (digest ${digest})`
}
