import { isUtf8 } from 'node:buffer'
import { posix } from 'node:path'
import type { Read, ReadSet } from '../plan/action.ts'
import { isWithin } from '../plan/read-set.ts'
import { placeRoots, type Root } from '../plan/roots.ts'
import type { ScriptEntry, ScriptResult } from '../plan/script-action.ts'
import { isObeyed } from '../plan/terminal-text.ts'
import { isForOthers } from './evidence.ts'
import { splitPlace } from './run-place.ts'
import { hasSecret, isOfPerson, ofMachine, ofSession, ofShells, shimName } from './script-evidence.ts'

/** What of a run others may see, and what of one that others saw is put in place here. `protocols/scripts.md` specifies both. */
const maxBytes = 256 << 20
const maxEntries = 40_000
const maxSaid = 8 << 20
/** Files that may have roots by name in them: those in which they are put back. */
const mayBeNamed = /\.(d|pc)$/

/** Who is a user or a group here, what the machine is called, what its network and clock are like. */
const ofThisMachine =
  /^\/etc\/(passwd|group|shadow|gshadow|subuid|subgid|hosts|hostname|machine-id|resolv\.conf|nsswitch\.conf|localtime|timezone|ssh|ssl\/private|sudoers|fstab|mtab)(\/|$)/

/** What says how a build is run rather than who runs it. */
const ofBuild = /^(NUM_JOBS|CARGO_BUILD_JOBS|CARGO_TERM_\w+)$/

/** Whether a run that looked at this can be held against another machine. */
export function isRunForOthers({ reads, env }: ReadSet): boolean {
  const has = (kind: Read[0], ...names: string[]): boolean =>
    reads.some((read) => read[0] === kind && names.includes(read[1]))
  // Without these it would hold where it should not.
  if (!has('sorts', '') || !has('environ', ofSession, ofShells)) return false
  if (!env.some(([name, value]) => name === ofMachine.kernel && value !== null)) return false
  const ofAnyRun = ([kind, name]: Read): boolean =>
    kind === 'sorts' ? name === '' : kind === 'environ' && (name === ofSession || name === ofShells)
  const looks = reads.filter((read) => !ofAnyRun(read))
  if (looks.some(([kind, name]) => kind === 'environ' || kind === 'tree' || ofThisMachine.test(posix.normalize(name))))
    return false
  return isForOthers({ reads: looks }) && env.every(tellsOfNobody)
}

function tellsOfNobody([name, value]: ReadSet['env'][number]): boolean {
  if (value === null || name === ofMachine.kernel || !isOfPerson(name)) return true
  if (name === 'RUSTC_WRAPPER') return value === shimName
  return ofBuild.test(name) || (name === 'CARGO' && value.startsWith('\0toolchain\0'))
}

/** Whether a run that was seen here may be told to others: nothing in what it looked at says who sits here, or lets secrets be guessed. */
export function mayBeTold(set: ReadSet, env: ReadonlyMap<string, string>): boolean {
  const home = env.get('HOME') ?? ''
  const isHome = ([, name]: Read): boolean => home.length > 1 && isWithin(posix.normalize(name), home)
  return isRunForOthers(set) && !hasSecret(env) && !set.reads.some(isHome)
}

/**
 * The form for others: without where the roots lay, which the claim says, and with what of a machine no run asks for, and what it does can depend on
 * nevertheless.
 * @param kernel its name and release
 */
export function formForOthers(set: ReadSet, kernel: string): ReadSet {
  const { reads, env } = splitPlace(set).set
  const all: ReadSet['env'] = [...env.filter(([name]) => name !== ofMachine.kernel), [ofMachine.kernel, kernel]]
  return { reads, env: all.sort((a, b) => (a[0] < b[0] ? -1 : 1)) }
}

/**
 * Why what a run left elsewhere is not put in place, whoever says that it did; undefined when nothing speaks against that. Everything lies in
 * OUT_DIR and leads nowhere else.
 * @param place umask: of cargo here, as in the key
 */
export function objectionTo(
  { entries, stdout, stderr }: ScriptResult,
  { umask, roots }: { umask: number; roots: readonly Root[] },
): string | undefined {
  if (entries.length > maxEntries || stdout.length + stderr.length > maxSaid) return 'too much'
  const bytes = entries.reduce((sum, entry) => sum + (entry.kind === 'file' ? entry.size : 0), 0)
  if (bytes > maxBytes) return 'too much'
  for (const said of [stdout, stderr]) {
    const text = isUtf8(said) ? placeRoots(Buffer.from(said).toString(), roots) : '\0'
    if (text.includes('\0')) return 'what it said is no text'
    // cargo shows warnings of a script as they are, and all that one says that fails.
    if (isObeyed(text)) return 'a terminal would obey what it said'
  }
  const dirs = new Set(['.'])
  const paths = new Set<string>()
  for (const entry of entries) {
    const { path } = entry
    if (isObeyed(path)) return 'a terminal would obey a name'
    if (paths.has(path)) return `twice: ${path}`
    if (!dirs.has(posix.dirname(path))) return `in no directory: ${path}`
    const odd = entry.kind === 'link' ? !staysWithin(entry) : !isUsual(entry, umask)
    if (odd) return `${entry.kind}: ${path}`
    paths.add(path)
    if (entry.kind === 'dir') dirs.add(path)
  }
  return undefined
}

/** No more may be done with it than cargo's user lets others do, and no less than cargo needs. */
function isUsual(entry: Exclude<ScriptEntry, { kind: 'link' }>, umask: number): boolean {
  const needed = entry.kind === 'dir' ? 0o700 : 0o400
  const isPlain = (entry.mode & 0o7000) === 0 && (entry.mode & umask & 0o077) === 0
  return (
    isPlain && (entry.mode & needed) === needed && (entry.kind === 'dir' || !entry.named || mayBeNamed.test(entry.path))
  )
}

/** The way up is through directories of OUT_DIR, which are none but those of the list; from there on it goes down. */
function staysWithin({ path, to }: Extract<ScriptEntry, { kind: 'link' }>): boolean {
  const parts = to.split('/')
  const up = parts.findIndex((part) => part !== '..')
  const down = up < 0 ? [] : parts.slice(up)
  const isPlain = down.every((part) => part !== '' && part !== '.' && part !== '..') && !to.includes('\0')
  return to !== '' && isPlain && parts.length - down.length < path.split('/').length
}
