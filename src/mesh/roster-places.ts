import { type Entry, isGoodBye } from './roster-entry.ts'
import { hex, sameBytes } from './statement.ts'

/** What takes up places. */
type Kind =
  /** Certificates and invitations. */
  | 'issued'
  | 'redeemed'
  /** That keys are in use twice. */
  | 'clones'
  /** Revocations of administrators, as people have told them to … */
  | 'orders'
  /** … and those that come of members' new keys, mostly without a person: whatever fills these, people can still kick … */
  | 'ends'
  /** … of everybody else … */
  | 'notices'
  /** … and good-byes, of which a key has no more than it has reasons: nothing else that it says can take their places. */
  | 'byes'

/** Of one key: so many that it signs itself, and so many that are signed by those below it. */
interface Share {
  own: number
  below: number
}

export interface RosterLimits {
  /** So many of all issuers together but for the root; certificates, invitations, redemptions and clones share one pool. */
  pools: { passing: number; orders: number; ends: number; notices: number; byes: number }
  /** So many more for the root. */
  root: number
  shares: Record<Kind, Share>
  /** In a day so many may take the place of an older one for the same member. */
  replacements: { certificates: Share; ends: Share; byes: Share }
}

export const rosterLimits: RosterLimits = {
  pools: { passing: 3072, orders: 1024, ends: 384, notices: 128, byes: 384 },
  root: 1024,
  shares: {
    issued: { own: 1024, below: 2048 },
    redeemed: { own: 1024, below: 2048 },
    clones: { own: 16, below: 64 },
    orders: { own: 256, below: 512 },
    ends: { own: 128, below: 192 },
    notices: { own: 64, below: 96 },
    byes: { own: 128, below: 384 },
  },
  replacements: {
    certificates: { own: 1024, below: 2048 },
    ends: { own: 128, below: 192 },
    byes: { own: 8, below: 128 },
  },
}
/** No roster holds more. */
export const maxStatements = totalOf(rosterLimits)

const dayMs = 24 * 3_600_000

interface Charge {
  counter: string
  most: number
}

/**
 * Counts the places of a roster. Every statement is charged to its issuer and to all issuers above that, because a key can
 * invent as many keys below it as it likes. What a key signs and what those below it sign is counted apart: so nobody takes
 * from another one's issuer the places that it needs to shut somebody out.
 */
export class Places {
  readonly #root: Uint8Array
  readonly #limits: RosterLimits
  readonly #counts = new Map<string, number>()
  #size = 0
  /** Replacements since `#since`. */
  readonly #spent = new Map<string, number>()
  #since = 0

  constructor(root: Uint8Array, limits: RosterLimits) {
    this.#root = root
    this.#limits = limits
  }

  /** Why there is no room for one more; undefined when there is. */
  objectionTo(entry: Entry): string | undefined {
    if (this.#size >= totalOf(this.#limits)) return `${this.#size} statements`
    const full = this.#fullFor(entry)
    return full === undefined ? undefined : `no more than ${full.most} (${full.counter})`
  }

  /** Whether without `other` there would be more room for `entry`. */
  isInTheWay(other: Entry, entry: Entry): boolean {
    if (this.#size >= totalOf(this.#limits)) return true
    const full = this.#fullFor(entry)
    return full !== undefined && this.#chargesOf(other).some(({ counter }) => counter === full.counter)
  }

  #fullFor(entry: Entry): Charge | undefined {
    return this.#chargesOf(entry).find(({ counter, most }) => (this.#counts.get(counter) ?? 0) >= most)
  }

  add(entry: Entry): void {
    this.#size += 1
    for (const { counter } of this.#chargesOf(entry)) this.#counts.set(counter, (this.#counts.get(counter) ?? 0) + 1)
  }

  remove(entry: Entry): void {
    this.#size -= 1
    for (const { counter } of this.#chargesOf(entry)) {
      const left = (this.#counts.get(counter) ?? 0) - 1
      if (left > 0) this.#counts.set(counter, left)
      else this.#counts.delete(counter)
    }
  }

  /**
   * Why an entry may not take the place of another one today; undefined when it may, and then that counts. What another issuer says takes
   * up one of its own places.
   */
  objectionToReplacing(other: Entry, entry: Entry, now: number): string | undefined {
    const isSameIssuer = sameBytes(other.statement.body.issuer, entry.statement.body.issuer)
    this.remove(other)
    const objection = isSameIssuer ? undefined : this.objectionTo(entry)
    this.add(other)
    return objection ?? (this.#mayReplace(entry, now) ? undefined : 'too many for one member today')
  }

  #mayReplace(entry: Entry, now: number): boolean {
    if (now < this.#since || now >= this.#since + dayMs) {
      this.#since = now
      this.#spent.clear()
    }
    const name = isGoodBye(entry) ? 'byes' : entry.kind === 'revocation' ? 'ends' : 'certificates'
    const charges = this.#issuersOf(entry, name, this.#limits.replacements[name])
    if (charges.some(({ counter, most }) => (this.#spent.get(counter) ?? 0) >= most)) return false
    for (const { counter } of charges) this.#spent.set(counter, (this.#spent.get(counter) ?? 0) + 1)
    return true
  }

  #chargesOf(entry: Entry): Charge[] {
    if (this.#isRoots(entry)) return []
    const kind = kindOf(entry)
    const pool = kind === 'issued' || kind === 'redeemed' || kind === 'clones' ? 'passing' : kind
    return [
      ...this.#issuersOf(entry, kind, this.#limits.shares[kind]),
      { counter: `${pool} of all`, most: this.#limits.pools[pool] },
    ]
  }

  #issuersOf(entry: Entry, what: string, { own, below }: Share): Charge[] {
    if (this.#isRoots(entry)) return []
    const [, ...above] = entry.statement.chain.map(({ body }) => body)
    return [
      { counter: `${what} by ${hex(entry.statement.body.issuer)}`, most: own },
      ...above.map(({ subject, roles }) => ({
        counter: `${what} below ${hex(subject)}`,
        // Below an inviter there are only members, and they say little.
        most: roles.includes('admin') ? below : Math.min(own, below),
      })),
    ]
  }

  #isRoots({ statement }: Entry): boolean {
    return sameBytes(statement.body.issuer, this.#root)
  }
}

function kindOf(entry: Entry): Kind {
  const { kind, statement } = entry
  switch (kind) {
    case 'certificate':
    case 'invite':
      return 'issued'
    case 'redemption':
      return 'redeemed'
    case 'clone':
      return 'clones'
    case 'revocation':
      if (isGoodBye(entry)) return 'byes'
      if (statement.chain[0]?.body.roles.includes('admin') !== true) return 'notices'
      return statement.body.reason === 'rekeyed' ? 'ends' : 'orders'
  }
}

function totalOf({ pools, root }: RosterLimits): number {
  return pools.passing + pools.orders + pools.ends + pools.notices + pools.byes + root
}
