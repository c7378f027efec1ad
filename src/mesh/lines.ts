import type { Certificate } from './certificate.ts'
import type { Genesis } from './genesis.ts'
import { earlyMs, hex, lateMs, sameBytes } from './statement.ts'
import { before, isAgreed } from './succession.ts'
import { objectionTo, type Verdict } from './verdict.ts'

/** Administrators sign for five keys of a member in 30 days at most, one after the other. */
export const maxLiving = 16

type ByKey = ReadonlyMap<string, readonly Certificate[]>

/**
 * Which keys are one member's, one after the other, as administrators have certified them: a *line*, called after its first key. For a
 * set of certificates and a span of time in which none of them begins or ends; whoever asks later makes another.
 *
 * What administrators say decides whose keys are one person's, and of whom nothing is believed: all of that is over when the
 * certificates of a thief are. What cannot be undone, and what keeps somebody from new dates, needs the word of the key itself
 * (`handedTo`, `handedBy`).
 */
export class Lines {
  /** Hex of a key → whom it stands for, kept for `peopleBehind`. */
  readonly people = new Map<string, ReadonlySet<string>>()
  readonly #genesis: Genesis
  readonly #all: ByKey
  /** Hex of a key → hex of the keys that it follows. */
  readonly #before = new Map<string, Set<string>>()
  /** Hex of a key → hex of those that were certified to come after it: next to it, or as keys of the line whose first it is. */
  readonly #heirs = new Map<string, Set<string>>()
  /** Hex of a key → hex of those that its certificates name as before it. */
  readonly #former = new Map<string, Set<string>>()
  /** Hex of a key → hex of those that it has itself said come after it, and the other way round. */
  readonly #handedTo = new Map<string, Set<string>>()
  readonly #handedBy = new Map<string, Set<string>>()
  /** Hex of a line → hex of its keys, but for the first. */
  readonly #keys = new Map<string, Set<string>>()
  /** Hex of a key → those of its certificates that count, if there are any. */
  readonly #counting = new Map<string, readonly Certificate[]>()
  /** Hex of lines. */
  readonly #administrators = new Set<string>()
  readonly #verdict: Verdict
  readonly #from: number
  readonly #until: number

  /** @param all by the hex of the subject, ranked */
  constructor(genesis: Genesis, all: ByKey, verdict: Verdict, now: number) {
    this.#genesis = genesis
    this.#all = all
    this.#verdict = verdict
    let [from, until] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]
    for (const certificate of [...all.values()].flat()) {
      const { notBefore, notAfter } = certificate.body
      for (const turn of [notBefore - earlyMs, notAfter + lateMs + 1]) {
        if (turn <= now) from = Math.max(from, turn)
        else until = Math.min(until, turn)
      }
      // What became of the subject is nothing here: most of the keys that others follow are out.
      if (verdict.stands(certificate)) for (const link of [certificate, ...certificate.chain]) this.#note(link)
    }
    this.#from = from
    this.#until = until
    for (const key of this.#before.keys()) {
      for (const line of this.#walk(key)) add(this.#keys, line, key)
    }
    for (const [key, certificates] of all) {
      const counting = certificates.filter((certificate) => objectionTo(certificate, verdict, now) === undefined)
      if (counting.length > 0) this.#counting.set(key, counting)
      if (counting[0]?.body.roles.includes('admin') !== true) continue
      for (const line of this.#walk(key)) this.#administrators.add(line)
    }
  }

  /** Whether it still holds. */
  isOf(all: ByKey, now: number): boolean {
    return this.#all === all && now >= this.#from && now < this.#until
  }

  /** Hex of the lines that a key belongs to, sorted: of itself, if it follows none. More than one only if it was certified twice. */
  of(key: Uint8Array): readonly string[] {
    return this.#walk(hex(key))
  }

  /** The line of a key. */
  firstOf(key: Uint8Array): Uint8Array {
    const [first] = this.of(key)
    return first === undefined ? key : new Uint8Array(Buffer.from(first, 'hex'))
  }

  isSame(a: Uint8Array, b: Uint8Array): boolean {
    const line = this.of(a)
    return this.of(b).some((other) => line.includes(other))
  }

  /** Hex of all keys of a line (hex) that are known. */
  keysOf(line: string): string[] {
    return [line, ...(this.#keys.get(line) ?? [])]
  }

  /** Hex of the keys of a key's lines that are a member's now, itself among them. */
  livingWith(key: Uint8Array): string[] {
    const keys = new Set(this.of(key).flatMap((line) => this.keysOf(line)))
    return [...keys].filter((one) => this.#counting.has(one))
  }

  /** Whether the second key (hex) was certified to come after the first, next to it or later. */
  isBefore(key: string, other: string): boolean {
    return key !== other && reaches(this.#former, other, (one) => one === key)
  }

  /** Whether anything was ever certified for a key, or of it, that is known. */
  isKnown(key: Uint8Array): boolean {
    const one = hex(key)
    return this.#all.has(one) || this.#heirs.has(one) || this.#former.has(one) || this.#before.has(one)
  }

  /** Whether a key was certified to come after another one. */
  isHeir(key: Uint8Array): boolean {
    return this.#before.has(hex(key))
  }

  /** Whether a key that is said to come after this one is a member's now. */
  hasHeir(key: Uint8Array): boolean {
    return reaches(this.#heirs, hex(key), (heir) => heir !== hex(key) && this.#counting.has(heir))
  }

  /** Hex of the keys that are a member's now and come after this one by its own word, and that of each in between. */
  handedTo(key: Uint8Array): string[] {
    return this.handedOn(key).filter((heir) => this.#counting.has(heir))
  }

  /** Hex of the keys that are a member's now and come after one of these (hex), as `handedTo` says. */
  handedFrom(keys: readonly string[]): string[] {
    const seen = new Set(keys)
    const found = new Set<string>()
    for (const key of seen) {
      for (const next of this.#handedTo.get(key) ?? []) {
        seen.add(next)
        if (this.#counting.has(next)) found.add(next)
      }
    }
    return [...found]
  }

  /** Hex of all keys that come after this one by its own word, and that of each in between, whatever has become of them; nearest first. */
  handedOn(key: Uint8Array): string[] {
    return allFrom(this.#handedTo, hex(key))
  }

  /** Whether a key has said which one comes after it, whatever has become of that. */
  hasHandedOver(key: Uint8Array): boolean {
    return this.#handedTo.has(hex(key))
  }

  /** The certificates that say which key theirs follows, also those that count no more. */
  following(): Certificate[] {
    return [...this.#all.values()].flat().filter(({ body }) => body.follows !== undefined)
  }

  /** Hex of the keys after which this one comes by the word of each of them. */
  handedBy(key: Uint8Array): string[] {
    return allFrom(this.#handedBy, hex(key))
  }

  /**
   * Hex of the keys of members that cannot both be the same member's: of one line, and neither comes after the other. Somebody has
   * had a stolen key followed, or two machines have done so with one key. One that comes before is no rival, whoever has let it in again:
   * it is over as soon as an administrator sees it. Of more keys than a member can have had in the time that a certificate holds, none
   * is believed.
   */
  rivals(): Set<string> {
    const rivals = new Set<string>()
    for (const line of this.#keys.keys()) {
      const living = this.keysOf(line).filter((key) => this.#counting.has(key))
      const isRival = (a: string) => (b: string) => a !== b && !this.isBefore(a, b) && !this.isBefore(b, a)
      const isForged = living.length > maxLiving
      for (const key of living) if (isForged || living.some(isRival(key))) rivals.add(key)
    }
    return rivals
  }

  /** What is known of a key (hex): what counts, or else the last word on one that is a member's no more. */
  certificatesOf(key: string): readonly Certificate[] {
    return this.#counting.get(key) ?? this.#all.get(key)?.slice(0, 1) ?? []
  }

  /** Of these certificates those that the root or an administrator has issued. */
  byAdministrators(all: readonly Certificate[]): Certificate[] {
    return all.filter((certificate) => this.isVouching(certificate, certificate.body.issuer))
  }

  /** Whether a key is of an administrator's line, or that of one who signed for this certificate and has not been shut out since. */
  isVouching({ chain }: Certificate, key: Uint8Array): boolean {
    if (sameBytes(key, this.#genesis.body.root)) return true
    if (this.of(key).some((line) => this.#administrators.has(line))) return true
    const hasSigned = chain.some(({ body }) => body.roles.includes('admin') && sameBytes(body.subject, key))
    return hasSigned && !this.#verdict.isShutOut(key)
  }

  /** As `Verdict.hangsOnShutOut`. */
  hangsOnShutOut(certificate: Certificate): boolean {
    return this.#verdict.hangsOnShutOut(certificate)
  }

  #note({ body: { subject, follows } }: Pick<Certificate, 'body'>): void {
    if (follows === undefined) return
    if (isAgreed(follows)) {
      add(this.#handedTo, hex(before(follows)), hex(subject))
      add(this.#handedBy, hex(subject), hex(before(follows)))
    }
    for (const key of [follows.key, before(follows)].map(hex)) {
      add(this.#heirs, key, hex(subject))
      add(this.#former, hex(subject), key)
    }
    for (const key of [subject, before(follows)]) {
      if (sameBytes(key, follows.key)) continue
      add(this.#before, hex(key), hex(follows.key))
    }
  }

  /** One step, but where an administrator did not know what another had certified. */
  #walk(key: string): string[] {
    const seen = new Set([key])
    const firsts: string[] = []
    for (const at of seen) {
      const before = this.#before.get(at)
      if (before === undefined) firsts.push(at)
      else for (const one of before) seen.add(one)
    }
    // In a circle nobody is the first.
    return (firsts.length > 0 ? firsts : [...seen]).toSorted()
  }
}

/** Whether one of the keys that lead on from a key, at once or over others, is what is looked for. Each is looked at once. */
function reaches(
  on: ReadonlyMap<string, ReadonlySet<string>>,
  from: string,
  isSought: (key: string) => boolean,
): boolean {
  const seen = new Set(on.get(from))
  for (const key of seen) {
    if (isSought(key)) return true
    for (const next of on.get(key) ?? []) seen.add(next)
  }
  return false
}

/** All keys that lead on from a key, at once or over others, but for itself. */
function allFrom(on: ReadonlyMap<string, ReadonlySet<string>>, from: string): string[] {
  const all: string[] = []
  reaches(on, from, (key) => {
    if (key !== from) all.push(key)
    return false
  })
  return all
}

function add(map: Map<string, Set<string>>, key: string, value: string): void {
  map.set(key, (map.get(key) ?? new Set()).add(value))
}
