import type { CID } from 'multiformats/cid'
import { sameBytes } from '../mesh/statement.ts'
import { unwatched } from '../recall/signed-claim.ts'
import { hexOf } from '../wire/cid.ts'
import type { Audit } from './audits.ts'
import type { Lent } from './compile-needs.ts'
import type { Rerun } from './verdict.ts'

export interface EarlyAuditNeeds {
  rerun(signal: AbortSignal): Promise<Rerun | undefined>
  /** The metadata came out as it was announced. */
  kept(): void
  /** Twice the same came out, and not what was announced. */
  broken(): Promise<void>
}

/** Makes a unit again whose metadata a lender announced before it was lost. */
export function earlyAudit({ planned }: Lent, metadata: CID, needs: EarlyAuditNeeds): Audit {
  const announced = metadata.multihash.digest
  const came: Uint8Array[] = []
  return {
    key: `early ${hexOf(planned.key)}`,
    crate: planned.crate,
    case: async () => {
      came.length = 0
      return { claims: [], own: { outputs: announced, reads: unwatched }, usesMacros: planned.usesMacros }
    },
    rerun: async (signal) => {
      const made = (await needs.rerun(signal))?.metadata?.multihash.digest
      if (made === undefined) return undefined
      came.push(made)
      return { outputs: made, reads: undefined }
    },
    settle: async ({ kind }) => {
      const [first, second] = came
      if (kind === 'agreed') needs.kept()
      else if (first !== undefined && second !== undefined && sameBytes(first, second)) await needs.broken()
    },
  }
}
