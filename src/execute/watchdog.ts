import { lstat, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf } from '../base/errors.ts'
import type { GuestLimits } from './limits.ts'

/** More entries, and deeper ones, than any compile leaves in its output directory. */
const maxProcesses = 4096
const [maxEntries, maxDepth] = [20_000, 16]

/** All processes of a guest, by the first one. */
export async function processesOf(firstPid: number): Promise<number[]> {
  const found: number[] = []
  const queue = [firstPid]
  for (let pid = queue.pop(); pid !== undefined && found.length < maxProcesses; pid = queue.pop()) {
    found.push(pid)
    // Only the first process of the namespace can fork, and it has one thread.
    for (const child of (await readProc(`${pid}/task/${pid}/children`)).split(' '))
      if (child !== '') queue.push(Number(child))
  }
  return found
}

/**
 * Measures all processes of a guest, and what it has written.
 * @returns what is over its limit, in words, or undefined
 */
export async function overLimit(
  pids: readonly number[],
  outDir: string | undefined,
  limits: GuestLimits,
): Promise<string | undefined> {
  let memory = 0
  let tasks = 0
  let written = 0
  for (const pid of pids) {
    const status = await readProc(`${pid}/status`)
    memory += 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0)
    tasks += Number(/^Threads:\s+(\d+)$/m.exec(status)?.[1] ?? 0)
    // Counts also what was deleted since: files that are gone but open take room.
    written += Number(/^write_bytes: (\d+)$/m.exec(await readProc(`${pid}/io`))?.[1] ?? 0)
  }
  if (memory > limits.memoryBytes) return `memory: ${memory} bytes`
  if (tasks > limits.tasks) return `tasks: ${tasks}`
  if (written > 2 * limits.outBytes) return `writing: ${written} bytes`
  const out = outDir === undefined ? 0 : await usage(outDir)
  return out > limits.outBytes ? `output: ${out} bytes` : undefined
}

/** Bytes on disk below a directory; infinite above a number or a depth of entries that no compile reaches. */
async function usage(dir: string): Promise<number> {
  let bytes = 0
  let entries = 0
  const queue = [{ dir, depth: 0 }]
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    for (const entry of await listing(next.dir)) {
      if (++entries > maxEntries || next.depth > maxDepth) return Number.POSITIVE_INFINITY
      const path = join(next.dir, entry.name)
      if (entry.isDirectory()) queue.push({ dir: path, depth: next.depth + 1 })
      else bytes += await blocksOf(path)
    }
  }
  return bytes
}

async function listing(dir: string) {
  try {
    return await readdir(dir, { withFileTypes: true })
  } catch (error) {
    if (isGone(error)) return []
    throw error
  }
}

async function blocksOf(path: string): Promise<number> {
  try {
    return (await lstat(path)).blocks * 512
  } catch (error) {
    if (isGone(error)) return 0
    throw error
  }
}

/** Empty when the process has ended or keeps this to itself. */
async function readProc(path: string): Promise<string> {
  try {
    return await readFile(`/proc/${path}`, 'utf8')
  } catch (error) {
    if (isGone(error)) return ''
    throw error
  }
}

const isGone = (error: unknown): boolean =>
  ['ENOENT', 'ENOTDIR', 'ESRCH', 'EACCES', 'EPERM'].includes(codeOf(error) ?? '')
