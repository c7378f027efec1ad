/** How one thing is: as it should be; something is lost by it; Shoal does not work here because of it. */
export type Level = 'ok' | 'warn' | 'fail'

export interface Finding {
  /** What was looked at. Permanent, for scripts. */
  check: string
  level: Level
  /** What there is. */
  what: string
  /** What it costs; empty when nothing is wrong. */
  why: string
  /** Commands that mend it, each a line for a shell. */
  mend: readonly string[]
}

export const ok = (check: string, what: string): Finding => ({ check, level: 'ok', what, why: '', mend: [] })

export const warn = (check: string, what: string, why: string, ...mend: readonly string[]): Finding => ({
  check,
  level: 'warn',
  what,
  why,
  mend,
})

export const fail = (check: string, what: string, why: string, ...mend: readonly string[]): Finding => ({
  ...warn(check, what, why, ...mend),
  level: 'fail',
})
