import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type RunAuditNeeds, runAudit, type TakenWord } from '../../src/daemon/run-audit.ts'
import { tryCase, type Verdict } from '../../src/daemon/verdict.ts'
import { peerIdOf } from '../../src/mesh/members.ts'
import type { ReadSet } from '../../src/plan/action.ts'
import type { SignedClaim } from '../../src/recall/signed-claim.ts'
import { hexOf } from '../../src/wire/cid.ts'
import { office } from '../mesh/office.ts'
import { content } from '../recall/support.ts'

const key = content('key')
const result = content('result')
const name = 'fish-sys 1.0.0 build script'
const env: [string, string][] = [
  ['CARGO_PKG_NAME', 'fish-sys'],
  ['CARGO_PKG_VERSION', '1.0.0'],
]
const reads: ReadSet = { reads: [['file', '\0registry\0/fish/c/x.c', content('x')]], env: [] }
const mesh = office()
const claimOf = (publicKey: Uint8Array): SignedClaim =>
  ({
    bytes: publicKey,
    body: { signer: publicKey, action: key, outputs: Buffer.from('fins'), evidence: publicKey, tier: 'host' },
  }) as unknown as SignedClaim
const claims = [mesh.ann, mesh.ivy].map(({ key: { publicKey } }) => claimOf(publicKey))
const peers = claims.map(({ body }) => peerIdOf(body.signer))

/** What is done when a script comes out as `made`, one after the other. */
async function tried(made: readonly (string | undefined)[], looked: ReadSet | undefined = reads): Promise<string[]> {
  const did: string[] = []
  const who = (peer: string): string => ['ann', 'ivy'][peers.indexOf(peer)] ?? peer
  const needs = {
    trust: {
      determinism: {
        note: async (of: string, _: string, isSame: boolean) => void did.push(`${of} ${isSame ? 'same' : 'different'}`),
      },
      standings: {
        agreed: async (peer: string) => void did.push(`agreed ${who(peer)}`),
        doubt: async () => void did.push('doubted'),
        unexplained: async (peer: string) => void did.push(`unexplained ${who(peer)}`),
      },
      unexplained: { note: async (peer: string, of: string) => of === name && who(peer) !== 'ivy' },
      judge: { isWorthTrying: () => true },
    },
    makeAgain: async (of: ReadSet) => {
      assert.deepEqual(of, reads)
      const next = left.shift()
      return next === undefined ? undefined : { outputs: Buffer.from(next), reads: looked }
    },
    drop: async (of: string, cid: unknown) => {
      assert.deepEqual([of, cid], [hexOf(key), result])
      did.push('dropped')
    },
  }
  const left = [...made]
  const planned = { key, action: { what: 'build-script-run', toolchain: 'a', env } } as unknown as TakenWord['planned']
  const audit = runAudit({ planned, claims, reads, result }, needs as unknown as RunAuditNeeds)
  const known = await audit.case()
  assert.ok(known !== undefined)
  const verdict: Verdict = await tryCase(known, () => audit.rerun(new AbortController().signal))
  if (verdict.kind === 'disagreed') assert.deepEqual(verdict.liars, [])
  await audit.settle(verdict)
  return did
}

test('who said what comes out here was right', async () => {
  assert.deepEqual(await tried(['fins']), [`${name} same`, 'agreed ann', 'agreed ivy'])
})

test('what comes out otherwise is taken away, and counts once for each package against those who said it, and none is a liar', async () => {
  const against = ['doubted', 'unexplained ann', 'doubted', 'dropped']
  assert.deepEqual(await tried(['tail', 'tail']), against)
  // The same, made of what they did not name.
  const more: ReadSet = { ...reads, reads: [...reads.reads, ['file', '\0registry\0/fish/c/y.c', content('y')]] }
  assert.deepEqual(await tried(['fins'], more), against)
})

test('what comes out otherwise each time is taken away, and nobody is to blame', async () => {
  assert.deepEqual(await tried(['tail', 'fins']), [`${name} different`, 'dropped'])
})

test('of what cannot be run again, once or twice, nothing is known', async () => {
  for (const made of [[undefined], ['tail', undefined]]) assert.deepEqual(await tried(made), [])
})
