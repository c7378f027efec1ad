import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Holding } from '../recall/recall.ts'
import { digestOf } from '../wire/cid.ts'

const dhtDeadlineMs = 300
const dialDeadlineMs = 500

/**
 * Who has done this? Connected members first; the DHT only while it can know more than they do, that is while a member
 * that may hold something is not connected.
 */
export async function askMesh(
  mesh: Mesh,
  clock: Clock,
  key: CID,
  { budgetMs, signal, work }: { budgetMs: number; signal: AbortSignal; work?: Uint8Array | undefined },
): Promise<Holding[]> {
  const ask = async (): Promise<Holding[]> => {
    const answers = await mesh.ask([digestOf(key)], { budgetMs, enough: 1, signal, works: [work] })
    return answers.map(({ peerId, traces }) => ({ peer: peerId, traces }))
  }
  const answers = await ask()
  if (answers.length > 0 || !mesh.shouldAskDht()) return answers
  const providers = await mesh.findProviders(key, { signal, deadlineMs: dhtDeadlineMs })
  // Those that were connected have said no; the others are being dialled since they were found.
  if (!(await anyComesUp(mesh, clock, providers))) return []
  return await ask()
}

async function anyComesUp(mesh: Mesh, clock: Clock, providers: readonly string[]): Promise<boolean> {
  const connected = new Set(mesh.peers().flatMap((peer) => (peer.connected ? [peer.peerId] : [])))
  const awaited = providers.filter((peer) => !connected.has(peer))
  if (awaited.length === 0) return false
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const forget = mesh.onPeer((peer, up) => {
    if (up && awaited.includes(peer)) resolve(true)
  })
  const cancel = clock.after(dialDeadlineMs, () => resolve(false))
  try {
    return await promise
  } finally {
    forget()
    cancel()
  }
}
