import { dirname, join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf, ShoalError } from '../base/errors.ts'
import { type Action, decodeTree, type Inputs, type RootName } from '../plan/action.ts'
import type { Blocks } from './blocks.ts'
import { makeReadable } from './guest-users.ts'
import { type InputCache, write } from './input-cache.ts'

export interface StageOptions {
  action: Action
  inputs: Inputs
  blocks: Blocks
  cache: InputCache
  /** An empty directory; each root becomes a directory of its name in it. */
  dir: string
  maxBytes: number
  maxFiles: number
  signal: AbortSignal
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
const rootsOf = /\0([a-z]+)\0/g

/**
 * Lays out everything that a compile may read.
 * @returns the roots that there are now, as directories of `dir`
 * @throws ShoalError ERR_INPUT_MISSING when a block is not here; ERR_ADMISSION when the inputs are not those of the action
 *   or contradict each other; ERR_LIMIT when they are too many; ERR_DISK_FULL
 */
export async function stageInputs(options: StageOptions): Promise<RootName[]> {
  const files = await listFiles(options)
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
  const roots = mentionedRoots(options.action, files)
  try {
    makeDirectories(options, roots, files)
    for (let from = 0; from < files.length; from += atOnce) {
      options.signal.throwIfAborted()
      await Promise.all(files.slice(from, from + atOnce).map((file) => placeFile(options, file)))
    }
  } catch (error) {
    const contradiction = ['EEXIST', 'ENOTDIR', 'EISDIR', 'ENAMETOOLONG', 'EINVAL'].includes(codeOf(error) ?? '')
    if (contradiction) throw new ShoalError('ERR_ADMISSION', 'inputs cannot be laid out', { cause: error })
    if (codeOf(error) === 'ENOSPC') throw new ShoalError('ERR_DISK_FULL', 'no room for the inputs', { cause: error })
    throw error
  }
  return roots
}

async function listFiles({ inputs, blocks, maxFiles }: StageOptions): Promise<StagedFile[]> {
  const files: StagedFile[] = [...inputs.files]
  for (const { root, path, tree: cid } of inputs.trees) {
    const bytes = await blocks.get(cid)
    if (bytes === undefined) throw new ShoalError('ERR_INPUT_MISSING', `tree ${cid.toString()} is not here`)
    const tree = decodeTree(bytes)
    if (files.length + tree.files.length > maxFiles) throw new ShoalError('ERR_LIMIT', 'too many inputs')
    for (const file of tree.files) files.push({ ...file, root, path: path === '' ? file.path : `${path}/${file.path}` })
  }
  return files
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

function makeDirectories({ action, dir }: StageOptions, roots: RootName[], files: StagedFile[]): void {
  const directories = new Set(roots.map((root) => join(dir, root)))
  for (const file of files) directories.add(dirname(join(dir, file.root, file.path)))
  const [, root, inside] = /^\0([a-z]+)\0(.*)$/.exec(action.cwd) ?? []
  if (root !== undefined && inputRoots.has(root as RootName)) directories.add(join(dir, root, inside ?? ''))
  for (const directory of directories) makeReadable(directory)
}

async function placeFile({ blocks, cache, dir }: StageOptions, file: StagedFile): Promise<void> {
  const to = join(dir, file.root, file.path)
  if (file.size >= cachedBytes && file.root === 'deps') await cache.place(file.cid, file.size, to)
  else await write(blocks, file.cid, file.size, to)
}
