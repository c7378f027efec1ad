import type { CID } from 'multiformats/cid'
import { ShoalError } from '../base/errors.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { BlockStore } from '../store/blocks.ts'
import type { TraceStore } from '../store/traces.ts'
import type { PrivateUnits } from './private-units.ts'
import { cacheView } from './status.ts'
import type { Supply } from './supply.ts'

/** A larger block that went bad is got again when somebody needs it. */
const maxRefetchBytes = 256 << 20

/** What people can have done about what this node keeps. Each answer ends with what is there afterwards. */
export interface CacheCare {
  stats(): Promise<Record<string, unknown>>
  /** Down to `toBytes`; without it as far as the store shrinks when it has run full. */
  gc(toBytes: number | undefined): Promise<Record<string, unknown>>
  /** Reads everything that is kept; what is bad is got from a member that has it. */
  verify(): Promise<Record<string, unknown>>
  /** Forgets all results and removes their blocks, and the toolchains of others, except what is in use at this moment. */
  purge(): Promise<Record<string, unknown>>
}

export interface CacheCareNeeds {
  blocks: BlockStore
  traces: TraceStore
  /** `purge` returns the bytes that it removed. */
  toolchains: { purge(): Promise<number> }
}

export function cacheCare({ blocks, traces, toolchains }: CacheCareNeeds): CacheCare {
  const stats = (): Promise<Record<string, unknown>> => cacheView({ blocks, traces })
  return {
    stats,
    async gc(toBytes) {
      const freed = await blocks.shrink(toBytes)
      return { ...(await stats()), freed }
    },
    async verify() {
      const { checked, bad, replaced } = await blocks.verify()
      return { ...(await stats()), verified: { checked, bad, replaced } }
    },
    async purge() {
      // A result without its blocks is a miss; blocks without a result are only in the way.
      for await (const key of traces.keys()) await traces.remove(key)
      const freed = await blocks.purge()
      const bytes = freed.bytes + (await toolchains.purge())
      return { ...(await stats()), freed: { ...freed, bytes } }
    },
  }
}

/** Gets a block that went bad from whichever connected member has it. */
export async function refetch(
  cid: CID,
  signal: AbortSignal,
  {
    mesh,
    supply,
    privateUnits,
  }: { mesh: Pick<Mesh, 'peers'>; supply: Pick<Supply, 'bytes'>; privateUnits: Pick<PrivateUnits, 'hasBlock'> },
): Promise<void> {
  if (privateUnits.hasBlock(cid)) throw new ShoalError('ERR_BLOCK_MISSING', 'private: nobody is asked for it')
  const from = mesh.peers().flatMap(({ connected, peerId }) => (connected ? [peerId] : []))
  await supply.bytes(cid, { from, maxBytes: maxRefetchBytes, signal })
}
