import { lstatSync, readFileSync, realpathSync, type Stats, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, dirname, join, sep } from 'node:path'
import { parse } from 'smol-toml'
import { z } from 'zod'
import { codeOf } from '../base/errors.ts'

export interface PrivateInit {
  /** Directories of workspaces, absolute or beginning with `~/`. */
  workspaces: readonly string[]
  /** Names of packages, wherever they lie. */
  packages: readonly string[]
}

/** What a manifest says of this; undefined where there is none. */
interface Manifest {
  package: { name: string; private: boolean; workspace: string | undefined } | undefined
  workspace: { private: boolean } | undefined
  stamp: string
}

const shoal = z.looseObject({ shoal: z.looseObject({ private: z.boolean().optional() }).optional() }).optional()
const manifestSchema = z.looseObject({
  package: z.looseObject({ name: z.string().optional(), workspace: z.string().optional(), metadata: shoal }).optional(),
  workspace: z.looseObject({ metadata: shoal }).optional(),
})
const maxManifestBytes = 1 << 20
const maxKnown = 4096

/**
 * What people say must stay on this machine: `private = true` under `[package.metadata.shoal]` or `[workspace.metadata.shoal]`,
 * or a list in the configuration. Manifests are read again when they were changed.
 */
export class PrivatePaths {
  readonly #workspaces: readonly string[]
  readonly #packages: ReadonlySet<string>
  readonly #known = new Map<string, Manifest>()

  constructor({ workspaces, packages }: PrivateInit) {
    this.#workspaces = workspaces.map((path) => real(path.startsWith('~/') ? join(homedir(), path.slice(2)) : path))
    this.#packages = new Set(packages)
  }

  /** Whether packages of this name are private wherever they lie. */
  isNamed(name: string): boolean {
    return this.#packages.has(name)
  }

  /** Whether a file or directory belongs to a private package or lies in a private workspace. It need not exist. */
  has(path: string): boolean {
    return this.glance()(path)
  }

  /** `has` for many paths at once: of what is above them each directory is looked at once. Not to be kept. */
  glance(): (path: string) => boolean {
    const manifests = new Map<string, Manifest | undefined>()
    const manifestIn = (dir: string): Manifest | undefined => {
      if (!manifests.has(dir)) manifests.set(dir, this.#manifest(dir))
      return manifests.get(dir)
    }
    const judged = new Map<string, boolean>()
    const isPrivate = (dir: string): boolean => {
      const known = judged.get(dir)
      if (known !== undefined) return known
      // Packages that name each other as their workspace cannot be understood.
      judged.set(dir, true)
      const found = this.#isPrivate(dir, manifestIn, has)
      judged.set(dir, found)
      return found
    }
    const realDirectories = new Map<string, string>()
    const realOf = (dir: string): string => {
      const known = realDirectories.get(dir) ?? real(dir)
      realDirectories.set(dir, known)
      return known
    }
    const has = (path: string): boolean => {
      const entry = entryAt(path)
      if (entry === 'link' || entry === 'directory') return isPrivate(realOf(path))
      const directory = realOf(dirname(path))
      // The file itself can be what somebody calls a workspace.
      return this.#workspaces.includes(join(directory, basename(path))) || isPrivate(directory)
    }
    return has
  }

  /** @param from links resolved */
  #isPrivate(from: string, manifestIn: (dir: string) => Manifest | undefined, has: (path: string) => boolean): boolean {
    if (this.#workspaces.some((root) => from === root || from.startsWith(`${root}${sep}`))) return true
    let isOwned = false
    for (let dir = from; ; dir = dirname(dir)) {
      const manifest = manifestIn(dir)
      if (manifest?.workspace?.private) return true
      // The nearest package is the one that it belongs to.
      if (manifest?.package !== undefined && !isOwned) {
        isOwned = true
        const { name, workspace } = manifest.package
        if (manifest.package.private || this.#packages.has(name)) return true
        if (workspace !== undefined && join(dir, workspace, '.') !== dir && has(join(dir, workspace))) return true
      }
      if (dirname(dir) === dir) return false
    }
  }

  #manifest(dir: string): Manifest | undefined {
    const path = join(dir, 'Cargo.toml')
    const stat = statOf(path)
    if (stat === undefined) return undefined
    const stamp = `${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`
    const known = this.#known.get(path)
    if (known?.stamp === stamp) return known
    const manifest = { ...readManifest(path, stat.size), stamp }
    if (this.#known.size >= maxKnown) this.#known.clear()
    this.#known.set(path, manifest)
    return manifest
  }
}

/** What cannot be understood and may say that it is private, is. */
const unclear: Omit<Manifest, 'stamp'> = {
  package: { name: '', private: true, workspace: undefined },
  workspace: undefined,
}

function readManifest(path: string, size: number): Omit<Manifest, 'stamp'> {
  if (size > maxManifestBytes) return unclear
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return unclear
  }
  let document: unknown
  try {
    document = parse(text)
  } catch {
    return /\bprivate\b/.test(text) && text.includes('shoal') ? unclear : { package: undefined, workspace: undefined }
  }
  const parsed = manifestSchema.safeParse(document)
  if (!parsed.success) return unclear
  const { package: own, workspace } = parsed.data
  return {
    package: own && {
      name: own.name ?? '',
      private: own.metadata?.shoal?.private === true,
      workspace: own.workspace,
    },
    workspace: workspace && { private: workspace.metadata?.shoal?.private === true },
  }
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}

function entryAt(path: string): 'directory' | 'link' | 'other' {
  try {
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (stat?.isSymbolicLink()) return 'link'
    return stat?.isDirectory() ? 'directory' : 'other'
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return 'other'
  }
}

/** Links resolved, as far as it exists. */
function real(path: string): string {
  try {
    return realpathSync.native(path)
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return dirname(path) === path
      ? path
      : join(real(dirname(path)), path.slice(dirname(path).length).replace(/^\//, ''))
  }
}
