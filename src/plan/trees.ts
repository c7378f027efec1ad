import { readdirSync, realpathSync, type Stats } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join, relative as pathFrom } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { CID } from 'multiformats/cid'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { Encoded } from '../wire/cbor.ts'
import { encodeTree, type Tree } from './action.ts'
import { isNamedLikeKey } from './key-files.ts'
import type { StatDigests } from './stat-digests.ts'

/** A directory, digested. */
export interface DigestedTree extends Encoded {
  tree: Tree
  /** Absolute directory that it describes. */
  dir: string
  /** The part that may be given to a lender: the same tree, or one without files that look private. */
  lendable: Encoded
  lendableTree: Tree
  /** True when `lendable` leaves something out. */
  withheld: boolean
  /** Those of the files, by their paths in it, that are symbolic links. */
  links: readonly string[]
}

const maxFiles = 20_000
const maxBytes = 512 << 20
/** After so many files others have their turn; to list a directory counts as much as to look at so many files. */
const [turnFiles, listingFiles] = [512, 16]

/** Directories that are never a package's source. */
const skippedDirectories = new Set(['.git', '.hg', '.svn', '.jj', 'node_modules'])
/** What is hidden, but for what sqlx's macros read (it is checked in, so that others can compile) and what a web server shows everybody. */
const hiddenName = /^\.(?!(sqlx|well-known)$)/
/** What is no key, but beside keys, or like them. */
const besideKeys = /^id_(rsa|dsa|ecdsa|ed25519)|\.(asc|env)$/i
const isPrivateName = (name: string): boolean => hiddenName.test(name) || besideKeys.test(name) || isNamedLikeKey(name)

/**
 * Walks `dir` and digests every regular file in it (symbolic links to files count as what they point to). Build
 * directories (marked by CACHEDIR.TAG) and version control are not part of a package.
 * @param publicSource true for a package from a registry: everybody can have it, nothing is withheld
 * @throws ShoalError ERR_LIMIT when it holds too much to be named
 */
async function digestTree(dir: string, digests: StatDigests, publicSource: boolean): Promise<DigestedTree> {
  const files: Tree['files'] = []
  const held: Tree['files'] = []
  const links: string[] = []
  let bytes = 0
  let looked = 0

  const walk = async (relative: string, hidden: boolean): Promise<void> => {
    looked += listingFiles
    // On the event loop: what was listed a moment ago, by cargo or for the unit before, is in memory.
    const entries = readdirSync(join(dir, relative), { withFileTypes: true })
    if (relative !== '' && entries.some((entry) => entry.name === 'CACHEDIR.TAG')) return
    for (const entry of entries) {
      const path = relative === '' ? entry.name : `${relative}/${entry.name}`
      const isPrivate = hidden || (!publicSource && isPrivateName(entry.name))
      if (entry.isDirectory()) {
        if (!skippedDirectories.has(entry.name)) await walk(path, isPrivate)
        continue
      }
      looked += 1
      if (looked >= turnFiles) {
        looked = 0
        await nextTurn()
      }
      const kind = entry.isSymbolicLink() ? await statOrNothing(join(dir, path)) : undefined
      if (!entry.isFile() && !kind?.isFile()) continue
      const { cid, size } = await digests.digest(join(dir, path))
      bytes += size
      if (files.length >= maxFiles || bytes > maxBytes) throw new ShoalError('ERR_LIMIT', `${dir} holds too much`)
      const file = { path, cid, size }
      files.push(file)
      // Whatever it is called here.
      const target = kind === undefined ? undefined : targetOf(dir, path)
      if (target !== undefined) links.push(path)
      const leadsToPrivate = !publicSource && target?.split('/').some((part) => part !== '..' && isPrivateName(part))
      if (!isPrivate && !leadsToPrivate) held.push(file)
    }
  }
  await walk('', false)

  const tree = sorted(files)
  const encoded = encodeTree(tree)
  if (held.length === files.length)
    return { ...encoded, tree, dir, lendable: encoded, lendableTree: tree, withheld: false, links }
  const lendableTree = sorted(held)
  return { ...encoded, tree, dir, lendable: encodeTree(lendableTree), lendableTree, withheld: true, links }
}

/** Where a link leads, from the directory that it is in a tree of. */
const targetOf = (dir: string, path: string): string => pathFrom(realpathSync(dir), realpathSync(join(dir, path)))

function sorted(files: Tree['files']): Tree {
  return { v: 1, files: files.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0)) }
}

async function statOrNothing(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ELOOP') return undefined
    throw error
  }
}

/**
 * Digests directories. Each is walked every time, also the packages of a registry, which people do edit to find a bug; what
 * was not touched since the last time is not read again.
 */
export class Trees {
  readonly #digests: StatDigests

  constructor(digests: StatDigests) {
    this.#digests = digests
  }

  /** @param publicSource true for a package from a registry, of which nothing is withheld from lenders */
  async tree(dir: string, publicSource: boolean): Promise<DigestedTree> {
    return await digestTree(dir, this.#digests, publicSource)
  }

  /** What a build script left in its OUT_DIR; lent out whole. */
  async outDir(dir: string): Promise<DigestedTree> {
    return await digestTree(dir, this.#digests, true)
  }

  /** Whether the directories still hold what was digested. */
  async unchanged(trees: readonly DigestedTree[]): Promise<boolean> {
    for (const { dir, cid } of trees) {
      if (!(await digestTree(dir, this.#digests, true)).cid.equals(cid)) return false
    }
    return true
  }
}

/** Where each file of a tree lies, for serving it. */
export function* filesOf(tree: DigestedTree): Generator<{ cid: CID; path: string }> {
  for (const file of tree.lendableTree.files) yield { cid: file.cid, path: join(tree.dir, file.path) }
}
