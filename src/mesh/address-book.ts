import { readFile } from 'node:fs/promises'
import type { Multiaddr } from '@multiformats/multiaddr'
import { z } from 'zod'
import type { Clock } from '../base/clock.ts'
import { codeOf, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { writeDurably } from '../store/durable.ts'
import { isDialable, isPeerId, withoutPeer } from './addresses.ts'

/** A member we have met. */
export interface KnownMember {
  peerId: string
  name: string
  /** Multiaddrs, the one that worked last first. */
  addresses: string[]
  /** Milliseconds since the epoch. */
  seenAt: number
}

const maxMembers = 256
const maxAddresses = 8
const maxAddressLength = 256
const maxFileBytes = 1024 * 1024
const forgetAfterMs = 30 * 24 * 3600 * 1000
const saveDelayMs = 5000

const schema = z.object({
  v: z.literal(1),
  members: z
    .array(
      z.object({
        peerId: z.string().max(128).refine(isPeerId),
        name: z.string().max(64),
        addresses: z.array(z.string().max(maxAddressLength)).max(maxAddresses),
        seenAt: z.number(),
      }),
    )
    .max(maxMembers),
})

/** Members and their addresses, kept in a file so that a restart needs nobody's help to find them again. */
export class AddressBook {
  readonly #needs: { clock: Clock; log: Logger }
  readonly #file: string
  readonly #members = new Map<string, KnownMember>()
  #cancelSave: (() => void) | undefined

  private constructor(needs: { clock: Clock; log: Logger }, file: string) {
    this.#needs = needs
    this.#file = file
  }

  /** Reads the file; one that is absent or damaged gives an empty book: everything in it can be found out again. */
  static async load(needs: { clock: Clock; log: Logger }, file: string): Promise<AddressBook> {
    const book = new AddressBook(needs, file)
    try {
      const text = await readFile(file, 'utf8')
      const { members } = schema.parse(text.length > maxFileBytes ? undefined : JSON.parse(text))
      const oldest = needs.clock.wall() - forgetAfterMs
      for (const member of members) if (member.seenAt > oldest) book.#members.set(member.peerId, member)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') needs.log.warn('address book not read', { error: toShoalError(error).message })
    }
    return book
  }

  get(peerId: string): KnownMember | undefined {
    return this.#members.get(peerId)
  }

  all(): KnownMember[] {
    return [...this.#members.values()]
  }

  /** We are or were connected to this member just now. Its new addresses come before those known so far. */
  seen(peerId: string, news: { name?: string; addresses?: readonly Multiaddr[] } = {}): void {
    const known = this.#members.get(peerId)
    const fresh = (news.addresses ?? []).filter(isDialable).map((address) => withoutPeer(address).toString())
    const usable = fresh.filter((address) => address.length <= maxAddressLength).slice(0, maxAddresses - 1)
    const addresses = [...new Set([...usable, ...(known?.addresses ?? [])])].slice(0, maxAddresses)
    this.#members.set(peerId, {
      peerId,
      name: news.name ?? known?.name ?? '',
      addresses,
      seenAt: this.#needs.clock.wall(),
    })
    this.#dropOldest()
    this.#saveSoon()
  }

  forget(peerId: string): void {
    if (this.#members.delete(peerId)) this.#saveSoon()
  }

  async save(): Promise<void> {
    this.#cancelSave?.()
    this.#cancelSave = undefined
    await writeDurably(this.#file, `${JSON.stringify({ v: 1, members: this.all() }, undefined, 2)}\n`)
  }

  #saveSoon(): void {
    this.#cancelSave ??= this.#needs.clock.after(saveDelayMs, () => {
      this.#cancelSave = undefined
      this.save().catch((error: unknown) => {
        this.#needs.log.warn('address book not written', { error: toShoalError(error).message })
      })
    })
  }

  #dropOldest(): void {
    if (this.#members.size <= maxMembers) return
    const oldest = this.all().reduce((a, b) => (a.seenAt <= b.seenAt ? a : b))
    this.#members.delete(oldest.peerId)
  }
}
