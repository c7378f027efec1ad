import type { Ran } from '../support/cluster.ts'

/** What a cargo command did, as far as two runs of it can be the same. */
export interface Behaviour {
  code: number | null
  /** Sorted: units and tests run side by side, so that their order is chance. */
  lines: string[]
}

const chance: readonly [RegExp, string][] = [
  [/\b(in|took) (\d+m )?\d+(\.\d+)?m?s\b/g, '$1 TIME'],
  [/\b(\d+m )?\d+\.\d\ds\b/g, 'TIME'],
  [/^(thread '.*') \(\d+\) panicked/g, '$1 panicked'],
  // Of two units that say the same, the first to end shows it.
  [/ \(\d+ duplicates?\)/g, ''],
  // And is the one that cargo offers to mend.
  [/ \(run `cargo (clippy --)?fix [^`]*` to apply \d+ suggestions?\)/g, ''],
  [/\brustc[A-Za-z0-9]{6}\b/g, 'rustcTEMPORARY'],
  [/\brustdoctest[A-Za-z0-9]{6}\b/g, 'rustdoctestTEMPORARY'],
]

/** Said only when another unit is being compiled, or another cargo at work, at that moment. */
const meanwhile =
  /^(warning: build failed, waiting for other jobs to finish\.\.\.|\s+Blocking waiting for file lock .*)$/

export function behaviourOf({ code, stdout, stderr }: Ran): Behaviour {
  const lines = `${stdout}\n${stderr}`.split('\n').filter((line) => line !== '' && !meanwhile.test(line))
  return { code, lines: lines.map(withoutChance).toSorted() }
}

const withoutChance = (line: string): string =>
  chance.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), line)

/** Lines that only one of two runs has, each as often as that; `-` only the expected one, `+` only the actual one. */
export function differingLines(actual: readonly string[], expected: readonly string[]): string[] {
  const surplus = new Map<string, number>()
  for (const line of actual) surplus.set(line, (surplus.get(line) ?? 0) + 1)
  for (const line of expected) surplus.set(line, (surplus.get(line) ?? 0) - 1)
  return [...surplus].flatMap(([line, count]) =>
    Array.from({ length: Math.abs(count) }, () => `${count > 0 ? '+' : '-'} ${line}`),
  )
}
