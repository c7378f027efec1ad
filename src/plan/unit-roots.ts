import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf } from '../base/errors.ts'
import type { RootName } from './action.ts'
import type { Invocation } from './invocation.ts'
import { isWithin } from './read-set.ts'
import { type Root, sortRoots } from './roots.ts'
import { targetDirectory } from './target-dir.ts'

/** The roots of one invocation, and how each is called in the outputs. */
export interface UnitRoots {
  /** Longest path first. */
  roots: Root[]
  /** In the order of the flags. */
  remaps: [RootName, string][]
}

/** Given by the shim so that a remap cannot be undone: see `caps_lints` there. */
const nowhere = '/nonexistent/shoal'

/** Which root a remap belongs to; those of the toolchain's own sources belong to none. */
function rootOf(from: string, target: string): RootName | undefined {
  if (from === nowhere) return 'nowhere'
  if (target === '/cargo/registry/src') return 'registry'
  if (target === '/cargo/git/checkouts') return 'git'
  if (target === '.') return 'workspace'
  if (target.startsWith('/cargo/deps/')) return 'package'
  if (target.startsWith('/cargo/build-dir/')) return 'build'
  return undefined
}

/**
 * Names the directories of an invocation after the remap flags that the shim gives to every compile, so that there is one
 * place (the shim) that decides on them.
 */
export function unitRoots(invocation: Invocation, outDir: string): UnitRoots {
  const called = new Map<RootName, string>([['out', outDir]])
  const target = targetDirectory(outDir)
  if (target !== undefined) called.set('target', target)
  const aliases: Root[] = []
  let remaps: [RootName, string][] = []
  for (const { from, to } of invocation.remaps) {
    const name = rootOf(from, to)
    if (name === undefined) continue
    remaps.push([name, to])
    if (name === 'nowhere') continue
    const path = from.replace(/\/+$/, '')
    const other = called.get(name)
    // Of two ways to one directory the later is that by which cargo calls it.
    if (other !== undefined && other !== path) aliases.push({ name, path: other, alias: true })
    called.set(name, path)
  }
  // Where no remap can be undone, a second one of the same name changes nothing.
  if (remaps.some(([name]) => name === 'nowhere')) remaps = withoutRepeated(remaps)
  for (const alias of linkedRoots(called, invocation)) {
    if (![...called.values(), ...aliases.map(({ path }) => path)].includes(alias.path)) aliases.push(alias)
  }
  const roots = [...called].map(([name, path]): Root => ({ name, path }))
  return { roots: sortRoots([...roots, ...aliases]), remaps }
}

const withoutRepeated = (remaps: readonly [RootName, string][]): [RootName, string][] =>
  remaps.filter(([name, to], at) => remaps.findIndex((other) => other[0] === name && other[1] === to) === at)

/** Where the roots that are reached through symbolic links really are. */
function linkedRoots(called: Map<RootName, string>, { cwd, env }: Invocation): Root[] {
  // The working directory has no links in it; cargo may still call the package by some.
  const manifestDir = env.get('CARGO_MANIFEST_DIR')
  const workspace = called.get('workspace')
  const throughLinks = manifestDir === undefined || workspace !== cwd ? undefined : linkedTo(cwd, manifestDir)
  if (throughLinks !== undefined) called.set('workspace', throughLinks)
  const aliases: Root[] = []
  for (const [name, path] of called) {
    const real = name === 'out' ? path : realOf(path)
    if (real !== path) aliases.push({ name, path: real, alias: true })
  }
  return aliases
}

/** What leads to `dir` through links, when a directory in it is called `inside`. */
function linkedTo(dir: string, inside: string): string | undefined {
  if (isWithin(inside, dir)) return undefined
  const real = realOf(inside)
  const rest = isWithin(real, dir) ? real.slice(dir.length) : undefined
  if (rest === undefined || !inside.endsWith(rest)) return undefined
  const linked = inside.slice(0, inside.length - rest.length)
  return realOf(linked) === dir ? linked : undefined
}

/** Where links lead; the path itself when it is not there. */
export function realOf(path: string): string {
  try {
    return realpathSync.native(path)
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return path
  }
}

/** Characters that JSON, make rules or rustc's own options would write differently. */
export function hasUnusualPath(roots: readonly Root[]): boolean {
  return roots.some(({ path }) => /["\\=\u0000-\u001f\u007f]/.test(path) || !path.startsWith('/'))
}

/** How it tells a test where its files may lie. No action says it, because most tests do not ask; what does has it in its trace. */
export const scratchName = 'CARGO_TARGET_TMPDIR'

/**
 * Where cargo lets a test have its files, as rustc is told.
 * @returns undefined where it is told nothing, or of another place than that in the target directory
 */
export function scratchOf(env: ReadonlyMap<string, string>, roots: readonly Root[]): string | undefined {
  const scratch = env.get(scratchName)
  const isUsual = roots.some(({ name, path }) => name === 'target' && scratch === join(path, 'tmp'))
  return isUsual ? scratch : undefined
}
