import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../base/clock.ts'
import { codeOf, ShoalError } from '../base/errors.ts'
import { type Identity, loadIdentity, putKeyAside } from '../mesh/identity.ts'
import { signingKeyOf } from '../mesh/members.ts'
import { loadMembership, type Membership, putAside, saveMembership } from '../mesh/membership.ts'
import type { Roster } from '../mesh/roster.ts'
import { loadRoster, saveRoster } from '../mesh/roster-file.ts'
import { sameBytes } from '../mesh/statement.ts'
import { moveDurably } from '../store/durable.ts'

/** The mesh of this machine; undefined when there is none, or one from before members had certificates. */
export async function knownMesh(stateDir: string): Promise<Membership | undefined> {
  try {
    return await loadMembership(stateDir)
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ERR_NO_MESH' || code === 'ERR_MESH_OUTDATED') return undefined
    throw error
  }
}

/**
 * Makes a mesh that of this machine. What there is of another one stays under other names; what is known of who belongs to this one
 * is added to `roster`.
 */
export async function adopt(stateDir: string, membership: Membership, roster: Roster): Promise<void> {
  const known = await knownMesh(stateDir)
  if (known?.id === membership.id) await mergeRoster(stateDir, roster)
  const drafts = join(stateDir, 'joining')
  await mkdir(drafts, { recursive: true, mode: 0o700 })
  try {
    // Whole before anything of the mesh before goes: on a full disk this machine stays what it is.
    await saveRoster(drafts, roster, systemClock.wall())
    await saveMembership(drafts, membership)
    if (known?.id !== membership.id) await putAside(stateDir, `before-${systemClock.wall()}`)
    await moveDurably(join(drafts, 'roster'), join(stateDir, 'roster'))
    await moveDurably(join(drafts, 'mesh.json'), join(stateDir, 'mesh.json'))
  } finally {
    await rm(drafts, { recursive: true, force: true })
  }
}

/** Does something with this machine's key; with another one if that was shut out, because a key that was shut out stays out. */
export async function orWithNewKey<T>(
  stateDir: string,
  identity: Identity,
  act: (as: Identity) => Promise<T>,
  onNewKey: () => void,
): Promise<T> {
  try {
    return await act(identity)
  } catch (error) {
    if (codeOf(error) !== 'ERR_REVOKED') throw error
    await putKeyAside(stateDir, `revoked-${systemClock.wall()}`)
    const fresh = await loadIdentity(stateDir)
    onNewKey()
    return await act(fresh)
  }
}

/** For the recovery phrase of a mesh that this machine does not belong to. */
export function anotherMesh({ name }: Membership): ShoalError {
  return new ShoalError('ERR_OTHER_MESH', `this machine belongs to ${name}, and these are the words of another mesh`, {
    hint: 'Leave it first: `shoal leave`.',
  })
}

/**
 * This machine's key; another one if it is known to be in use by two machines: who of them joins anew becomes somebody of its own, or the link
 * would be used up for a key that is still in use twice.
 */
export async function ownKey(stateDir: string, identity: Identity, onNewKey: () => void): Promise<Identity> {
  const now = systemClock.wall()
  const roster = await readableRoster(stateDir, now)
  const { publicKey } = signingKeyOf(identity)
  if (roster?.clones(now).some(({ body }) => sameBytes(body.subject, publicKey)) !== true) return identity
  await putKeyAside(stateDir, `copied-${now}`)
  onNewKey()
  return await loadIdentity(stateDir)
}

/** The list of members that is kept here; undefined for one that is damaged or lost: that is why people join again, and members have it. */
export async function readableRoster(stateDir: string, now = systemClock.wall()): Promise<Roster | undefined> {
  try {
    return await loadRoster(stateDir, now)
  } catch (error) {
    if (error instanceof ShoalError) return undefined
    throw error
  }
}

/** Who joins a mesh again may know of somebody who was shut out and of whom the others have not heard. */
async function mergeRoster(stateDir: string, roster: Roster): Promise<void> {
  const now = systemClock.wall()
  const before = await readableRoster(stateDir, now)
  if (before === undefined) return
  try {
    for (const bytes of before.bytesOf(before.ids(now))) roster.add(bytes, now)
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error
  }
}
