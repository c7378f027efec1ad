import { readdirSync, type Stats, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf } from '../base/errors.ts'

/** A package's sources, as far as that can be told without reading them. */
export interface SourceState {
  bytes: number
  files: number
  /** Milliseconds since the Unix epoch: the newest modification. */
  modifiedAt: number
  /** The same of whatever happened to a file, a change of its time stamps included. */
  changedAt: number
}

const maxFiles = 20_000
const isSource = (name: string): boolean => name.endsWith('.rs') || name === 'Cargo.toml'

/** Looks at what rustc is likely to read in a package; packages inside it, build directories and hidden ones apart. */
export async function sourceState(dir: string): Promise<SourceState> {
  const state: SourceState = { bytes: 0, files: 0, modifiedAt: 0, changedAt: 0 }
  const walk = async (at: string): Promise<void> => {
    const entries = await unlessGone([], () => readdir(at, { withFileTypes: true }))
    if (at !== dir && entries.some(({ name }) => name === 'Cargo.toml' || name === 'CACHEDIR.TAG')) return
    for (const entry of entries) {
      if (state.files >= maxFiles) return
      const path = join(at, entry.name)
      if (entry.isDirectory()) {
        if (!entry.name.startsWith('.') && entry.name !== 'node_modules') await walk(path)
      } else if (isSource(entry.name)) {
        add(state, statSync(path, { throwIfNoEntry: false }))
      }
    }
  }
  await walk(dir)
  return state
}

export const sameSources = (a: SourceState, b: SourceState): boolean =>
  a.bytes === b.bytes && a.files === b.files && a.changedAt === b.changedAt

function add(state: SourceState, stat: Stats | undefined): void {
  if (stat === undefined) return
  state.files += 1
  state.bytes += stat.size
  state.modifiedAt = Math.max(state.modifiedAt, stat.mtimeMs)
  state.changedAt = Math.max(state.changedAt, stat.ctimeMs)
}

/**
 * The sessions that rustc has finished for crates of a name: `<crate>-<id>/s-…`, whose last part rustc adds when all is written.
 * Several units have the same crate name: a library, its tests, a program.
 */
export function finishedSessions(incremental: string, crate: string): Set<string> {
  const found = new Set<string>()
  for (const unit of namesIn(incremental)) {
    if (!unit.startsWith(`${crate}-`)) continue
    for (const session of namesIn(join(incremental, unit))) {
      const isSession = session.startsWith('s-') && !session.endsWith('.lock') && !session.endsWith('-working')
      if (isSession) found.add(`${unit}/${session}`)
    }
  }
  return found
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir)
  } catch (error) {
    if (!isGone(error)) throw error
    return []
  }
}

async function unlessGone<T>(otherwise: T, act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (error) {
    if (!isGone(error)) throw error
    return otherwise
  }
}

const isGone = (error: unknown): boolean => ['ENOENT', 'ENOTDIR', 'EACCES'].includes(codeOf(error) ?? '')
