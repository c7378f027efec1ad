import { systemClock } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import type { Environment, ShoalPaths } from '../base/paths.ts'
import { loadIdentity } from '../mesh/identity.ts'
import { signingKeyOf } from '../mesh/members.ts'
import { loadMembership } from '../mesh/membership.ts'
import { loadRoster } from '../mesh/roster-file.ts'
import { sameBytes } from '../mesh/statement.ts'
import { type Built, buildObserver, buildShim, isObserverBuilt, isShimBuilt } from '../shim/build.ts'

/** What the files of this node say; for `shoal doctor`, with or without a node that runs. */
export interface Examined {
  shim: Part
  /** Null where there is none for this platform. */
  observer: Part | null
  mesh: MeshState | { code: string; message: string; hint: string }
}

interface Part {
  state: Built
  /** Why it could not be told, or made. */
  problem?: string
}

interface MeshState {
  id: string
  name: string
  open: boolean
  /** What the others call this node; null when it is no member. */
  called: string | null
  /** Of this node. */
  roles: readonly string[]
  /** ISO 8601; null when this node is no member. */
  validUntil: string | null
  /** Why this node is none, and as which code. */
  objection: string | null
  objectionCode: string | null
  admins: number
  members: number
}

/** @param fix builds what is missing or of another version */
export async function examine(paths: ShoalPaths, env: Environment, fix: boolean): Promise<Examined> {
  const options = { rustc: env.RUSTC || 'rustc', outDir: paths.shimDir }
  const part = async (
    isBuilt: () => Promise<Built | undefined>,
    build: () => Promise<unknown>,
  ): Promise<Part | null> => {
    try {
      const state = await isBuilt()
      if (state === undefined) return null
      if (!fix || state === 'current') return { state }
      await build()
      return { state: 'current' }
    } catch (error) {
      return { state: 'missing', problem: toShoalError(error).message }
    }
  }
  const shim = await part(
    () => isShimBuilt(options),
    () => buildShim(options),
  )
  const observer = await part(
    () => isObserverBuilt(options),
    () => buildObserver(options),
  )
  return { shim: shim ?? { state: 'missing' }, observer, mesh: await meshState(paths.state) }
}

/** What the files of this node say of its mesh. */
export async function meshState(stateDir: string): Promise<Examined['mesh']> {
  const now = systemClock.wall()
  try {
    const { id, name, open } = await loadMembership(stateDir)
    const roster = await loadRoster(stateDir, now)
    const { publicKey } = signingKeyOf(await loadIdentity(stateDir))
    const members = roster.members(now)
    const self = members.find(({ key }) => sameBytes(key, publicKey))
    return {
      id,
      name,
      open,
      called: self?.name ?? null,
      roles: self?.roles ?? [],
      validUntil: self === undefined ? null : new Date(self.notAfter).toISOString(),
      ...(self === undefined ? objectionFrom(() => roster.verify(publicKey, now)) : noObjection),
      admins: members.filter(({ roles }) => roles.includes('admin')).length,
      members: members.length,
    }
  } catch (error) {
    const { code, message, hint } = toShoalError(error)
    return { code, message, hint }
  }
}

const noObjection = { objection: null, objectionCode: null }

function objectionFrom(verify: () => unknown): Pick<MeshState, 'objection' | 'objectionCode'> {
  try {
    verify()
    return noObjection
  } catch (error) {
    if (error instanceof ShoalError) return { objection: error.message, objectionCode: error.code }
    throw error
  }
}
