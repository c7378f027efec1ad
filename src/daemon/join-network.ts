import { systemClock } from '../base/clock.ts'
import { foreignText, ShoalError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { askToJoin, enterMesh, findMeshes, type HeardMesh } from '../mesh/ask.ts'
import { type Identity, passingIdentity } from '../mesh/identity.ts'
import { hex } from '../mesh/statement.ts'
import type { Joined } from '../mesh/welcome.ts'

/** What a person is told, or asked, while a machine is being set up. */
export type Word =
  /** To be said to somebody of the mesh. */
  | { word: 'code'; mesh: string; code: string }
  /** The mesh says that somebody has said yes: has anybody, really? */
  | { word: 'approved'; mesh: string; code: string }
  /** The mesh lets everybody in: is it the one that is meant? */
  | { word: 'open'; mesh: string }
  /** This machine is the only administrator of the mesh that it would go out of, and has others in it: is that meant? */
  | { word: 'leaves'; mesh: string; members: number }

/** Who sits before the machine that is being set up. */
export interface Person {
  tell(word: Word): void
  agrees(word: Word): Promise<boolean>
}

/** A mesh on the local network, as it says. */
export interface NearMesh {
  /** 32 hexadecimal digits. */
  id: string
  name: string
  open: boolean
}

const joinListenMs = 3000
const lookListenMs = 900

/** Which meshes can be heard on the local network; within two seconds, and at once where there is no network. */
export async function nearMeshes(): Promise<NearMesh[]> {
  const found = await findMeshes(needsOf(await passingIdentity()), lookListenMs)
  return found.map(viewOf)
}

/**
 * Joins a mesh that is heard on the local network: the only one, or that of which `wanted` is the name or the beginning of the id.
 * @throws ShoalError ERR_PEER_LOST when none is heard, ERR_USAGE when it is not clear which, ERR_ROLE when the person does not
 *   agree; as `askToJoin`
 */
export async function joinNearMesh(
  identity: Identity,
  init: { wanted: string | undefined; name: string },
  person: Person,
): Promise<Joined & { seeds: string[] }> {
  const needs = needsOf(identity)
  const mesh = chosen(await findMeshes(needs, joinListenMs), init.wanted)
  const seeds = mesh.addresses.slice(0, 3).map(String)
  if (mesh.open) {
    await agreed(person, { word: 'open', mesh: mesh.name })
    return { ...(await enterMesh(needs, mesh, init.name)), seeds }
  }
  let shown = ''
  const joined = await askToJoin(needs, mesh, init.name, (code) => {
    shown = code
    person.tell({ word: 'code', mesh: mesh.name, code })
  })
  await agreed(person, { word: 'approved', mesh: mesh.name, code: shown })
  return { ...joined, seeds }
}

async function agreed(person: Person, word: Word): Promise<void> {
  if (await person.agrees(word)) return
  throw new ShoalError('ERR_ROLE', 'this machine has joined nothing', {
    hint: 'Whoever says to be that mesh may be somebody else. Ask somebody of it for a link: `shoal invite`.',
  })
}

function chosen(meshes: readonly HeardMesh[], wanted: string | undefined): HeardMesh {
  if (meshes.length === 0) {
    throw new ShoalError('ERR_PEER_LOST', 'no mesh is heard on the local network', {
      hint: 'Is a node of it running here whose member may invite? Otherwise ask for a link: `shoal invite`.',
    })
  }
  const matching = meshes.filter(({ mesh, name }) => {
    return wanted === undefined || name === wanted || (wanted.length >= 6 && hex(mesh).startsWith(wanted))
  })
  const [first, ...more] = matching
  if (first !== undefined && more.length === 0) return first
  const list = meshes.map(({ mesh, name }) => `${foreignText(name)} (${hex(mesh).slice(0, 8)})`).join(', ')
  const problem = wanted === undefined || matching.length > 1 ? 'several meshes are heard' : `${wanted} is not heard`
  throw new ShoalError('ERR_USAGE', `${problem}: ${list}`, {
    hint: 'Choose one: `shoal join --mesh NAME`, or the id that stands behind the name.',
  })
}

function viewOf({ mesh, name, open }: HeardMesh): NearMesh {
  return { id: hex(mesh), name, open }
}

function needsOf(identity: Identity) {
  return { clock: systemClock, log: silentLogger, identity }
}
