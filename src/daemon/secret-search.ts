import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { isAbsolute, join, resolve } from 'node:path'
import { codeOf } from '../base/errors.ts'
import { NeedleSearch } from '../execute/needles.ts'
import type { Dependency } from '../plan/dependencies.ts'
import { secretValues } from '../plan/environment.ts'
import { isKeyFile } from '../plan/key-files.ts'
import { nameRoots, type Root, rootToken } from '../plan/roots.ts'
import { saidBy } from '../plan/script-said.ts'
import type { DigestedTree } from '../plan/trees.ts'
import { cidOf, hexOf } from '../wire/cid.ts'
import type { SourcesBeside } from './sources-beside.ts'

const maxKnown = 16_384
/** Larger files are no sources. */
const maxSearchedBytes = 16 << 20
const pieceBytes = 1 << 20
/** A shorter one (`password123`, what a documentation begins with) may stand in what everybody can read. */
const leastOfAll = 20

/** Finds secrets in what goes into a unit: each library and each OUT_DIR is looked through once. */
export class SecretSearch {
  readonly #beside: Pick<SourcesBeside, 'told'>
  readonly #known = new Map<string, boolean>()
  /** The values of one unit are looked for in all libraries that go into it. */
  readonly #names = new WeakMap<readonly string[], string>()
  readonly #long = new WeakMap<readonly string[], readonly string[]>()

  constructor(beside: Pick<SourcesBeside, 'told'>) {
    this.#beside = beside
  }

  /** Whether a build script has written down a secret that it was told: what includes it holds it too. */
  async tells({ dir, tree, cid }: DigestedTree, env: ReadonlyMap<string, string>): Promise<boolean> {
    const values = secretValues(env)
    const find = (): Promise<boolean> => anyFile(dir, tree, (bytes) => values.some((value) => bytes.includes(value)))
    return values.length > 0 && (await this.#once(`${hexOf(cid)} ${this.#nameOf(values)}`, find))
  }

  /**
   * Whether a build script has made something of a file of keys: it has said that it is to run again when one changes, or has left one. For
   * packages of people's own; those of a registry come with whatever keys their tests need.
   * @param build OUT_DIR
   * @param packageDir where the script runs
   */
  async hasKeys({ dir, tree, cid }: DigestedTree, packageDir: string): Promise<boolean> {
    const files = (await saidBy(dir))?.files ?? []
    if (files.some((file) => isKeyFile(file, resolve(packageDir, file)))) return true
    if (tree.files.some(({ path }) => isKeyFile(path, join(dir, path)))) return true
    return await this.#once(`${hexOf(cid)} keys`, () =>
      anyFile(dir, tree, (bytes) => bytes.includes(keyLabel) && privateKey.test(bytes.toString('latin1'))),
    )
  }

  /**
   * Whether a library holds a secret, however it came there: one of those that the compile of its user is told, one that a source of it has
   * asked for, or what is in a file of keys.
   * @param values `secretValues` of the user's
   */
  async isIn({ cid, path }: Dependency, values: readonly string[], roots: readonly Root[]): Promise<boolean> {
    const hex = hexOf(cid)
    if (await this.#isTold(`${hex} ${path}`, path, roots)) return true
    const long = values.length > 0 && (await this.#isPublic(path, roots)) ? this.#longOf(values) : values
    return long.length > 0 && (await this.#once(`${hex} ${this.#nameOf(long)}`, () => fileHolds(path, long)))
  }

  /** Whether a library is one of a registry. */
  async #isPublic(library: string, roots: readonly Root[]): Promise<boolean> {
    const [first = ''] = (await this.#beside.told(library))?.files ?? []
    return nameRoots(first, roots).startsWith(`${rootToken('registry')}/`)
  }

  #longOf(values: readonly string[]): readonly string[] {
    const long = this.#long.get(values) ?? values.filter((value) => value.length >= leastOfAll)
    this.#long.set(values, long)
    return long
  }

  /** By the dep-info beside it, which is there before the library is. */
  async #isTold(name: string, library: string, roots: readonly Root[]): Promise<boolean> {
    const known = this.#known.get(name)
    if (known !== undefined) return known
    const told = await this.#beside.told(library)
    if (told === undefined) return false
    const workspace = roots.find((root) => root.name === 'workspace')?.path
    const pathOf = (file: string): string | undefined =>
      isAbsolute(file) ? file : workspace && resolve(workspace, file)
    const hasKeys = told.files.some((file) => isKeyFile(nameRoots(file, roots), pathOf(file)))
    return this.#note(name, told.asksForSecret || hasKeys)
  }

  #nameOf(values: readonly string[]): string {
    const name = this.#names.get(values) ?? hexOf(cidOf(Buffer.from(values.join('\0'))))
    this.#names.set(values, name)
    return name
  }

  async #once(name: string, find: () => Promise<boolean>): Promise<boolean> {
    return this.#known.get(name) ?? this.#note(name, await find())
  }

  #note(name: string, found: boolean): boolean {
    if (this.#known.size >= maxKnown) this.#known.clear()
    this.#known.set(name, found)
    return found
  }
}

const keyLabel = 'PRIVATE KEY-----'
/** With something of a key behind the label, as it is or in a string of a source: whoever reads such keys knows the label too. */
const privateKey = /-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\\[nr]|\s)+[A-Za-z0-9+/]{40}/

async function anyFile(
  dir: string,
  { files }: DigestedTree['tree'],
  holds: (bytes: Buffer) => boolean,
): Promise<boolean> {
  for (const { path, size } of files) {
    if (size > maxSearchedBytes) continue
    const bytes = await contentOf(join(dir, path))
    if (bytes !== undefined && holds(bytes)) return true
  }
  return false
}

/** Undefined when it is not there. */
async function contentOf(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined
    throw error
  }
}

/** Of a library of any size, which may be gone by now. */
async function fileHolds(path: string, values: readonly string[]): Promise<boolean> {
  const search = new NeedleSearch(values.map((value) => Buffer.from(value)))
  try {
    for await (const piece of createReadStream(path, { highWaterMark: pieceBytes })) {
      search.push(piece as Uint8Array)
      if (search.found !== undefined) return true
    }
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
  return false
}
