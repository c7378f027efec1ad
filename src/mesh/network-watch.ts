import type { Clock } from '../base/clock.ts'
import { type Interfaces, networkFingerprint } from './addresses.ts'

const everyMs = 1000
/** A tick that comes so much later than it should: the machine slept. */
const sleptMs = 10_000

/** Calls `onChange` when this machine has got or lost an address, or has woken up. Returns how to stop. */
export function watchNetwork(clock: Clock, interfaces: Interfaces, onChange: () => void): () => void {
  let fingerprint = networkFingerprint(interfaces)
  let wall = clock.wall()
  let cancel = (): void => undefined
  const look = (): void => {
    const now = clock.wall()
    const current = networkFingerprint(interfaces)
    const changed = current !== fingerprint || now - wall > everyMs + sleptMs
    fingerprint = current
    wall = now
    cancel = clock.after(everyMs, look)
    if (changed) onChange()
  }
  cancel = clock.after(everyMs, look)
  return () => cancel()
}
