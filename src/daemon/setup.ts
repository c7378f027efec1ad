import { existsSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { systemClock } from '../base/clock.ts'
import { readConfig } from '../base/config.ts'
import { codeOf, ShoalError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { chosenName, maxNameBytes } from '../base/names.ts'
import type { Environment, ShoalPaths } from '../base/paths.ts'
import { foundMesh } from '../mesh/found.ts'
import { type Identity, joiningKeyFile, loadIdentity, nextKeyFile, putKeyAside } from '../mesh/identity.ts'
import { decodeInviteLink } from '../mesh/invite-link.ts'
import { joinMesh } from '../mesh/join.ts'
import { type Membership, membershipOf, putAside } from '../mesh/membership.ts'
import type { Joined } from '../mesh/welcome.ts'
import { type BuiltShim, buildObserver, buildShim } from '../shim/build.ts'
import { removeDurably, writeDurably } from '../store/durable.ts'
import { type Lock, takeLock } from '../store/lock.ts'
import { adopt, become, isUsedTwice, knownMesh } from './adopt.ts'
import { type Examined, examine, meshState } from './examine.ts'
import { type ForgottenRoot, forgetRoot } from './forget-root.ts'
import { joinNearMesh, type NearMesh, nearMeshes, type Person } from './join-network.ts'
import { agreeToLeave } from './leave-behind.ts'
import { readParams } from './params.ts'
import { type Recovered, recoverMesh } from './recover-mesh.ts'

const requestSchema = z.discriminatedUnion('action', [
  z.object({
    action: z.literal('init'),
    name: chosenName.optional(),
    meshName: chosenName.optional(),
    openLan: z.boolean().default(false),
  }),
  z.object({ action: z.literal('leave') }),
  z.object({
    action: z.literal('join'),
    /** Absent: a mesh on the local network. */
    link: z.string().max(8192).optional(),
    mesh: z.string().min(1).max(64).optional(),
    name: chosenName.optional(),
  }),
  z.object({
    action: z.literal('recover'),
    phrase: z.string().max(1024),
    /** Multiaddrs of members; none: whoever is heard on the local network. */
    members: z.array(z.string().max(256)).max(8).default([]),
    name: chosenName.optional(),
  }),
  z.object({ action: z.literal('forget-root'), phrase: z.string().max(1024) }),
  z.object({ action: z.literal('look') }),
  z.object({ action: z.literal('examine'), fix: z.boolean().default(false) }),
])

export interface SetupAnswer {
  /** Every file that was written. */
  touched: string[]
  mesh: { id: string; name: string; open: boolean }
  shim: string
  /** What the others call this machine; null when it is no member. */
  called: string | null
  /** Why this machine is no member of the mesh any more; null while it is. */
  objection: string | null
  /** The recovery phrase of a mesh that was just made: it is nowhere else in words. */
  phrase?: string
  /** After a recovery: how many members have answered, and what other administrators are called. */
  recovered?: Recovered
}

/** What there is here and around, before anything is changed. */
interface Surroundings {
  mesh: { id: string; name: string; open: boolean } | null
  near: NearMesh[]
}

/** What `leave` has removed. */
interface Left {
  touched: string[]
  /** Where the root key of the mesh lies now, if this machine had it. */
  rootKey: string | null
}

/**
 * Sets this machine up, or makes it a member of another mesh. Safe to repeat: what is there already stays.
 * @throws ShoalError ERR_USAGE, ERR_INVITE, ERR_SHIM_BUILD, ERR_CONFIG; as `joinMesh`, `joinNearMesh` and `forgetRoot`
 */
export async function setUp(
  request: unknown,
  paths: ShoalPaths,
  env: Environment,
  person: Person,
): Promise<SetupAnswer | Left | ForgottenRoot | Surroundings | Examined> {
  const data = readParams(requestSchema, request)
  if (data.action === 'leave') return await alone(paths, () => forgetMesh(paths))
  if (data.action === 'forget-root') return await alone(paths, () => forgetRoot(paths.state, data.phrase))
  if (data.action === 'look') return await look(paths)
  if (data.action === 'examine') return await examine(paths, env, data.fix)
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
  const onNewKey = (): void => void touched.push(keyFile)
  const become = async (): Promise<{ membership: Membership; phrase?: string; recovered?: Recovered }> => {
    if (data.action === 'init') return await ownMesh(paths, identity, { ...data, nodeName: nodeNamed })
    const init = { ...data, name: nodeNamed }
    return await alone(paths, async () =>
      init.action === 'join'
        ? { membership: await joined(paths, identity, { ...init, mdns: config.mesh.mdns }, person, onNewKey) }
        : await recoverMesh(paths.state, identity, init, onNewKey),
    )
  }
  const { membership, ...rest } = await become()
  if (data.action !== 'init' || rest.phrase !== undefined) touched.push(join(paths.state, 'mesh.json'))
  const state = await meshState(paths.state)
  const objection = 'objection' in state ? state.objection : state.message
  const called = 'called' in state ? state.called : null
  return { touched, mesh: viewOf(membership), shim: shim.path, called, objection, ...rest }
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
    if (codeOf(error) === 'ENOENT')
      throw new ShoalError('ERR_NO_MESH', `this machine belongs to no mesh yet: there is no ${paths.state}`)
    throw error
  }
}

/** Who joins from a copied disk becomes somebody of its own. */
async function ownIdentity(state: string, action: 'init' | 'join' | 'recover'): Promise<Identity> {
  try {
    return await loadIdentity(state)
  } catch (error) {
    if (action === 'init' || codeOf(error) !== 'ERR_CLONED') throw error
    await putKeyAside(state, `copied-${systemClock.wall()}`)
    return await loadIdentity(state)
  }
}

/** What is left to do once the others know: keys that were revoked must not lie about. */
async function forgetMesh(paths: ShoalPaths): Promise<Left> {
  const label = `left-${systemClock.wall()}`
  await putAside(paths.state, label)
  const rootKey = join(paths.state, `root.key.${label}`)
  const all = [join(paths.state, 'identity.key'), nextKeyFile(paths.state), joiningKeyFile(paths.state)]
  const keys = all.filter((key) => existsSync(key))
  for (const key of keys) await removeDurably(key)
  return { touched: keys, rootKey: existsSync(rootKey) ? rootKey : null }
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
  const known = await knownMesh(paths.state)
  return { mesh: known === undefined ? null : viewOf(known), near: await nearMeshes() }
}

const viewOf = ({ id, name, open }: Membership): SetupAnswer['mesh'] => ({ id, name, open })

/** Becomes a member, by a link or by asking. What there was of another mesh stays under other names. */
async function joined(
  paths: ShoalPaths,
  identity: Identity,
  how: { link?: string | undefined; mesh?: string | undefined; name: string; mdns: boolean },
  person: Person,
  onNewKey: () => void,
): Promise<Membership> {
  await agreeToLeave(paths.state, how.link === undefined ? undefined : decodeInviteLink(how.link).mesh, person)
  const joinAs = (who: Identity): Promise<Joined & { seeds: string[] }> =>
    how.link === undefined
      ? joinNearMesh(who, { wanted: how.mesh, name: how.name }, person)
      : joinMesh({ clock: systemClock, log: silentLogger, identity: who }, decodeInviteLink(how.link), how.name, how)
  // Whoever is let in is wanted all the same, and a link was not used yet.
  const label = (await isUsedTwice(paths.state, identity)) ? 'copied' : undefined
  const membershipIn = ({ genesis, secret, seeds }: Joined & { seeds: string[] }): Membership =>
    membershipOf(genesis, secret, seeds)
  const keep = async (is: Joined & { seeds: string[] }): Promise<void> =>
    await adopt(paths.state, membershipIn(is), is.roster)
  return membershipIn(await become(paths.state, identity, { join: joinAs, keep, onNewKey, label }))
}

async function ownMesh(
  paths: ShoalPaths,
  identity: Identity,
  init: { nodeName: string; meshName?: string | undefined; openLan: boolean },
): Promise<{ membership: Membership; phrase?: string }> {
  const known = await knownMesh(paths.state)
  if (known !== undefined && init.openLan && !known.open) {
    throw new ShoalError('ERR_USAGE', `this machine belongs to ${known.name}, which is not open and cannot become so`, {
      hint: 'Leave it first (`shoal leave`), then make an open one.',
    })
  }
  if (known !== undefined) return { membership: known }
  return await alone(paths, async () => {
    // Somebody else may have been quicker.
    const made = await knownMesh(paths.state)
    if (made !== undefined) return { membership: made }
    await putAside(paths.state, `before-${systemClock.wall()}`)
    const name = fitting(init.meshName ?? `${init.nodeName}'s mesh`)
    return await foundMesh(systemClock, paths.state, identity, { name, nodeName: init.nodeName, open: init.openLan })
  })
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
    return chosenName.safeParse(name).success ? name : hostname()
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return hostname()
    throw error
  }
}
