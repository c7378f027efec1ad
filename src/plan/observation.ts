import { isUtf8 } from 'node:buffer'
import { closeSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'

/** The file that the observer writes, beside the outputs of a compile. */
export const observationFile = '.shoal-reads'

/** Bytes of that file when it is made: all holes. */
export const observationBytes = 8 << 20

/** The same of a build script, and how many hashes it has: what a script starts can be a whole build system. As `shim/observe.rs` has it. */
const ofScript = { bytes: 64 << 20, slots: 1 << 16 } as const

/** In the order of their numbers, from 1. */
const kinds = [
  'open',
  'stat',
  'list',
  'link',
  'exec',
  'write',
  'env',
  'load',
  'net',
  'attach',
  'clock',
  'random',
] as const

/** As the observer calls the working directory, which is asked for like a variable. */
export const workingDirectory = 'getcwd()'

/** As the observer calls it when somebody asks where a file lies that is open. */
export const placeOfOpened = 'readlink()'

/** As the observer calls libm, of which a code generator asked what is constant. What it is here stands in a place's environment under this name. */
export const mathLibrary = 'libm()'

/** Something that a compile, or a program that it started, did. protocols/observer.md says when each is noted. */
export interface Observation {
  kind: (typeof kinds)[number]
  /** Absolute, not normalised. The name alone for `env`, and for what is looked up along a path. */
  path: string
  /** 0 when it was found, else the system's error number. */
  errno: number
  /** Not asked by the compiler itself but by other code inside of it, or of a build script by what is no tool; `env` only. */
  macro: boolean
}

export interface Observations {
  /** Some program wrote to the file at all. */
  attached: boolean
  /** What was read is among the events. False when some of it may be missing. */
  complete: boolean
  /** In the order in which they were first noted, without repetitions. */
  events: Observation[]
}

const magic = 'shoalob1'
const header = { cursor: 8, flags: 16, expected: 24, attached: 32, slots: 40, purpose: 48, bytes: 64 } as const
const [usualSlots, maxSlots] = [8192, 1 << 20]
const recordHeader = 12
const maxPath = 4096
/** Of a build script more is noted. */
const maxArea = ofScript.bytes

/**
 * Reads what the observer wrote. Bytes after the last record need not be there. Never throws: bytes that the observer would not
 * write make the observations incomplete, and what precedes them is returned.
 * @param maxRecords with more of them it is incomplete, too. Default: as many as there are
 */
export function decodeObservations(bytes: Uint8Array, maxRecords: number = Number.POSITIVE_INFINITY): Observations {
  const none = { attached: false, complete: false, events: [] }
  if (bytes.length < header.bytes) return none
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const areaStart = areaAfter(view)
  if (bytes.length < areaStart) return none
  if (Buffer.from(bytes.subarray(0, magic.length)).toString('latin1') !== magic) return none

  const used = view.getBigUint64(header.cursor, true)
  const started = view.getBigInt64(header.expected, true)
  const attached = view.getBigInt64(header.attached, true)
  const end = areaStart + Number(used)
  // One program was started by whoever made the file, the others by programs that were observed.
  const everybody = attached > started
  const whole = view.getBigUint64(header.flags, true) === 0n && end <= bytes.length && everybody
  const records = decodeRecords(view, { areaStart, end: Math.min(end, bytes.length), maxRecords })
  return { attached: true, complete: whole && records.complete, events: records.events }
}

/** Makes the file for a build script, all holes. @throws the file system's error */
export function makeScriptNotes(path: string): void {
  const file = openSync(path, 'wx', 0o600)
  try {
    ftruncateSync(file, ofScript.bytes)
    const told = Buffer.alloc(16)
    told.writeBigUInt64LE(BigInt(ofScript.slots), 0)
    told.writeBigUInt64LE(1n, header.purpose - header.slots)
    writeSync(file, told, 0, told.length, header.slots)
  } finally {
    closeSync(file)
  }
}

/**
 * Decodes what a file holds, and reads no more of it than was written. On the event loop: it was written a moment ago, and is some
 * hundred kilobytes as a rule.
 * @throws the file system's error when it cannot be read
 */
export function readObservations(path: string): Observations {
  const file = openSync(path, 'r')
  try {
    const head = Buffer.alloc(header.bytes)
    const isWhole = readSync(file, head, 0, head.length, 0) === head.length
    const used = isWhole ? head.readBigUInt64LE(header.cursor) : 0n
    const areaStart = areaAfter(new DataView(head.buffer, head.byteOffset, head.length))
    const bytes = Buffer.alloc(areaStart + Math.min(Number(used), maxArea))
    return decodeObservations(bytes.subarray(0, readSync(file, bytes, 0, bytes.length, 0)))
  } finally {
    closeSync(file)
  }
}

/** Where the records begin: whoever made the file said how many hashes come before them. */
function areaAfter(view: DataView): number {
  const wanted = Math.min(Number(view.getBigUint64(header.slots, true)), maxSlots)
  return header.bytes + 8 * (wanted === 0 ? usualSlots : wanted)
}

function decodeRecords(
  view: DataView,
  { areaStart, end, maxRecords }: { areaStart: number; end: number; maxRecords: number },
): { complete: boolean; events: Observation[] } {
  const events = new Map<string, Observation>()
  let readable = true
  let at = areaStart
  for (let count = 0; at + recordHeader <= end && count < maxRecords; count++) {
    const total = view.getUint32(at, true)
    const length = view.getUint16(at + 4, true)
    const possible = total % 8 === 0 && length <= maxPath && recordHeader + length <= total && at + total <= end
    // Zero: who reserved the record never finished it, and where the next one begins is not known.
    if (total === 0 || !possible) break
    const event = decodeEvent(view, at, length)
    if (event === undefined) readable = false
    else events.set(`${event.kind} ${event.errno} ${event.macro} ${event.path}`, event)
    at += total
  }
  return { complete: readable && at === end, events: [...events.values()] }
}

function decodeEvent(view: DataView, at: number, length: number): Observation | undefined {
  const kind = kinds[view.getUint8(at + 8) - 1]
  const origin = view.getUint8(at + 9)
  const path = textOf(new Uint8Array(view.buffer, view.byteOffset + at + recordHeader, length))
  if (kind === undefined || origin > 1 || path === undefined) return undefined
  return { kind, path, errno: view.getUint16(at + 6, true), macro: origin === 1 }
}

/** Undefined for what is no UTF-8: such a name cannot be written into a trace. */
function textOf(bytes: Uint8Array): string | undefined {
  return isUtf8(bytes) ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8') : undefined
}
