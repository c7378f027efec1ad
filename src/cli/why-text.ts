import type { Cause, Why } from './shapes.ts'

type Unit = Why['units'][number]
type Way = Unit['because'][number]

/** Why units were not recalled, as lines for a terminal: of each unit the first cause first. */
export function whyLines({ session, over, units }: Why): string[] {
  const running = over ? [] : [`build ${session} still runs: there may be more to say`]
  return [...units.flatMap(unitLines), ...running]
}

function unitLines(unit: Unit): string[] {
  const title = `${unit.crate} (${unit.kind}), ${unit.outcome}${unit.where === 'here' ? '' : ` by ${unit.where}`}`
  const [first, ...others] = unit.because
  const reason = unit.meaning === undefined ? unit.reason : `${unit.meaning} (${unit.reason})`
  if (first === undefined) return [reason === '' ? title : `${title}: ${reason}`]
  return [
    `${title}: ${rootText(first)}`,
    ...laterLines(first),
    ...others.flatMap((way) => [`  also ${rootText(way)}`, ...laterLines(way)]),
    ...(reason === '' ? [] : [`  ${reason}`]),
  ]
}

/** The cause at the root, and in which unit when that is not the one that was asked about. */
function rootText(way: Way): string {
  const [root] = way
  if (root === undefined) return ''
  return `${way.length > 1 ? `in ${root.crate} (${root.kind}) ` : ''}${causeText(root.cause)}`
}

/** From the root on, one line for each unit that had to follow. */
function laterLines(way: Way): string[] {
  return way.slice(1).map(({ crate, kind, cause }) => `    so in ${crate} (${kind}) ${causeText(cause)}`)
}

/** What people call a kind of cause; `''` where the name says it all. */
const nouns: Readonly<Record<string, string>> = {
  mesh: '',
  toolchain: '',
  target: '',
  driver: '',
  feature: 'feature',
  cfg: '--cfg',
  codegen: '-C',
  option: '',
  environment: '',
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
}

function causeText({ what, name, recorded, here }: Cause): string {
  if (what === 'first-time') return 'nothing like it was compiled here before'
  if (what === 'result') return 'the very same was compiled before, but its result was not kept'
  const noun = nouns[what] ?? what
  const subject = noun === '' ? name : `${noun} ${name}`
  const none = what === 'variable' ? 'not set' : isSwitch(recorded, here) ? 'off' : 'absent'
  return `${subject}: was ${valueText(recorded, none)}, is ${valueText(here, none)}`
}

/** Something that is given or not, without a value. */
const isSwitch = (recorded: string | null, here: string | null): boolean =>
  (recorded ?? 'on') === 'on' && (here ?? 'on') === 'on'

function valueText(value: string | null, none: string): string {
  if (value === null) return none
  return value === '' ? '""' : value
}
