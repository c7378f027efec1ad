import type { CID } from 'multiformats/cid'
import { holdsPassword, looksSecret } from '../plan/environment.ts'
import { hexOf } from '../wire/cid.ts'

/** What kind of thing differs. Permanent names: `why --json` carries them. */
export type CauseKind =
  | 'first-time'
  | 'result'
  | 'mesh'
  | 'toolchain'
  | 'target'
  | 'driver'
  | 'version'
  | 'profile'
  | 'place'
  | 'feature'
  | 'cfg'
  | 'codegen'
  | 'option'
  | 'variable'
  | 'environment'
  | 'out-dir'
  | 'dependency'
  | 'cwd'
  | 'remap'
  | 'output'
  | 'file'
  | 'link'
  | 'dir'
  | 'list'
  | 'absent'
  | 'program'
  | 'tree'
  | 'path-bound'

/** One thing in which a unit differs from the nearest that is kept; fit to be shown. */
export interface Cause {
  what: CauseKind
  name: string
  /** A value, or the first digits of a digest; null: was not there. */
  recorded: string | null
  here: string | null
  /** Of a dependency: what the files of its unit are called, without prefix and suffix. */
  unit?: string
}

const maxName = 300
const maxValue = 200
/** How much of what two long values have in common is shown before they part. */
const context = 40
const hidden = '(hidden)'
/** Kinds whose name says what a value is for. */
const named: ReadonlySet<CauseKind> = new Set(['variable', 'environment', 'cfg', 'codegen', 'option'])
/** Wider than `holdsPassword`: what begins like a key and is too short for one need not be shown either. */
const beginsLikeKey =
  /-----BEGIN|\bgh[oprsu]_\w{16}|\bgithub_pat_|\bglpat-|\bAKIA[0-9A-Z]{16}|\bxox[abprs]-|\bsk-\w{16}|:\/\/[^/\s:@]*:[^/\s@]+@/

/** A cause whose values can be shown: nothing that looks like a secret, nothing endless, roots by readable names. */
export function cause(what: CauseKind, name: string, recorded: string | null, here: string | null): Cause {
  const secret = named.has(what) && looksSecret(name)
  const from = partingPoint(recorded, here)
  const value = (text: string | null): string | null => {
    if (text === null) return null
    return secret || holdsPassword(text) || beginsLikeKey.test(text) ? hidden : cut(readable(text), from)
  }
  return { what, name: cut(readable(name), 0, maxName), recorded: value(recorded), here: value(here) }
}

/** Where to begin with two values so that their difference is seen; 0 for short ones. */
function partingPoint(recorded: string | null, here: string | null): number {
  const [a, b] = [readable(recorded ?? ''), readable(here ?? '')]
  if (recorded === null || here === null || Math.max(a.length, b.length) <= maxValue) return 0
  let same = 0
  while (same < a.length && a[same] === b[same]) same++
  return Math.max(0, same - context)
}

function cut(text: string, from: number, length = maxValue): string {
  const rest = from === 0 ? text : `…${text.slice(from)}`
  return rest.length > length ? `${rest.slice(0, length - 1)}…` : rest
}

/** Roots as `<workspace>`. */
const readable = (text: string): string => text.replace(/\0([a-z]+)\0/g, '<$1>')

/** Enough hex digits of a digest to tell two apart. */
export const shownDigits = 12
export const shortDigest = (cid: CID): string => hexOf(cid).slice(0, shownDigits)
