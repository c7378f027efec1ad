import { existsSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { Environment, ShoalPaths } from '../base/paths.ts'
import { loadIdentity } from '../mesh/identity.ts'
import { decodeLink } from '../mesh/link.ts'
import { createMembership, loadMembership, type Membership, saveMembership } from '../mesh/membership.ts'
import { type BuiltShim, buildObserver, buildShim } from '../shim/build.ts'
import { writeDurably } from '../store/durable.ts'

const nodeName = z.string().min(1).max(64)
const requestSchema = z.discriminatedUnion('action', [
  z.object({
    action: z.literal('init'),
    name: nodeName.optional(),
    meshName: z.string().min(1).max(64).optional(),
    openLan: z.boolean().default(false),
  }),
  z.object({ action: z.literal('join'), link: z.string().max(8192), name: nodeName.optional() }),
])

export interface SetupAnswer {
  /** Every file that was written. */
  touched: string[]
  mesh: { id: string; name: string }
  shim: string
}

/**
 * Sets this machine up, or makes it a member of another mesh. Safe to repeat: what is there already stays.
 * @throws ShoalError ERR_USAGE, ERR_INVITE, ERR_SHIM_BUILD, ERR_CONFIG
 */
export async function setUp(request: unknown, paths: ShoalPaths, env: Environment): Promise<SetupAnswer> {
  const parsed = requestSchema.safeParse(request)
  if (!parsed.success) throw new ShoalError('ERR_USAGE', parsed.error.issues[0]?.message ?? 'unknown request')
  const { data } = parsed
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
  await fresh(join(paths.state, 'identity.key'), () => loadIdentity(paths.state))
  const membership = data.action === 'join' ? decodeLink(data.link) : await ownMesh(paths, data)
  const known = await currentMesh(paths)
  if (known?.id !== membership.id || known.seeds.join() !== membership.seeds.join()) {
    await saveMembership(paths.state, membership)
    touched.push(join(paths.state, 'mesh.json'))
  }
  const shim = await buildShim({ rustc: env.RUSTC || 'rustc', outDir: paths.shimDir })
  const observer = await observerOrNone(paths, env)
  for (const part of [shim, observer]) if (part?.built) touched.push(part.path)
  return { touched, mesh: { id: membership.id, name: membership.name }, shim: shim.path }
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

async function ownMesh(
  paths: ShoalPaths,
  init: { name?: string | undefined; meshName?: string | undefined; openLan: boolean },
): Promise<Membership> {
  const known = await currentMesh(paths)
  if (known !== undefined) return known
  if (init.openLan) {
    throw new ShoalError('ERR_UNSUPPORTED', 'open meshes are not there yet', {
      hint: 'Make an ordinary one and hand out its link: `shoal init`, then `shoal invite`.',
    })
  }
  return createMembership({ name: init.meshName ?? `${init.name ?? hostname()}'s mesh`.slice(0, 64) })
}

async function currentMesh(paths: ShoalPaths): Promise<Membership | undefined> {
  try {
    return await loadMembership(paths.state)
  } catch (error) {
    if (codeOf(error) === 'ERR_NO_MESH') return undefined
    throw error
  }
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
