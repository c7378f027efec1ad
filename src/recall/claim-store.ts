import { type Datastore, Key } from 'interface-datastore'
import { z } from 'zod'
import { BoundedMap } from '../base/bounded-map.ts'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { sameBytes } from '../mesh/statement.ts'
import { decodeCbor, encodeCbor } from '../wire/cbor.ts'
import { hexOf } from '../wire/cid.ts'
import { maxClaimBytes, readClaim, type SignedClaim } from './signed-claim.ts'

const prefix = '/claims/'
/** Of one action: of one signer, and of all. A member that signs much crowds out nobody but itself. */
const maxOfOne = 8
const maxOfAll = 64
/** As many as this node's own may become. */
const maxOwn = 32
const standing = { idle: 0, counting: 1, own: 2 }
/** What a claim is worth here: what counts for nothing makes room first. */
export type Standing = keyof typeof standing
const maxCached = 4096

const entrySchema = z.array(z.instanceof(Uint8Array)).max(maxOfAll)

export interface ClaimStoreNeeds {
  /** May be shared: only keys below `/claims/` are used. */
  datastore: Pick<Datastore, 'get' | 'put'>
  log: Logger
}

/**
 * Claims by action key (hex sha2-256), as they came. One signer's claim never takes the place of another's; of one signer's about
 * one action the oldest go when there are too many, and of all those first that count for nothing. Whatever is in here had a good signature when it was added.
 */
export class ClaimStore {
  readonly #needs: ClaimStoreNeeds
  readonly #cached = new BoundedMap<string, readonly SignedClaim[]>(maxCached)
  #writing: Promise<void> = Promise.resolve()

  constructor(needs: ClaimStoreNeeds) {
    this.#needs = needs
  }

  /** Oldest first; empty when there is none. */
  async of(keyHex: string): Promise<readonly SignedClaim[]> {
    const cached = this.#cached.get(keyHex)
    if (cached !== undefined) return cached
    const claims = await this.#read(keyHex)
    this.#remember(keyHex, claims)
    return claims
  }

  /**
   * Keeps claims about one action, unless they are known, or all that is kept is worth as much.
   * @throws ShoalError ERR_STORE
   */
  async add(
    claims: readonly SignedClaim[],
    standingOf: (claim: SignedClaim) => Standing = () => 'counting',
  ): Promise<void> {
    const [first] = claims
    if (first === undefined) return
    const keyHex = hexOf(first.body.action)
    await this.#change(keyHex, (before) => {
      let all = [...before]
      for (const claim of claims) {
        if (hexOf(claim.body.action) !== keyHex || all.some(({ bytes }) => sameBytes(bytes, claim.bytes))) continue
        const theirs = all.filter(({ body }) => sameBytes(body.signer, claim.body.signer))
        const [oldest] = theirs
        const worth = standingOf(claim)
        if (theirs.length >= (worth === 'own' ? maxOwn : maxOfOne)) all = all.filter((other) => other !== oldest)
        if (all.length >= maxOfAll) {
          const least = all.reduce((a, b) => (standing[standingOf(b)] < standing[standingOf(a)] ? b : a))
          if (standing[standingOf(least)] >= standing[worth]) continue
          all = all.filter((other) => other !== least)
        }
        all.push(claim)
      }
      return all
    })
  }

  async #change(keyHex: string, change: (before: readonly SignedClaim[]) => SignedClaim[]): Promise<void> {
    const done = this.#writing.then(async () => {
      const before = await this.of(keyHex)
      const after = change(before)
      if (after.length === before.length && after.every((claim, at) => claim === before[at])) return
      const name = new Key(`${prefix}${keyHex}`, false)
      this.#cached.delete(keyHex)
      try {
        await this.#needs.datastore.put(name, encodeCbor(after.map(({ bytes }) => bytes)).bytes)
      } catch (error) {
        throw new ShoalError('ERR_STORE', 'claims cannot be kept', { cause: error })
      }
      this.#remember(keyHex, after)
    })
    this.#writing = done.catch(() => undefined)
    await done
  }

  async #read(keyHex: string): Promise<SignedClaim[]> {
    try {
      const value = await this.#needs.datastore.get(new Key(`${prefix}${keyHex}`, false))
      return decodeCbor(value, entrySchema, maxOfAll * (maxClaimBytes + 16)).map(readClaim)
    } catch (error) {
      if (error instanceof Error && error.name === 'NotFoundError') return []
      this.#needs.log.warn('claims cannot be read', { code: codeOf(error) ?? 'ERR_STORE', key: keyHex })
      return []
    }
  }

  #remember(keyHex: string, claims: readonly SignedClaim[]): void {
    this.#cached.set(keyHex, claims)
  }
}
