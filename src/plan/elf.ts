import { constants } from 'node:fs'
import { access, type FileHandle, open, realpath } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { codeOf, ShoalError } from '../base/errors.ts'

/** What the dynamic loader reads from one ELF file. */
export interface DynamicObject {
  /** `PT_INTERP`: the loader itself; executables only. */
  interpreter?: string
  /** `DT_NEEDED` names, in order. */
  needed: string[]
  /** `DT_RUNPATH`, or else `DT_RPATH`, split; `$ORIGIN` unexpanded. */
  runpath: string[]
  /** Whether it refers to `environ`: then it can look at all variables without asking for one. */
  usesEnviron: boolean
}

/** Largest table read: the dynamic strings of LLVM are 2.5 MB. */
const maxTable = 64 << 20
const loadSegment = 1
const dynamicSegment = 2
const interpreterSegment = 3
const tag = { end: 0n, needed: 1n, strtab: 5n, strsz: 10n, rpath: 15n, runpath: 29n } as const

interface Segment {
  type: number
  offset: number
  address: bigint
  size: number
}

/**
 * Reads the dynamic section of a 64-bit little-endian ELF file without running anything of it, unlike ldd.
 * @returns undefined when the file is not such an ELF file or is linked statically
 * @throws the file system's error when it cannot be read; ShoalError ERR_DECODE when its headers contradict themselves
 */
export async function readDynamic(path: string): Promise<DynamicObject | undefined> {
  const file = await open(path, 'r')
  try {
    const header = await readAt(file, 0, 64).catch((error: unknown) => {
      if (codeOf(error) === 'ERR_DECODE') return undefined
      throw error
    })
    if (header === undefined || header.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1)
      return undefined
    const segments = await readSegments(file, header)
    const dynamic = segments.find((segment) => segment.type === dynamicSegment)
    if (dynamic === undefined) return undefined
    const interp = segments.find((segment) => segment.type === interpreterSegment)
    const object = await readTags(file, dynamic, segments)
    if (interp === undefined) return object
    return { ...object, interpreter: textAt(await readAt(file, interp.offset, Math.min(interp.size, 4096)), 0) }
  } finally {
    await file.close()
  }
}

async function readSegments(file: FileHandle, header: Buffer): Promise<Segment[]> {
  const [offset, each, count] = [number(header.readBigUInt64LE(32)), header.readUInt16LE(54), header.readUInt16LE(56)]
  if (each < 56) throw new ShoalError('ERR_DECODE', 'ELF program headers are too small')
  const table = await readAt(file, offset, each * count)
  return Array.from({ length: count }, (_, index) => {
    const at = index * each
    return {
      type: table.readUInt32LE(at),
      offset: number(table.readBigUInt64LE(at + 8)),
      address: table.readBigUInt64LE(at + 16),
      size: number(table.readBigUInt64LE(at + 32)),
    }
  })
}

async function readTags(file: FileHandle, dynamic: Segment, segments: Segment[]): Promise<DynamicObject> {
  const table = await readAt(file, dynamic.offset, dynamic.size)
  const tags: { tag: bigint; value: bigint }[] = []
  for (let at = 0; at + 16 <= table.length; at += 16) {
    const entry = { tag: table.readBigUInt64LE(at), value: table.readBigUInt64LE(at + 8) }
    if (entry.tag === tag.end) break
    tags.push(entry)
  }
  const first = (wanted: bigint): bigint | undefined => tags.find((entry) => entry.tag === wanted)?.value
  const address = first(tag.strtab) ?? 0n
  const load = segments.find(
    (segment) =>
      segment.type === loadSegment && address >= segment.address && address < segment.address + BigInt(segment.size),
  )
  if (load === undefined) throw new ShoalError('ERR_DECODE', 'ELF string table lies in no segment')
  const strings = await readAt(file, load.offset + number(address - load.address), number(first(tag.strsz) ?? 0n))
  const text = (value: bigint): string => textAt(strings, number(value))
  const paths = first(tag.runpath) ?? first(tag.rpath)
  return {
    needed: tags.filter((entry) => entry.tag === tag.needed).map((entry) => text(entry.value)),
    runpath: paths === undefined ? [] : text(paths).split(':').filter(Boolean),
    usesEnviron: strings.includes('\0environ\0') || strings.includes('\0__environ\0'),
  }
}

async function readAt(file: FileHandle, offset: number, size: number): Promise<Buffer> {
  if (size > maxTable) throw new ShoalError('ERR_DECODE', `ELF table of ${size} bytes`)
  const bytes = Buffer.alloc(size)
  const { bytesRead } = await file.read(bytes, 0, size, offset)
  if (bytesRead !== size) throw new ShoalError('ERR_DECODE', 'ELF file ends early')
  return bytes
}

function textAt(bytes: Buffer, from: number): string {
  const end = bytes.indexOf(0, from)
  return bytes.toString('utf8', from, end < 0 ? bytes.length : end)
}

function number(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ShoalError('ERR_DECODE', 'ELF offset out of range')
  return Number(value)
}

/** A shared library as the loader finds it. */
export interface LoadedLibrary {
  /** The name by which it is asked for. */
  name: string
  /** Where the loader looks it up, links unresolved. */
  path: string
}

export interface Closure {
  interpreter: string
  /** Everything that the loader maps before `main`, besides the interpreter. */
  libraries: LoadedLibrary[]
}

/** Loaders, and libraries of the system that a compiler has need of. Whoever may choose others could have any file shown to it. */
const systemLoaders = new Set(['/lib64/ld-linux-x86-64.so.2', '/lib/ld-linux-aarch64.so.1'])
const systemLibrary =
  /^(ld-linux-x86-64|ld-linux-aarch64|lib(c|m|dl|rt|pthread|util|z|gcc_s|stdc\+\+|atomic))\.so(\.\d+)*$/

/**
 * All shared libraries that starting `executable` loads, found as the loader does: run paths, then the system's directories.
 * @param within for an executable that nobody here has installed: besides libraries in this directory it gets the system's
 *   loader and C runtime, and whatever its headers say, no other file of this machine is looked at
 * @throws ShoalError ERR_TOOLCHAIN when it is no dynamic executable, or a library is not found or not to be had
 */
export async function loadedLibraries(executable: string, within?: string): Promise<Closure> {
  const start = await realpath(executable)
  const main = await readDynamic(start)
  if (main?.interpreter === undefined)
    throw new ShoalError('ERR_TOOLCHAIN', `${executable} is not a dynamic executable`)
  if (within !== undefined && !systemLoaders.has(main.interpreter))
    throw new ShoalError('ERR_TOOLCHAIN', `${executable} wants a loader of its own`)
  const libraries = new Map<string, LoadedLibrary>()
  const queue: { path: string; object: DynamicObject }[] = [{ path: start, object: main }]
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const own = next.object.runpath.map((path) => path.replace(/\$ORIGIN|\$\{ORIGIN\}/g, dirname(next?.path ?? '/')))
    for (const name of next.object.needed) {
      if (libraries.has(name) || name === basename(main.interpreter)) continue
      const system = systemDirectories(main.interpreter)
      const path = await findLibrary(
        name,
        within === undefined ? [...own, ...system] : confined(name, own, system, within),
      )
      const object = path === undefined ? undefined : await readDynamic(path)
      if (path === undefined || object === undefined) {
        throw new ShoalError('ERR_TOOLCHAIN', `${executable} needs ${name}, which is not found`)
      }
      libraries.set(name, { name, path })
      queue.push({ path, object })
    }
  }
  return { interpreter: main.interpreter, libraries: [...libraries.values()] }
}

/** Where a library may be looked for whose name and whose directories are somebody else's words. */
function confined(name: string, own: readonly string[], system: string[], within: string): string[] {
  if (systemLibrary.test(name)) return system
  if (!/^lib[\w.+-]+$/.test(name)) return []
  return own.map((directory) => resolve(directory)).filter((directory) => isBelow(directory, within))
}

const isBelow = (path: string, directory: string): boolean => path.startsWith(`${directory}/`)

function systemDirectories(interpreter: string): string[] {
  const arch = /x86[_-]64/.test(interpreter) ? 'x86_64' : 'aarch64'
  return [`/lib/${arch}-linux-gnu`, `/usr/lib/${arch}-linux-gnu`, '/lib64', '/usr/lib64', '/lib', '/usr/lib']
}

async function findLibrary(name: string, directories: string[]): Promise<string | undefined> {
  for (const directory of directories) {
    const path = join(directory, name)
    try {
      await access(path, constants.R_OK)
      return path
    } catch (error) {
      if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ENOTDIR') throw error
    }
  }
  return undefined
}
