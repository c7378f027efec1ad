import { type Datastore, Key } from 'interface-datastore'

const prefix = '/unexplained/'
/** Of so many packages that came out differently here nobody could say why: then it no longer matters why. */
const mostPackages = 8

/** Members of whom more came out differently here than can be an accident, and nobody could call it a lie. Their word is not used. */
export class Unexplained {
  readonly #datastore: Datastore
  readonly #packages = new Map<string, Set<string>>()

  private constructor(datastore: Datastore) {
    this.#datastore = datastore
  }

  /** `datastore` may be shared: only keys below `/unexplained/` are used. */
  static async open({ datastore }: { datastore: Datastore }): Promise<Unexplained> {
    const unexplained = new Unexplained(datastore)
    for await (const key of datastore.queryKeys({ prefix })) {
      const [peer = '', name = ''] = key.toString().slice(prefix.length).split('/')
      unexplained.#of(peer).add(name)
    }
    return unexplained
  }

  /** Whether there is too much of a member that nobody can explain. */
  isTooMuch(peerId: string): boolean {
    return (this.#packages.get(peerId)?.size ?? 0) >= mostPackages
  }

  /** @param name `name version` of the package @returns whether it is the first time with this one */
  async note(peerId: string, name: string): Promise<boolean> {
    const packages = this.#of(peerId)
    const encoded = encodeURIComponent(name)
    if (packages.has(encoded)) return false
    if (packages.size >= mostPackages) return true
    await this.#datastore.put(new Key(`${prefix}${peerId}/${encoded}`, false), new Uint8Array())
    packages.add(encoded)
    return true
  }

  #of(peerId: string): Set<string> {
    const known = this.#packages.get(peerId) ?? new Set()
    this.#packages.set(peerId, known)
    return known
  }
}
