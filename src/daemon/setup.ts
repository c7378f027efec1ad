import { existsSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { systemClock } from '../base/clock.ts'
import { readConfig } from '../base/config.ts'
import { codeOf, ShoalError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import type { Environment, ShoalPaths } from '../base/paths.ts'
import { foundMesh } from '../mesh/found.ts'
import { type Identity, loadIdentity, putKeyAside } from '../mesh/identity.ts'
import { decodeInviteLink } from '../mesh/invite-link.ts'
import { joinMesh } from '../mesh/join.ts'
import { loadMembership, type Membership, membershipOf, putAside, saveMembership } from '../mesh/membership.ts'
import type { Roster } from '../mesh/roster.ts'
import { loadRoster, saveRoster } from '../mesh/roster-file.ts'
import type { Joined } from '../mesh/welcome.ts'
import { type BuiltShim, buildObserver, buildShim } from '../shim/build.ts'
import { moveDurably, removeDurably, writeDurably } from '../store/durable.ts'
import { type Lock, takeLock } from '../store/lock.ts'
import { joinNearMesh, type NearMesh, nearMeshes, type Person } from './join-network.ts'

const maxNameBytes = 64
const nodeName = z.string().min(1).max(maxNameBytes)
const requestSchema = z.discriminatedUnion('action', [
  z.object({
    action: z.literal('init'),
    name: nodeName.optional(),
    meshName: z.string().min(1).max(64).optional(),
    openLan: z.boolean().default(false),
  }),
  z.object({ action: z.literal('leave') }),
  z.object({
    action: z.literal('join'),
    /** Absent: a mesh on the local network. */
    link: z.string().max(8192).optional(),
    mesh: z.string().min(1).max(64).optional(),
    name: nodeName.optional(),
  }),
  z.object({ action: z.literal('look') }),
])

export interface SetupAnswer {
  /** Every file that was written. */
  touched: string[]
  mesh: { id: string; name: string; open: boolean }
  shim: string
  /** The recovery phrase of a mesh that was just made: it is nowhere else in words. */
  phrase?: string
}

/** What there is here and around, before anything is changed. */
interface Surroundings {
  mesh: { id: string; name: string; open: boolean } | null
  near: NearMesh[]
}

/** What `leave` has removed. */
interface Left {
  touched: string[]
}

/**
 * Sets this machine up, or makes it a member of another mesh. Safe to repeat: what is there already stays.
 * @throws ShoalError ERR_USAGE, ERR_INVITE, ERR_SHIM_BUILD, ERR_CONFIG; as `joinMesh` and `joinNearMesh`
 */
export async function setUp(
  request: unknown,
  paths: ShoalPaths,
  env: Environment,
  person: Person,
): Promise<SetupAnswer | Left | Surroundings> {
  const parsed = requestSchema.safeParse(request)
  if (!parsed.success) throw new ShoalError('ERR_USAGE', parsed.error.issues[0]?.message ?? 'unknown request')
  const { data } = parsed
  if (data.action === 'leave') return await alone(paths, () => forgetMesh(paths))
  if (data.action === 'look') return await look(paths)
  const touched: string[] = []
  const fresh = async <T>(file: string, make: () => Promise<T>): Promise<T> => {
    const before = existsSync(file)
    const made = await make()
    if (!before) touched.push(file)
    return made
  }
  await mkdir(paths.state, { recursive: true, mode: 0o700 })
  if (data.name !== undefined) {
    await writeNodeName(paths, data.name)
    touched.push(nameFile(paths))
  }
  const keyFile = join(paths.state, 'identity.key')
  const identity = await fresh(keyFile, () => ownIdentity(paths.state, data.action))
  const config = await readConfig(paths.config)
  const nodeNamed = fitting(await readNodeName(paths, config.name))
  // Before the mesh: should this fail, nothing has happened yet that cannot be repeated, and no recovery phrase is lost.
  const shim = await buildShim({ rustc: env.RUSTC || 'rustc', outDir: paths.shimDir })
  const observer = await observerOrNone(paths, env)
  for (const part of [shim, observer]) if (part?.built) touched.push(part.path)
  const { membership, phrase } =
    data.action === 'join'
      ? {
          membership: await alone(paths, () =>
            joined(paths, identity, { ...data, name: nodeNamed }, person, () => touched.push(keyFile)),
          ),
          phrase: undefined,
        }
      : await ownMesh(paths, identity, { ...data, nodeName: nodeNamed })
  if (data.action === 'join' || phrase !== undefined) touched.push(join(paths.state, 'mesh.json'))
  const mesh = viewOf(membership)
  return { touched, mesh, shim: shim.path, ...(phrase === undefined ? {} : { phrase }) }
}

/** No node and no other command changes which mesh this is meanwhile. @throws ShoalError ERR_DAEMON_RUNNING */
async function alone<T>(paths: ShoalPaths, run: () => Promise<T>): Promise<T> {
  const lock = await lockState(paths)
  try {
    return await run()
  } finally {
    await lock.release()
  }
}

/**
 * Held by a node while it runs, and by whoever makes this machine a member of something.
 * @throws ShoalError ERR_DAEMON_RUNNING; ERR_NO_MESH when this machine was never set up
 */
export async function lockState(paths: ShoalPaths): Promise<Lock> {
  try {
    return await takeLock(join(paths.state, 'lock'))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw new ShoalError('ERR_NO_MESH', `${paths.state} does not exist`)
    throw error
  }
}

/** Who joins from a copied disk becomes somebody of its own. */
async function ownIdentity(state: string, action: 'init' | 'join'): Promise<Identity> {
  try {
    return await loadIdentity(state)
  } catch (error) {
    if (action !== 'join' || codeOf(error) !== 'ERR_CLONED') throw error
    await putKeyAside(state, `copied-${systemClock.wall()}`)
    return await loadIdentity(state)
  }
}

/** What is left to do once the others know: a key that was revoked must not lie about. */
async function forgetMesh(paths: ShoalPaths): Promise<Left> {
  await putAside(paths.state, `left-${systemClock.wall()}`)
  const key = join(paths.state, 'identity.key')
  await removeDurably(key)
  return { touched: [key] }
}

/** Compiles go on without it: then less is recalled, and the report says why. */
async function observerOrNone(paths: ShoalPaths, env: Environment): Promise<BuiltShim | undefined> {
  try {
    return await buildObserver({ rustc: env.RUSTC || 'rustc', outDir: paths.shimDir })
  } catch (error) {
    if (codeOf(error) !== 'ERR_SHIM_BUILD') throw error
    await rm(paths.observer, { force: true })
    return undefined
  }
}

/** Writes nothing. */
async function look(paths: ShoalPaths): Promise<Surroundings> {
  const known = await knownMesh(paths)
  return { mesh: known === undefined ? null : viewOf(known), near: await nearMeshes() }
}

const viewOf = ({ id, name, open }: Membership): SetupAnswer['mesh'] => ({ id, name, open })

/** Becomes a member, by a link or by asking. What there was of another mesh stays under other names. */
async function joined(
  paths: ShoalPaths,
  identity: Identity,
  how: { link?: string | undefined; mesh?: string | undefined; name: string },
  person: Person,
  onNewKey: () => void,
): Promise<Membership> {
  const known = await knownMesh(paths)
  const joinAs = (who: Identity): Promise<Joined & { seeds: string[] }> =>
    how.link === undefined
      ? joinNearMesh(who, { wanted: how.mesh, name: how.name }, person)
      : joinByLink(who, how.link, how.name)
  const { genesis, secret, roster, seeds } = await joinAs(identity).catch(async (error: unknown) => {
    if (codeOf(error) !== 'ERR_REVOKED') throw error
    // A key that was shut out stays out. Whoever is let in is wanted all the same, and a link was not used yet.
    await putKeyAside(paths.state, `revoked-${systemClock.wall()}`)
    const fresh = await loadIdentity(paths.state)
    onNewKey()
    return await joinAs(fresh)
  })
  const membership = membershipOf(genesis, secret, seeds)
  if (known?.id === membership.id) await mergeRoster(paths, roster)
  const drafts = join(paths.state, 'joining')
  await mkdir(drafts, { recursive: true, mode: 0o700 })
  try {
    // Whole before anything of the mesh before goes: on a full disk this machine stays what it is.
    await saveRoster(drafts, roster, systemClock.wall())
    await saveMembership(drafts, membership)
    if (known?.id !== membership.id) await putAside(paths.state, `before-${systemClock.wall()}`)
    await moveDurably(join(drafts, 'roster'), join(paths.state, 'roster'))
    await moveDurably(join(drafts, 'mesh.json'), join(paths.state, 'mesh.json'))
  } finally {
    await rm(drafts, { recursive: true, force: true })
  }
  return membership
}

async function joinByLink(identity: Identity, text: string, name: string): Promise<Joined & { seeds: string[] }> {
  const link = decodeInviteLink(text)
  const joined = await joinMesh({ clock: systemClock, log: silentLogger, identity }, link, name)
  return { ...joined, seeds: link.addresses }
}

/** Who joins a mesh again may know of somebody who was shut out and of whom the inviter has not heard. */
async function mergeRoster(paths: ShoalPaths, roster: Roster): Promise<void> {
  const now = systemClock.wall()
  try {
    const before = await loadRoster(paths.state, now)
    for (const bytes of before.bytesOf(before.ids(now))) roster.add(bytes, now)
  } catch (error) {
    // A list that is damaged or lost is why people join again.
    if (!(error instanceof ShoalError)) throw error
  }
}

async function ownMesh(
  paths: ShoalPaths,
  identity: Identity,
  init: { nodeName: string; meshName?: string | undefined; openLan: boolean },
): Promise<{ membership: Membership; phrase?: string }> {
  const known = await knownMesh(paths)
  if (known !== undefined && init.openLan && !known.open) {
    throw new ShoalError('ERR_USAGE', `this machine belongs to ${known.name}, which is not open and cannot become so`, {
      hint: 'Leave it first (`shoal leave`), then make an open one.',
    })
  }
  if (known !== undefined) return { membership: known }
  return await alone(paths, async () => {
    // Somebody else may have been quicker.
    const made = await knownMesh(paths)
    if (made !== undefined) return { membership: made }
    await putAside(paths.state, `before-${systemClock.wall()}`)
    const name = fitting(init.meshName ?? `${init.nodeName}'s mesh`)
    return await foundMesh(systemClock, paths.state, identity, { name, nodeName: init.nodeName, open: init.openLan })
  })
}

/** The mesh of this machine; undefined when there is none, or one from before members had certificates. */
async function knownMesh(paths: ShoalPaths): Promise<Membership | undefined> {
  try {
    return await loadMembership(paths.state)
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ERR_NO_MESH' || code === 'ERR_MESH_OUTDATED') return undefined
    throw error
  }
}

/** As much of a name as fits into a certificate. */
function fitting(name: string): string {
  const clean = name.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ')
  let end = clean.length
  while (Buffer.byteLength(clean.slice(0, end)) > maxNameBytes) end -= 1
  return clean.slice(0, end)
}

const nameFile = (paths: ShoalPaths): string => join(paths.state, 'name')

async function writeNodeName(paths: ShoalPaths, name: string): Promise<void> {
  await writeDurably(nameFile(paths), `${name}\n`)
}

/** What other members see: the configured name, else the one given to `init` or `join`, else the host's. */
export async function readNodeName(paths: ShoalPaths, configured: string | undefined): Promise<string> {
  if (configured !== undefined) return configured
  try {
    const name = (await readFile(nameFile(paths), 'utf8')).trim()
    return nodeName.safeParse(name).success ? name : hostname()
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return hostname()
    throw error
  }
}
