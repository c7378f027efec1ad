import { hash } from 'node:crypto'
import { type Datastore, Key } from 'interface-datastore'
import type { CID } from 'multiformats/cid'
import { ShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { cidFromDigest, hexOf } from '../wire/cid.ts'
import { readValue } from './index-db.ts'
import { isPlainName } from './plain-name.ts'

const prefix = '/closures/'
const maxMembers = 16_384
/** Names kept in memory, over all closures. */
const maxCachedNames = 100_000

/** A crate that some metadata reaches: its file name (unique within a build) and content. */
export interface ClosureMember {
  name: string
  cid: CID
}

/** Which crates a piece of metadata reaches: what lies beside it when it is compiled against. */
export interface ClosureStore {
  /** File names, sorted; undefined when this metadata (hex sha2-256) was never seen being made. */
  get(metadataHex: string): Promise<readonly string[] | undefined>
  /** As `get`, with the contents that were seen then. */
  members(metadataHex: string): Promise<readonly ClosureMember[] | undefined>
  /**
   * @throws ShoalError ERR_LIMIT for more than 16,384 members or a name that is no plain file name, ERR_STORE
   */
  put(metadataHex: string, members: readonly ClosureMember[]): Promise<void>
}

/** `datastore` may be shared with others: only keys below `/closures/` are used. */
export function createClosureStore({ datastore, log }: { datastore: Datastore; log: Logger }): ClosureStore {
  const names = new Map<string, readonly string[]>()
  /** Sha-256 of what was written down. */
  const written = new Map<string, string>()
  let cachedNames = 0

  const remember = (metadataHex: string, list: readonly string[]): readonly string[] => {
    if (cachedNames + list.length > maxCachedNames) {
      names.clear()
      written.clear()
      cachedNames = 0
    }
    cachedNames += list.length - (names.get(metadataHex)?.length ?? 0)
    names.set(metadataHex, list)
    return list
  }

  /** Lines of a digest, a blank and a name: splitting them is much cheaper than decoding objects. */
  const lines = async (metadataHex: string): Promise<string[] | undefined> => {
    const value = await readValue(datastore, keyOf(metadataHex), log)
    if (value === undefined) return undefined
    const text = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf8')
    const found = text === '' ? [] : text.split('\n')
    return found.every((line) => linePattern.test(line)) ? found : undefined
  }

  return {
    async get(metadataHex) {
      const cached = names.get(metadataHex)
      if (cached !== undefined) return cached
      const found = await lines(metadataHex)
      return (
        found &&
        remember(
          metadataHex,
          found.map((line) => line.slice(65)),
        )
      )
    },
    async members(metadataHex) {
      const found = await lines(metadataHex)
      return found?.map((line) => ({ name: line.slice(65), cid: cidFromDigest(Buffer.from(line.slice(0, 64), 'hex')) }))
    },
    async put(metadataHex, members) {
      if (members.length > maxMembers) throw new ShoalError('ERR_LIMIT', `closure of ${members.length} crates`)
      const sorted = members.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
      for (const { name } of sorted) {
        if (!isPlainName(name)) throw new ShoalError('ERR_LIMIT', `not a file name: ${JSON.stringify(name)}`)
      }
      const text = sorted.map(({ name, cid }) => `${hexOf(cid)} ${name}`).join('\n')
      const digest = hash('sha256', text)
      if (written.get(metadataHex) === digest) return
      try {
        await datastore.put(keyOf(metadataHex), Buffer.from(text))
      } catch (error) {
        throw new ShoalError('ERR_STORE', 'closure cannot be kept', { cause: error })
      }
      remember(
        metadataHex,
        sorted.map(({ name }) => name),
      )
      written.set(metadataHex, digest)
    },
  }
}

const linePattern = /^[0-9a-f]{64} [^/]+$/

const keyOf = (metadataHex: string): Key => new Key(`${prefix}${metadataHex}`, false)
