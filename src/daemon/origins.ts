import { type Datastore, Key } from 'interface-datastore'
import type { CID } from 'multiformats/cid'
import { z } from 'zod'
import { codeOf } from '../base/errors.ts'
import { encodeResult, type Result } from '../plan/action.ts'
import type { UnitSource } from '../plan/dependencies.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { decodeCbor, encodeCbor } from '../wire/cbor.ts'
import { hexOf } from '../wire/cid.ts'

const prefix = '/origin/'
/** What was noted first is forgotten first. */
const maxKnown = 1 << 15
/** Blocks that are named of one action key: of its last results. */
const maxMade = 64
const maxUses = 1024
const maxUsesDirs = 1024
/** Checkouts of one package; of more the last ones. */
const maxDirs = 8
const maxRecordBytes = 1 << 20

const digest = z.string().length(64)
const recordSchema = z.strictObject({
  v: z.literal(1),
  /** Of the package, absolute. */
  dir: z.string().max(8192),
  /** Other checkouts of it that gave the same action. */
  also: z
    .array(z.string().max(8192))
    .max(maxDirs - 1)
    .optional(),
  /** Hex: results and their outputs. */
  made: z.array(digest).max(maxMade),
  /** Hex: libraries that it was made from. */
  uses: z.array(digest).max(maxUses),
  /** Absolute: sources of libraries of this machine that it was made from. Of those nothing may ever have been kept. */
  usesDirs: z.array(z.string().max(8192)).max(maxUsesDirs).optional(),
})
type Origin = z.output<typeof recordSchema>

/** What becomes private together. */
export interface Kept {
  /** Hex. */
  key: string
  blocks: readonly string[]
}

/**
 * From which package each result comes that is kept and given to others, and which others were made from it: so that all of it can be taken
 * back when the package becomes private. Of packages of this machine only, and of those of registries that are made from one of them (`[patch]`):
 * all others are everybody's.
 */
export class Origins {
  readonly #datastore: Datastore
  readonly #known = new Map<string, Origin>()
  /** Block (hex) → action keys that were made from it. */
  readonly #users = new Map<string, Set<string>>()
  /** Block (hex) → how many action keys have it among what was made of them. */
  readonly #makers = new Map<string, number>()
  readonly #dirs = new Map<string, Set<string>>()

  private constructor(datastore: Datastore) {
    this.#datastore = datastore
  }

  /** `datastore` may be shared: only keys below `/origin/` are used. @throws the errors of the datastore */
  static async open(datastore: Datastore): Promise<Origins> {
    const origins = new Origins(datastore)
    for await (const { key, value } of datastore.query({ prefix })) {
      try {
        origins.#learn(key.toString().slice(prefix.length), decodeCbor(value, recordSchema, maxRecordBytes))
      } catch (error) {
        if (codeOf(error) !== 'ERR_DECODE') throw error
        await datastore.delete(key)
      }
    }
    return origins
  }

  /**
   * A unit has this result, which others may have. Costs two look-ups when that is known.
   * @param own directories with sources of this machine that it is made from, whose own results may come later or never
   * @throws the errors of the datastore
   */
  async note({ key, source, dependencies }: PlannedAction, result: Result, own: ReadonlySet<string>): Promise<void> {
    const dir = source.dir
    const name = hexOf(key)
    const before = this.#known.get(name)
    const [first] = result.outputs
    const dirs = before === undefined ? [] : dirsOf(before)
    const usesDirs = [...new Set([...own, ...(before?.usesDirs ?? [])])].slice(0, maxUsesDirs)
    const isKnown = before !== undefined && dirs.includes(dir) && usesDirs.length === (before.usesDirs?.length ?? 0)
    if (isKnown && (first === undefined || before.made.includes(hexOf(first.cid)))) return
    const libraries = dependencies.map(({ cid }) => hexOf(cid))
    if (!isOwn(source) && own.size === 0 && !libraries.some((library) => this.#makers.has(library))) return
    const cids: CID[] = [encodeResult(result).cid, ...result.outputs.map(({ cid }) => cid)]
    const made = [...new Set([...cids.map(hexOf), ...(before?.made ?? [])])].slice(0, maxMade)
    const uses = [...new Set([...libraries, ...(before?.uses ?? [])])].slice(0, maxUses)
    const also = dirs.filter((other) => other !== dir).slice(0, maxDirs - 1)
    const origin: Origin = { v: 1, dir, also, made, uses, ...(usesDirs.length > 0 && { usesDirs }) }
    this.#learn(name, origin)
    await this.#datastore.put(keyOf(name), encodeCbor(origin).bytes)
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= maxKnown) break
      await this.forget(oldest)
    }
  }

  /** Directories of packages of which something is kept, or of something that was made from them. */
  dirs(): string[] {
    return [...this.#dirs.keys()]
  }

  /** Everything that came from these directories, and what was made from that, and so on. */
  from(dirs: readonly string[]): Kept[] {
    const keys = new Set(dirs.flatMap((dir) => [...(this.#dirs.get(dir) ?? [])]))
    // A set that grows while it is gone through.
    for (const key of keys) {
      for (const block of this.#known.get(key)?.made ?? [])
        for (const user of this.#users.get(block) ?? []) keys.add(user)
    }
    return [...keys].map((key) => ({ key, blocks: this.#known.get(key)?.made ?? [] }))
  }

  async forget(key: string): Promise<void> {
    const origin = this.#known.get(key)
    if (origin === undefined) return
    this.#known.delete(key)
    this.#leave(key, origin)
    for (const block of origin.uses) {
      this.#users.get(block)?.delete(key)
      if (this.#users.get(block)?.size === 0) this.#users.delete(block)
    }
    await this.#datastore.delete(keyOf(key))
  }

  #learn(key: string, origin: Origin): void {
    const before = this.#known.get(key)
    if (before !== undefined) this.#leave(key, before)
    this.#known.delete(key)
    this.#known.set(key, origin)
    for (const block of origin.made) this.#makers.set(block, (this.#makers.get(block) ?? 0) + 1)
    for (const dir of placesOf(origin)) this.#dirs.set(dir, (this.#dirs.get(dir) ?? new Set()).add(key))
    for (const block of origin.uses) this.#users.set(block, (this.#users.get(block) ?? new Set()).add(key))
  }

  #leave(key: string, origin: Origin): void {
    for (const block of origin.made) {
      const others = (this.#makers.get(block) ?? 1) - 1
      if (others > 0) this.#makers.set(block, others)
      else this.#makers.delete(block)
    }
    for (const dir of placesOf(origin)) {
      this.#dirs.get(dir)?.delete(key)
      if (this.#dirs.get(dir)?.size === 0) this.#dirs.delete(dir)
    }
  }
}

/** Whether it is a package of this machine; those of registries are everybody's. */
export const isOwn = ({ root }: Pick<UnitSource, 'root'>): boolean => root !== 'registry' && root !== 'git'

/** The latest first. */
const dirsOf = ({ dir, also = [] }: Origin): string[] => [dir, ...also]

/** Which of them becomes private, the result does too. */
const placesOf = (origin: Origin): string[] => [...dirsOf(origin), ...(origin.usesDirs ?? [])]

const keyOf = (name: string): Key => new Key(prefix + name, false)
