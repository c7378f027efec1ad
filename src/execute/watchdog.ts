import { execFile } from 'node:child_process'
import { closeSync, type Dirent, lstatSync, opendirSync, openSync, readSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { codeOf } from '../base/errors.ts'
import type { GuestLimits } from './limits.ts'
import { deletedOf, isGone, listProc, type Written } from './written.ts'

const execute = promisify(execFile)

const maxProcesses = 4096
/** More entries, and deeper ones, than any compile leaves in its output directory, and in its temporary one. */
const [maxEntries, maxDepth] = [4096, 16]
/** What is there, what was put out, and the tables of pages: those of memory that was only ever read take more than the memory itself. */
const memoryOf = /^Vm(?:RSS|Swap|PTE):\s+(\d+) kB$/gm
/** Of what the kernel says of a process: nearly always all of it. */
const procBytes = 2048

/** All processes of a guest, by the first one. */
export async function processesOf(firstPid: number): Promise<number[]> {
  const found = new Set([firstPid])
  let queue = await childrenOf(firstPid)
  // Whose parent has ended meanwhile is a child of the first one by now.
  while (queue.some((pid) => !found.has(pid)) && found.size < maxProcesses) {
    for (let pid = queue.pop(); pid !== undefined && found.size < maxProcesses; pid = queue.pop()) {
      if (found.has(pid)) continue
      found.add(pid)
      queue.push(...(await childrenOf(pid)))
    }
    queue = await childrenOf(firstPid)
  }
  return [...found]
}

/** What any of its threads has started. Of one that has ended they become another's, mostly the first one's: that is read last. */
async function childrenOf(pid: number): Promise<number[]> {
  const children: number[] = []
  for (const thread of listProc(`${pid}/task`).reverse()) {
    for (const child of readProc(`${pid}/task/${thread}/children`).split(' '))
      if (child !== '') children.push(Number(child))
  }
  return children
}

/** What is over its limit when it is the disk's, and not this guest's alone. */
export const noRoom = 'hardly any room is left on the disk'

/** Of a guest that is watched. */
interface Watched {
  outDir: string | undefined
  limits: GuestLimits
  /** Whether one process of it may leave to another what it has written. Default: it may not. */
  startsPrograms?: boolean
  /** What may let it stand still. */
  standstill?: { readonly isHeld: boolean } | undefined
}

/**
 * Measures all processes of a guest, and what it has written.
 * @param written what was seen of this guest before
 * @returns what is over its limit, in words, or undefined
 */
export function overLimit(
  pids: readonly number[],
  { outDir, limits, startsPrograms = false, standstill }: Watched,
  written: Written,
): string | undefined {
  let memory = 0
  let tasks = 0
  for (const pid of pids) {
    const status = readProc(`${pid}/status`)
    for (const [, kib] of status.matchAll(memoryOf)) memory += 1024 * Number(kib)
    tasks += Number(/^Threads:\s+(\d+)$/m.exec(status)?.[1] ?? 0)
  }
  if (memory > limits.memoryBytes) return `memory: ${memory} bytes`
  if (tasks > limits.tasks) return `tasks: ${tasks}`
  const bytes = written.look(pids, standstill?.isHeld)
  if (bytes === undefined) return 'writing: a process does not let itself be watched'
  if (bytes > 2 * limits.outBytes) return `writing: ${bytes} bytes`
  const temporary = temporaryOf(`/proc/${pids[0]}/root/tmp`, limits.tmpBytes)
  if (temporary > maxEntries) return `temporary files: ${temporary}`
  if (outDir === undefined) return undefined
  if (written.fills(outDir)) return noRoom
  const out = usage(outDir) + (startsPrograms ? deletedOf(pids) : 0)
  return out > limits.outBytes ? `output: ${out} bytes` : undefined
}

/**
 * As `overLimit`, of a guest that is a single process, on a system without `/proc`.
 * @throws what starting `ps` does
 */
export async function overLimitAlone(
  pid: number,
  outDir: string | undefined,
  limits: GuestLimits,
): Promise<string | undefined> {
  const memory = 1024 * Number(await residentKib(pid))
  if (!(memory <= limits.memoryBytes)) return `memory: ${memory} bytes`
  const out = outDir === undefined ? 0 : usage(outDir)
  return out > limits.outBytes ? `output: ${out} bytes` : undefined
}

/** As `ps` says it; `0` when it has ended. */
async function residentKib(pid: number): Promise<string> {
  try {
    return (await execute('/bin/ps', ['-o', 'rss=', '-p', `${pid}`], { env: {}, timeout: 5000 })).stdout
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 1) return '0'
    throw error
  }
}

/**
 * Entries of the private `/tmp`: the kernel's memory for them counts as nobody's. It is told by its size, because until bubblewrap
 * has finished the host's own is there.
 */
function temporaryOf(dir: string, bytes: number): number {
  try {
    const { blocks, bsize, files, ffree } = statfsSync(dir)
    return blocks === Math.ceil(bytes / bsize) ? files - ffree : 0
  } catch (error) {
    if (isGone(error)) return 0
    throw error
  }
}

/**
 * Bytes on disk below a directory; infinite above a number or a depth of entries that no compile reaches. On the event loop: what a
 * guest has just made the kernel has in memory, and five times a second a dozen trips to the thread pool took longer than all else.
 */
function usage(root: string): number {
  const files: string[] = []
  let entries = 0
  const queue = [{ dir: root, depth: 0 }]
  // Counted before any is measured: somebody may be making more all the time.
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    const { dir, depth } = next
    const found = listing(dir, maxEntries - entries)
    if (found === undefined || depth > maxDepth) return Number.POSITIVE_INFINITY
    entries += found.length
    for (const entry of found) {
      if (entry.isDirectory()) queue.push({ dir: join(dir, entry.name), depth: depth + 1 })
      else files.push(join(dir, entry.name))
    }
  }
  let bytes = 0
  for (const file of files) bytes += blocksOf(file)
  return bytes
}

/** Undefined when there are more than `most`, or when its own user must not list it, which no compile needs. */
function listing(dir: string, most: number): Dirent[] | undefined {
  const found: Dirent[] = []
  try {
    const opened = opendirSync(dir, { bufferSize: 256 })
    try {
      for (let entry = opened.readSync(); entry !== null; entry = opened.readSync()) {
        if (found.length >= most) return undefined
        found.push(entry)
      }
    } finally {
      opened.closeSync()
    }
    return found
  } catch (error) {
    if (codeOf(error) === 'EACCES') return undefined
    if (isGone(error)) return found
    throw error
  }
}

function blocksOf(path: string): number {
  try {
    return lstatSync(path).blocks * 512
  } catch (error) {
    if (isGone(error)) return 0
    throw error
  }
}

/** What the kernel says of a process is in memory: there is no disk to wait for, and a thread takes longer than the answer. */
function readText(path: string): string {
  const fd = openSync(path, 'r')
  try {
    const parts: Buffer[] = []
    for (;;) {
      const buffer = Buffer.allocUnsafe(procBytes)
      const count = readSync(fd, buffer)
      if (count === 0) return Buffer.concat(parts).toString('utf8')
      parts.push(buffer.subarray(0, count))
    }
  } finally {
    closeSync(fd)
  }
}

/** Empty when the process has ended or keeps this to itself. */
function readProc(path: string): string {
  try {
    return readText(`/proc/${path}`)
  } catch (error) {
    if (isGone(error)) return ''
    throw error
  }
}
