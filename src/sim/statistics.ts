export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)
}

/** @param sorted ascending */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0
}

/** Jain's index: 1 when all are equal, 1 ÷ count when one has everything. */
export function jain(values: readonly number[]): number {
  const squares = values.reduce((sum, value) => sum + value * value, 0)
  const sum = values.reduce((a, b) => a + b, 0)
  return squares > 0 ? (sum * sum) / (values.length * squares) : 1
}
