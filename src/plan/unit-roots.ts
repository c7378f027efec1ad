import type { RootName } from './action.ts'
import type { Invocation } from './invocation.ts'
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
  const roots: Root[] = [{ name: 'out', path: outDir }]
  const target = targetDirectory(outDir)
  if (target !== undefined) roots.push({ name: 'target', path: target })
  const remaps: [RootName, string][] = []
  for (const { from, to } of invocation.remaps) {
    const name = rootOf(from, to)
    if (name === undefined) continue
    remaps.push([name, to])
    if (name !== 'nowhere') roots.push({ name, path: from.replace(/\/+$/, '') })
  }
  return { roots: sortRoots(roots), remaps }
}

/** Characters that JSON, make rules or rustc's own options would write differently. */
export function hasUnusualPath(roots: readonly Root[]): boolean {
  return roots.some(({ path }) => /["\\=\u0000-\u001f\u007f]/.test(path) || !path.startsWith('/'))
}
