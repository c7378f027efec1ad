import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../base/clock.ts'
import { codeOf, ShoalError } from '../base/errors.ts'
import { type Identity, joiningKeyFile, makeJoiningIdentity, takeJoiningIdentity } from '../mesh/identity.ts'
import type { MemberView } from '../mesh/member-view.ts'
import { signingKeyOf } from '../mesh/members.ts'
import { loadMembership, type Membership, putAside, saveMembership } from '../mesh/membership.ts'
import type { Roster } from '../mesh/roster.ts'
import { loadRoster, saveRoster } from '../mesh/roster-file.ts'
import { sameBytes } from '../mesh/statement.ts'
import { moveDurably, removeDurably } from '../store/durable.ts'

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

/** How a machine becomes a member of a mesh. */
interface Becoming<T> {
  /** Has the mesh take it in, by a key. */
  join(as: Identity): Promise<T>
  /** Writes down what came of that. */
  keep(joined: T): Promise<void>
  onNewKey(): void
  /** Why this machine's key is not even tried. */
  label?: string | undefined
}

/**
 * Makes this machine a member by its key; by a new one if the mesh says that the key was shut out, because a key that was shut out stays out. The
 * new one takes over when all is written: whatever fails leaves this machine what it was. And it may not be the key that is out, but the link.
 * @throws ShoalError as `join`
 */
export async function become<T>(stateDir: string, identity: Identity, how: Becoming<T>): Promise<T> {
  const { join: joinAs, keep, onNewKey, label = 'revoked' } = how
  if (how.label === undefined) {
    const joined = await orShutOut(() => joinAs(identity))
    if (joined !== undefined) {
      await keep(joined.value)
      return joined.value
    }
  }
  const fresh = await makeJoiningIdentity(stateDir)
  try {
    const joined = await joinAs(fresh)
    await keep(joined)
    await takeJoiningIdentity(stateDir, `${label}-${systemClock.wall()}`)
    onNewKey()
    return joined
  } catch (error) {
    if (codeOf(error) !== 'ERR_REVOKED') throw error
    // Nobody knew this key, or it is of no use any more.
    await removeDurably(joiningKeyFile(stateDir))
    throw new ShoalError(
      'ERR_REVOKED',
      'it is not the key of this machine that was shut out, but the link, or who answers',
      {
        hint: 'Ask somebody else of the mesh for a link: `shoal invite`.',
        cause: error,
      },
    )
  }
}

async function orShutOut<T>(act: () => Promise<T>): Promise<{ value: T } | undefined> {
  try {
    return { value: await act() }
  } catch (error) {
    if (codeOf(error) === 'ERR_REVOKED') return undefined
    throw error
  }
}

/** For the recovery phrase of a mesh that this machine does not belong to. */
export function anotherMesh({ name }: Membership): ShoalError {
  return new ShoalError('ERR_OTHER_MESH', `this machine belongs to ${name}, and these are the words of another mesh`, {
    hint: 'Leave it first: `shoal leave`.',
  })
}

/**
 * Whether this machine's key is known to be in use by two: who of them joins anew becomes somebody of its own, or the link would be used up for a
 * key that is still in use twice.
 */
export async function isUsedTwice(stateDir: string, identity: Identity): Promise<boolean> {
  const now = systemClock.wall()
  const roster = await readableRoster(stateDir, now)
  const { publicKey } = signingKeyOf(identity)
  return roster?.clones(now).some(({ body }) => sameBytes(body.subject, publicKey)) === true
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

/** The members besides one machine, whichever of its keys they are told. */
export function others(roster: Roster, self: Uint8Array): MemberView[] {
  const now = systemClock.wall()
  const lines = roster.lines(now)
  return roster.members(now).filter(({ key }) => !lines.isSame(key, self))
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
