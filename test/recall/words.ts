import type { Datastore, Key } from 'interface-datastore'
import { ShoalError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import { meshKeyOf } from '../../src/mesh/genesis.ts'
import { peerIdOf } from '../../src/mesh/members.ts'
import { revoke } from '../../src/mesh/revocation.ts'
import { encodeResult, type ReadSet, type Result } from '../../src/plan/action.ts'
import { ClaimStore } from '../../src/recall/claim-store.ts'
import { Judge, type JudgeNeeds } from '../../src/recall/judge.ts'
import {
  type ClaimBody,
  evidenceOf,
  outputsDigest,
  type SignedClaim,
  signClaim,
} from '../../src/recall/signed-claim.ts'
import { office, type Person, start } from '../mesh/office.ts'

/** What a database keeps, in memory. */
function memory(): Pick<Datastore, 'get' | 'put' | 'delete'> {
  const values = new Map<string, Uint8Array>()
  return {
    get(key: Key) {
      const value = values.get(key.toString())
      if (value === undefined) throw Object.assign(new Error('none'), { name: 'NotFoundError' })
      return value
    },
    put(key: Key, value: Uint8Array) {
      values.set(key.toString(), value)
      return key
    },
    delete(key: Key) {
      values.delete(key.toString())
    },
  }
}

/** A mesh of people who sign, and what one of them makes of it. */
export class Court {
  readonly mesh = office()
  readonly liars = new Set<string>()
  readonly unsteady = new Set<string>()
  readonly unreliable = new Set<string>()
  /** Hex of what `subjectOf` gives. */
  readonly doubted = new Set<string>()
  readonly roster = this.mesh.roster(this.mesh.ann, this.mesh.ivy, this.mesh.max)
  readonly store = new ClaimStore({ datastore: memory(), log: silentLogger })
  readonly members: JudgeNeeds['members']
  readonly judge: Judge

  /** @param self default: max */
  constructor(self: (mesh: Court['mesh']) => Person = ({ max }) => max) {
    const { genesis } = this.mesh
    const { key } = self(this.mesh)
    const { roster } = this
    const objectionTo = (peerId: string): ShoalError | undefined => {
      const isMember = roster.members(start).some((member) => member.peerId === peerId)
      return isMember ? undefined : new ShoalError('ERR_NOT_MEMBER', peerId)
    }
    this.members = { genesis, key: key.publicKey, signer: key, now: start, roster, objectionTo }
    this.judge = new Judge({
      members: this.members,
      store: this.store,
      isLiar: (peerId) => this.liars.has(peerId),
      isDoubted: (claim) => this.doubted.has(Buffer.from(claim).toString('hex')),
      isUnreliable: (peerId) => this.unreliable.has(peerId),
      isUnsteady: (name) => this.unsteady.has(name),
      log: silentLogger,
    })
  }

  /** Somebody's word. */
  claim(by: Pick<Person, 'key'>, result: Result, reads: ReadSet, change: Partial<ClaimBody> = {}): SignedClaim {
    const body = {
      mesh: meshKeyOf(this.mesh.genesis),
      action: result.action,
      evidence: evidenceOf(reads),
      outputs: outputsDigest(result),
      result: encodeResult(result).cid,
      package: 'x 1.0.0',
      tier: 'confined' as const,
      at: start,
      wallMs: result.wallMs,
    }
    return signClaim({ ...body, ...change }, by.key)
  }
}

export const peerOf = ({ key }: Pick<Person, 'key'>): string => peerIdOf(key.publicKey)

/** Shuts somebody out. */
export const kickStatement = (by: Person, whom: Pick<Person, 'key'>): Uint8Array =>
  revoke(by, { kind: 'key', key: whom.key.publicKey }, 'kicked', start).bytes
