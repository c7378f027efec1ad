import { dirname, join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { Action, Inputs, RootName } from '../plan/action.ts'
import type { KnownTrees } from '../plan/known-trees.ts'
import type { Blocks } from './blocks.ts'
import { makeReadable } from './guest-users.ts'
import { type InputCache, write } from './input-cache.ts'
import type { CachedTree, TreeCache } from './tree-cache.ts'
import { type TreeFiles, writeTree } from './tree-files.ts'

export interface StageOptions {
  action: Action
  inputs: Inputs
  blocks: Blocks
  listings: Pick<KnownTrees, 'of'>
  cache: InputCache
  /** Where trees lie that are mounted; undefined: everything is laid out in `dir`. */
  trees?: TreeCache | undefined
  /** An empty directory; each root becomes a directory of its name in it. */
  dir: string
  maxBytes: number
  maxFiles: number
  signal: AbortSignal
}

export interface Staged {
  /** The roots that there are now as directories of `dir`. */
  roots: RootName[]
  /** Directories to be mounted, some of them in those roots. */
  mounts: { root: RootName; path: string; from: string }[]
  /** Nothing reads the mounted ones any more. */
  release(): void
}

interface StagedTree extends TreeFiles {
  root: RootName
  path: string
  cid: CID
}

interface StagedFile {
  root: RootName
  path: string
  cid: CID
  size: number
}

/** Roots that inputs may lie under; the others are made here. */
const inputRoots = new Set<RootName>(['registry', 'git', 'package', 'workspace', 'deps', 'build'])
const cachedBytes = 64 << 10
const atOnce = 16
/** Each one takes bubblewrap longer than the one before: with a hundred it needs 20 ms of processor time, not 5. */
const maxMounts = 200
const rootsOf = /\0([a-z]+)\0/g

/**
 * Lays out everything that a compile may read.
 * @throws ShoalError ERR_INPUT_MISSING when a block is not here; ERR_ADMISSION when the inputs are not those of the action
 *   or contradict each other; ERR_LIMIT when they are too many; ERR_DISK_FULL
 */
export async function stageInputs(options: StageOptions): Promise<Staged> {
  const trees = await listTrees(options)
  const files = [...options.inputs.files, ...trees.flatMap(filesOf)]
  checkAgainst(options.action, options.inputs)
  let bytes = 0
  const paths = new Set<string>()
  for (const file of files) {
    if (!inputRoots.has(file.root)) throw new ShoalError('ERR_ADMISSION', `inputs under the root ${file.root}`)
    const path = `${file.root}/${file.path}`
    if (paths.has(path)) throw new ShoalError('ERR_ADMISSION', `input ${path} is named twice`)
    paths.add(path)
    bytes += file.size
  }
  if (bytes > options.maxBytes || files.length > options.maxFiles) {
    throw new ShoalError('ERR_LIMIT', `inputs: ${files.length} files, ${bytes} bytes`)
  }
  const { trees: cache, action } = options
  const mounted = cache === undefined ? [] : standingAlone(trees, options).slice(0, maxMounts)
  const laidTrees = trees.filter((tree) => !mounted.includes(tree))
  const laid = [...options.inputs.files, ...laidTrees.flatMap(filesOf)]
  const taken: CachedTree[] = []
  const release = (): void => {
    for (const tree of taken.splice(0)) tree.release()
  }
  try {
    const mounts: Staged['mounts'] = []
    for (const tree of mounted) {
      options.signal.throwIfAborted()
      const held = await cache?.take(tree.cid, tree)
      if (held === undefined) continue
      taken.push(held)
      mounts.push({ root: tree.root, path: tree.path, from: held.path })
    }
    // Bubblewrap makes the directories above what is mounted where nothing else lies in them.
    const holding = new Set<string>([...laid.map(({ root }) => root), rootOf(action.cwd)?.[0] ?? ''])
    // What is mounted as a whole root needs none: nothing else lies in it.
    const covered = new Set(mounts.flatMap(({ root, path }) => (path === '' ? [root] : [])))
    const roots = mentionedRoots(action, files).filter(
      (root) => !covered.has(root) && (holding.has(root) || !mounts.some((mount) => mount.root === root)),
    )
    makeDirectories(options, roots, [
      ...laid.map(({ root, path }) => join(root, dirname(path))),
      ...mounts.map(rootedAt),
    ])
    const { files: single } = options.inputs
    for (let from = 0; from < single.length; from += atOnce) {
      options.signal.throwIfAborted()
      await Promise.all(single.slice(from, from + atOnce).map((file) => placeFile(options, file)))
    }
    for (const tree of laidTrees) {
      const placeOf = (path: string): string => join(options.dir, rootedAt(tree), path)
      await writeTree(options.blocks, tree, { placeOf, signal: options.signal })
    }
    return { roots, mounts, release }
  } catch (error) {
    release()
    const contradiction = ['EEXIST', 'ENOTDIR', 'EISDIR', 'ENAMETOOLONG', 'EINVAL'].includes(codeOf(error) ?? '')
    if (contradiction) throw new ShoalError('ERR_ADMISSION', 'inputs cannot be laid out', { cause: error })
    if (codeOf(error) === 'ENOSPC') throw new ShoalError('ERR_DISK_FULL', 'no room for the inputs', { cause: error })
    throw error
  }
}

async function listTrees({ inputs, blocks, listings, maxFiles }: StageOptions): Promise<StagedTree[]> {
  const trees: StagedTree[] = []
  let count = inputs.files.length
  for (const { root, path, tree: cid, pack } of inputs.trees) {
    const { files } = await listings.of(cid, async () => {
      const bytes = await blocks.get(cid)
      if (bytes === undefined) throw new ShoalError('ERR_INPUT_MISSING', `tree ${cid.toString()} is not here`)
      return bytes
    })
    count += files.length
    if (count > maxFiles) throw new ShoalError('ERR_LIMIT', 'too many inputs')
    trees.push({ root, path, cid, files, pack: pack?.cid })
  }
  return trees
}

const filesOf = ({ root, path, files }: StagedTree): StagedFile[] =>
  files.map((file) => ({ ...file, root, path: path === '' ? file.path : `${path}/${file.path}` }))

/** Within the directory of all roots. */
const rootedAt = ({ root, path }: { root: RootName; path: string }): string => (path === '' ? root : `${root}/${path}`)

/** Those that no other input lies in, nor the working directory: nothing can be put into what is mounted. */
function standingAlone(trees: readonly StagedTree[], { inputs, action }: StageOptions): StagedTree[] {
  const [root, inside] = rootOf(action.cwd) ?? []
  const places = [...trees, ...inputs.files].map((input) => `${rootedAt(input)}/`)
  const cwd = root === undefined ? '' : `${rootedAt({ root, path: inside ?? '' })}/`
  const isIn = (inner: string, outer: string): boolean => inner.startsWith(outer)
  return trees.filter((tree, at) => {
    const own = `${rootedAt(tree)}/`
    if (tree.files.length === 0 || (cwd !== own && isIn(cwd, own))) return false
    return places.every((other, index) => index === at || !(isIn(other, own) || isIn(own, other)))
  })
}

/** The root that a text begins with, and what follows. */
function rootOf(text: string): [RootName, string] | undefined {
  const [, root, inside] = /^\0([a-z]+)\0\/?(.*)$/.exec(text) ?? []
  return root !== undefined && inputRoots.has(root as RootName) ? [root as RootName, inside ?? ''] : undefined
}

/** A result is filed under its action, so what the action says about its inputs must be what the compile gets. */
function checkAgainst(action: Action, inputs: Inputs): void {
  const deps = new Map(inputs.files.filter((file) => file.root === 'deps').map((file) => [file.path, file.cid]))
  const same =
    deps.size === action.deps.length && action.deps.every(([name, cid]) => deps.get(name)?.equals(cid) === true)
  if (!same) throw new ShoalError('ERR_ADMISSION', 'dependencies are not those of the action')
  const builds = inputs.trees.filter((tree) => tree.root === 'build')
  const [build] = builds
  const sameBuild = action.build === null ? builds.length === 0 : build?.path === '' && build.tree.equals(action.build)
  if (!sameBuild || builds.length > 1) throw new ShoalError('ERR_ADMISSION', 'OUT_DIR is not that of the action')
  const stray = inputs.trees.some((tree) => tree.root === 'deps') || inputs.files.some((file) => file.root === 'build')
  if (stray) throw new ShoalError('ERR_ADMISSION', 'inputs beside those of the action')
}

function mentionedRoots(action: Action, files: readonly StagedFile[]): RootName[] {
  const texts = [action.cwd, ...action.argv, ...action.env.map(([, value]) => value)].join('\n')
  const mentioned = new Set<string>([...texts.matchAll(rootsOf)].map((match) => match[1] ?? ''))
  for (const file of files) mentioned.add(file.root)
  return [...inputRoots].filter((root) => mentioned.has(root))
}

/** @param places directories of inputs, within the directory of all roots */
function makeDirectories({ action, dir }: StageOptions, roots: RootName[], places: readonly string[]): void {
  const directories = new Set<string>(roots)
  // Where a root is no directory of ours, bubblewrap makes what is in it.
  for (const place of places)
    if (roots.some((root) => place === root || place.startsWith(`${root}/`))) directories.add(place)
  const [root, inside = ''] = rootOf(action.cwd) ?? []
  if (root !== undefined && roots.includes(root)) directories.add(join(root, inside))
  for (const directory of directories) makeReadable(join(dir, directory))
}

async function placeFile({ blocks, cache, dir }: StageOptions, file: StagedFile): Promise<void> {
  const to = join(dir, file.root, file.path)
  if (file.size >= cachedBytes && file.root === 'deps') await cache.place(file.cid, file.size, to)
  else await write(blocks, file.cid, file.size, to)
}
