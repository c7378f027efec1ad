import { ShoalError } from '../base/errors.ts'

/** Text for people. Pure: values in, lines out. */

/** Columns as wide as their widest cell; numbers (cells that begin with a digit) to the right. Empty for no rows. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return []
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)))
  const numeric = head.map((_, column) => rows.every((row) => /^([\d-]|$)/.test(row[column] ?? '')))
  return all.map((row) =>
    row
      .map((cell, column) => (numeric[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
}

const byteUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** `1.4 MiB`; binary units, one decimal above bytes. */
export function bytes(count: number): string {
  let value = count
  let unit = 0
  while (value >= 1024 && unit < byteUnits.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${byteUnits[unit]}`
}

/**
 * What `bytes` writes, and what people write: `1048576`, `500M`, `1.5 GiB`. Every unit is binary.
 * @throws ShoalError ERR_USAGE
 */
export function byteCount(text: string): number {
  const found = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*$/i.exec(text)
  const unit = ['', 'k', 'm', 'g', 't'].indexOf(found?.[2]?.toLowerCase() ?? '')
  const count = Math.round(Number(found?.[1]) * 1024 ** unit)
  if (Number.isSafeInteger(count)) return count
  throw new ShoalError('ERR_USAGE', `not a size: ${JSON.stringify(text)}`, { hint: 'Write 500M, 20GiB or a number.' })
}

/** `12 ms`, `3.4 s`, `2 min 05 s`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`
}

/** `1 peer`, `2 peers`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** The value as one shell word that means exactly these characters. */
export function shellQuote(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`
}
