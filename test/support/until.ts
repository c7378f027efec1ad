import { setTimeout as delay } from 'node:timers/promises'

/**
 * Waits for something that others bring about.
 * @param what it is, for the error
 * @throws when it was not so within `ms`
 */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  { ms = 60_000, everyMs = 20 }: { ms?: number; everyMs?: number } = {},
): Promise<void> {
  for (const end = performance.now() + ms; !(await holds()); await delay(everyMs)) {
    if (performance.now() > end) throw new Error(`never: ${what}`)
  }
}
