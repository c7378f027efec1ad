/** What follows `--NAME` on the command line. */
export function argument(name: string, otherwise: number): number
export function argument(name: string, otherwise: string): string
export function argument(name: string, otherwise: number | string): number | string {
  const at = process.argv.indexOf(`--${name}`)
  const value = at < 0 ? undefined : process.argv[at + 1]
  if (value === undefined) return otherwise
  return typeof otherwise === 'number' ? Number(value) : value
}

/** Writes a line of the report. */
export const say = (line: string): boolean => process.stdout.write(`${line}\n`)

/** The value below which a share of them lies; NaN of none. */
export const quantile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN

export const median = (values: readonly number[]): number => quantile(values, 0.5)
