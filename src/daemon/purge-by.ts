import { ShoalError } from '../base/errors.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Given } from './given.ts'
import type { Placed } from './placed.ts'

export interface PurgeNeeds {
  mesh: Pick<Mesh, 'peers'>
  given: Pick<Given, 'purge'>
  /** The same of runs of build scripts. */
  givenRuns: Pick<Given, 'purge'>
  placed: Pick<Placed, 'makers' | 'release'>
}

/**
 * Drops all that a member ever gave this node: results recalled from it or compiled by it, what its build scripts are said to have done, and
 * what it placed here.
 * @param name as in `peers`, or a peerId; a member that is not known any more has that only
 * @throws ShoalError ERR_USAGE when it is nobody, or several have the name
 */
export async function purgeBy(
  name: string,
  { mesh, given, givenRuns, placed }: PurgeNeeds,
): Promise<Record<string, unknown>> {
  const peer = peerCalled(name, mesh)
  const keys = placed.makers().get(peer) ?? []
  for (const key of keys) await placed.release(peer, key)
  const [compiled, ran] = [await given.purge(peer), await givenRuns.purge(peer)]
  const results = compiled.results + ran.results
  return { schema: 1, peerId: peer, results, files: compiled.files + ran.files, placed: keys.length }
}

const peerIdPattern = /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/

function peerCalled(name: string, mesh: Pick<Mesh, 'peers'>): string {
  const found = mesh.peers().filter((peer) => peer.name === name || peer.peerId === name)
  const [peer] = found
  if (found.length > 1) {
    const hint = `Say which by peerId: ${found.map(({ peerId }) => peerId).join(', ')}`
    throw new ShoalError('ERR_USAGE', 'several members have this name', { hint })
  }
  if (peer !== undefined) return peer.peerId
  if (peerIdPattern.test(name)) return name
  throw new ShoalError('ERR_USAGE', 'no member has this name', { hint: '`shoal peers` shows who is known.' })
}
