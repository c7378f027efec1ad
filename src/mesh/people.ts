import { codeOf } from '../base/errors.ts'
import type { Roster } from './roster.ts'
import { hex, sameBytes } from './statement.ts'

/** Longer than any chain of certificates. */
const maxSteps = 8

/**
 * Who is behind a key, as far as the mesh can tell: whoever an administrator let in stands for itself; whom anybody else let in
 * may be a second machine of that one, or was made up by it, and counts as the same. Equal for machines that may be one person's.
 * @throws ShoalError as `Roster.verify` when the key is no member's
 */
export function personOf(roster: Roster, key: Uint8Array, now: number): string {
  let at = key
  roster.verify(at, now)
  for (let step = 0; step < maxSteps; step += 1) {
    const above = inviterOf(roster, at, now)
    if (above === undefined) break
    at = above
  }
  return hex(at)
}

/** Who has let a key in, unless that is an administrator or not known. */
function inviterOf(roster: Roster, key: Uint8Array, now: number): Uint8Array | undefined {
  const certificate = roster.latestOf(key)
  if (certificate === undefined) return undefined
  // The one is what its issuers say, the other is what is proved; a renewal changes the latter.
  const { invitedBy, issuer } = certificate.body
  return [invitedBy, issuer].find((above) => !sameBytes(above, key) && !isAdministrator(roster, above, now))
}

function isAdministrator(roster: Roster, key: Uint8Array, now: number): boolean {
  if (sameBytes(key, roster.genesis.body.root)) return true
  try {
    return roster.verify(key, now).roles.includes('admin')
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return false
  }
}
