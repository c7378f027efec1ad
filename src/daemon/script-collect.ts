import { isUtf8 } from 'node:buffer'
import { readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { NeedleSearch } from '../execute/needles.ts'
import type { Reason } from '../plan/classify.ts'
import { holdsCompressed } from '../plan/compressed.ts'
import { secretValues } from '../plan/environment.ts'
import { calledRoots, nameLoneRoots, placeRoots, type Root } from '../plan/roots.ts'
import type { ScriptEntry, ScriptFile, ScriptResult } from '../plan/script-action.ts'
import { boundByWords } from '../plan/script-place.ts'
import { arePlain, type PlannedScript, waysBetween } from '../plan/script-plan.ts'
import { microseconds, unsaidValues } from '../recall/script-evidence.ts'
import { isStill, type Seen } from './script-tree.ts'
import type { Ran } from './shim-link.ts'

export interface CollectScriptBlocks {
  put(bytes: Uint8Array): Promise<CID>
  putFile(
    path: string,
    options: { maxBytes: number; watch?: (chunk: Uint8Array) => void },
  ): Promise<{ cid: CID; size: number }>
}

/** `boundTo`: roots whose paths, or what may be their paths, are in what the script left. */
export type CollectedScript = { result: ScriptResult; boundTo: readonly string[] } | { reason: Reason }

/** What make, ninja and pkg-config read, paths and all: in these the paths of a place are put in place of those of another. */
const rewritten = /\.(d|pc)$/
const maxRewritten = 4 << 20
/** Larger files are not looked into: what they hold may be compressed. */
const maxLookedInto = 256 << 20
const maxSaid = 4 << 20

/** Something to search for, and what it binds a run to. */
interface Trace {
  needle: Buffer
  to: readonly string[] | Extract<Reason, 'secret-in-environment' | 'unusual-output'>
}

export interface LeftByScript {
  ran: Ran
  /** OUT_DIR when the script had ended, before anybody else could touch it. */
  seen: readonly Seen[]
  /** When the script began, by the clock of the file system (ms). */
  since: number
  /** When it had ended, by the same clock. */
  until: number
  /** What it was told so that it could be observed: who writes that down has gone through all variables. */
  ours: readonly string[]
}

/**
 * Takes what a script left in OUT_DIR and what it said: files into the store, paths by the names of their roots where that is safe.
 * @throws what the file system and the store throw
 */
export async function collectScript(
  planned: PlannedScript,
  { ran, seen, since, until, ours }: LeftByScript,
  blocks: CollectScriptBlocks,
): Promise<CollectedScript> {
  const { roots, call } = planned
  const all = roots.map(({ name }) => name)
  const bound = new Set<string>(planned.isLinked ? all : [])
  const traces = [
    ...tracesOf(planned),
    ...ours.map((text): Trace => ({ needle: Buffer.from(text), to: 'unusual-output' })),
  ]
  const note = (to: Trace['to']): Reason | undefined => {
    if (typeof to === 'string') return to
    for (const name of to) bound.add(name)
    return undefined
  }
  const searchText = (text: string): Reason | undefined => {
    note([...boundByWords(Buffer.from(text), roots)])
    for (const { needle, to } of traces) {
      if (!text.includes(needle.toString())) continue
      const reason = note(to)
      if (reason !== undefined) return reason
    }
    return undefined
  }

  const said = [ran.stdout, ran.stderr].map((bytes) => named(bytes, roots))
  const [stdout, stderr] = said
  if (stdout === undefined || stderr === undefined || stdout.length + stderr.length > maxSaid)
    return { reason: 'unusual-output' }
  for (const text of [stdout, stderr]) {
    const reason = searchText(text)
    if (reason !== undefined) return { reason }
  }

  const timesOf = timesAmong(seen, Math.floor(since), until)
  const entries: ScriptEntry[] = []
  for (const entry of seen) {
    const { path, stat } = entry
    if (!isUtf8(Buffer.from(path)) || path.includes('\ufffd')) return { reason: 'unusual-output' }
    const inName = searchText(path)
    if (inName !== undefined) return { reason: inName }
    const mode = Number(stat.mode & 0o7777n)
    if (stat.isDirectory()) entries.push({ kind: 'dir', path, mode, ...timesOf(entry) })
    else if (stat.isSymbolicLink()) {
      const to = await readlink(join(call.outDir, path))
      const reason = searchText(to)
      if (reason !== undefined) return { reason }
      entries.push({ kind: 'link', path, to, ...timesOf(entry) })
    } else if (stat.isFile() && stat.nlink === 1n) {
      const kept = await keepFile(entry, planned, traces, blocks)
      for (const to of kept.found) {
        const reason = note(to)
        if (reason !== undefined) return { reason }
      }
      entries.push({ ...kept.file, mode, ...timesOf(entry) })
    } else return { reason: 'unusual-output' }
    if (!isStill(call.outDir, entry)) return { reason: 'source-changed' }
  }
  const result: ScriptResult = {
    v: 2,
    action: planned.key,
    entries,
    stdout: new Uint8Array(Buffer.from(stdout)),
    stderr: new Uint8Array(Buffer.from(stderr)),
    wallMs: ran.wallMs,
  }
  return { result, boundTo: all.filter((name) => bound.has(name)) }
}

/** What is kept of times: what was changed during the run is, in the same order, when it is laid out. */
function timesAmong(
  seen: readonly Seen[],
  since: number,
  until: number,
): (entry: Seen) => Pick<ScriptFile, 'mtime' | 'age'> {
  const isNew = ({ stat }: Seen): boolean => Number(stat.mtimeMs) >= since && Number(stat.mtimeMs) <= until
  let newest = 0n
  for (const entry of seen) if (isNew(entry) && entry.stat.mtimeNs > newest) newest = entry.stat.mtimeNs
  return (entry) => {
    if (!isNew(entry)) return { mtime: microseconds(entry.stat), age: 0 }
    return { mtime: null, age: Number((newest - entry.stat.mtimeNs) / 1000n) }
  }
}

/** What was said with roots by name; undefined when that cannot be undone, or is no text. */
function named(bytes: Uint8Array, roots: readonly Root[]): string | undefined {
  if (!isUtf8(bytes)) return undefined
  const text = Buffer.from(bytes).toString()
  if (text.includes('\0')) return undefined
  const byName = nameLoneRoots(text, calledRoots(roots))
  return placeRoots(byName, roots) === text ? byName : undefined
}

async function keepFile(
  { path, stat }: Seen,
  { call, roots }: PlannedScript,
  traces: readonly Trace[],
  blocks: CollectScriptBlocks,
): Promise<{ file: Omit<ScriptFile, 'mode' | 'mtime' | 'age'>; found: Trace['to'][] }> {
  const from = join(call.outDir, path)
  const size = Number(stat.size)
  if (rewritten.test(path) && size <= maxRewritten && arePlain(roots)) {
    const text = named(await readFile(from), roots)
    if (text !== undefined) {
      const found = traces.filter(({ needle }) => text.includes(needle.toString())).map(({ to }) => to)
      found.push([...boundByWords(Buffer.from(text), roots)])
      const bytes = Buffer.from(text)
      return { file: { kind: 'file', path, cid: await blocks.put(bytes), size: bytes.length, named: true }, found }
    }
  }
  const searches = traces.map(({ needle, to }) => ({ search: new NeedleSearch([needle]), to }))
  const { cid } = await blocks.putFile(from, {
    maxBytes: size,
    watch: (chunk) => {
      for (const { search } of searches) search.push(chunk)
    },
  })
  const found = searches.flatMap(({ search, to }) => (search.found === undefined ? [] : [to]))
  const whole = size > maxLookedInto ? undefined : await readFile(from)
  if (whole === undefined || holdsCompressed(whole)) found.push(roots.map(({ name }) => name))
  else found.push([...boundByWords(whole, roots)])
  return { file: { kind: 'file', path, cid, size, named: false }, found }
}

/** What a script is told besides so that it can be observed, and what it is called behind its launcher: plain cargo's would not have it. */
const ownWords = ['SHOAL_OBSERVE', 'SHOAL_WRAPPER', 'build-script.real']

/**
 * Paths of roots, in whatever way they may be written, ways between them, and secrets. Who writes PATH down as a whole has gone
 * through the variables of the session.
 */
function tracesOf({ roots, call }: PlannedScript): Trace[] {
  const all = roots.map(({ name }) => name)
  const traces: Trace[] = []
  for (const { name, path } of roots) {
    const spelt = [
      path,
      path.replaceAll('/', '\\/'),
      path.replaceAll(' ', '\\ '),
      encodeURI(path),
      encodeURIComponent(path),
    ]
    for (const each of new Set(spelt)) {
      traces.push({ needle: Buffer.from(each), to: [name] })
    }
  }
  for (const way of waysBetween(roots)) traces.push({ needle: Buffer.from(way), to: all })
  const path = call.env.get('PATH') ?? ''
  if (path.includes(':')) traces.push({ needle: Buffer.from(path), to: 'unusual-output' })
  for (const value of [...unsaidValues(call.env), ...ownWords])
    traces.push({ needle: Buffer.from(value), to: 'unusual-output' })
  for (const value of secretValues(call.env)) traces.push({ needle: Buffer.from(value), to: 'secret-in-environment' })
  return traces
}
