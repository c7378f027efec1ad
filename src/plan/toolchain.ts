import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { readdir, realpath } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { Environment } from '../base/paths.ts'
import { cidFromDigest, hexOf } from '../wire/cid.ts'
import { loadedLibraries } from './elf.ts'
import { type StatMemo, signatureOf } from './stat-memo.ts'
import { exists, hasDriver, isAbsence, run, SysrootFinder } from './sysroot.ts'
import {
  codegenBackends,
  compilerProgram,
  decodeToolchain,
  encodeToolchain,
  isSharedLibrary,
  standardLibraryOf,
} from './toolchain-manifest.ts'

/** One file that a compile loads. */
export interface ToolchainFile {
  /** Relative to the sysroot. */
  path: string
  size: number
  sha256: string
}

/** A compiler and its standard library for one target, by content. */
export interface Toolchain {
  /** Hex sha2-256 of its manifest: of path, size and content of every file that a compile for `target` loads. */
  digest: string
  /** See `plan/toolchain-manifest.ts`. */
  manifest: Uint8Array
  /** Absolute, links resolved. */
  sysroot: string
  /** Triple that the compiler runs on, and that proc-macros are built for. */
  host: string
  target: string
  /** Such as `1.95.0`. */
  release: string
  /** Absent in builds that do not know theirs. */
  commitHash: string | undefined
  /** Whether the standard library's sources lie here: then their paths appear in outputs unless remapped. */
  hasSource: boolean
  /** Sorted by path. */
  files: ToolchainFile[]
  /** Whether it came from another member: nothing in its files is believed, and nothing of it runs but in the sandbox. */
  isFetched: boolean
  /** What `stat` said of the files; see `isUnchanged`. */
  stamp: string
  /**
   * Where a standard library for the target would lie, relative to the sysroot. Absent: it lies there. Without it nothing of it is loaded: whoever
   * compiles for such a target brings what it needs, as `-Zbuild-std` does, or needs none.
   */
  lacks?: string
}

export interface ResolvedRustc {
  sysroot: string
  host: string
}

/** Libraries of the compiler itself, where a distribution puts them beside those of everybody else. */
const compilerLibrary = /^lib(rustc_driver|rustc|LLVM|std|test|proc_macro)[-.]/
/** Directories that a sysroot shares with the rest of the system. */
const sharedSysroots = new Set(['/', '/usr', '/usr/local'])
/** How long a toolchain that was looked at counts as unchanged, so that a build does not `stat` sixty files a unit. */
const settledMs = 1000
/** Where rustup puts the sources of the standard library. */
export const librarySource = 'lib/rustlib/src/rust'

/** What a compiler says of itself. */
interface CompilerVersion {
  host: string
  release: string
  commitHash: string | undefined
}

export interface ToolchainsNeeds {
  memo: StatMemo
  clock: Clock
}

/** The toolchains of this machine. Runs rustc only where its files do not tell, and once each. */
export class Toolchains {
  readonly #memo: StatMemo
  readonly #clock: Clock
  readonly #finder = new SysrootFinder()
  readonly #identities = new Map<string, { since: number; identity: Promise<Toolchain> }>()

  constructor(needs: ToolchainsNeeds) {
    this.#memo = needs.memo
    this.#clock = needs.clock
  }

  /**
   * Which toolchain stands behind the program that cargo calls `rustc`: a toolchain's own binary, a rustup proxy
   * (`RUSTUP_TOOLCHAIN`, which rustup sets for cargo), or a distribution's.
   * @param rustc a path, or a bare name to be found on `env.PATH`
   * @throws ShoalError ERR_TOOLCHAIN when it is not there or is something else, such as a script around rustc
   */
  async resolve(rustc: string, env: Environment, cwd: string): Promise<ResolvedRustc> {
    const sysroot = await this.#finder.find(rustc, env, cwd)
    const { host } = await this.identify(sysroot)
    return { sysroot, host }
  }

  /**
   * @param target default: the host
   * @throws ShoalError ERR_TOOLCHAIN when files are missing or change while they are read, or the target is half installed
   */
  async identify(sysroot: string, target?: string): Promise<Toolchain> {
    const key = `${sysroot}\n${target ?? ''}`
    const known = this.#identities.get(key)
    const now = this.#clock.now()
    if (known !== undefined && now - known.since < settledMs && (await isStill(known.identity))) return known.identity
    const entry = { since: now, identity: this.#identify(sysroot, target) }
    this.#identities.set(key, entry)
    try {
      return await entry.identity
    } catch (error) {
      if (this.#identities.get(key) === entry) this.#identities.delete(key)
      throw fromFileSystem(error, sysroot)
    }
  }

  /**
   * Every toolchain and target installed under `rustupHome` and in the sysroots `extra`; broken ones are left out.
   * One directory under several names counts once.
   */
  async list(rustupHome: string, extra: readonly string[] = []): Promise<Toolchain[]> {
    const home = join(rustupHome, 'toolchains')
    const names = await readdir(home).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return []
      throw error
    })
    const found = new Map<string, Toolchain>()
    const seen = new Set<string>()
    for (const directory of [...names.sort().map((name) => join(home, name)), ...extra]) {
      try {
        const sysroot = await realpath(directory)
        if (seen.has(sysroot)) continue
        seen.add(sysroot)
        for (const target of await installedTargets(sysroot)) {
          const toolchain = await this.identify(sysroot, target)
          found.set(toolchain.digest, toolchain)
        }
      } catch (error) {
        if (codeOf(error) !== 'ERR_TOOLCHAIN' && !isAbsence(error)) throw error
      }
    }
    return [...found.values()]
  }

  /**
   * A toolchain whose files another member served, laid out in `sysroot` and nothing beside them. None of it is run: what the
   * compiler says of itself is in the manifest.
   * @throws ShoalError ERR_TOOLCHAIN when something else lies there than the manifest says, ERR_DECODE when it is none
   */
  async fetched(sysroot: string, manifest: Uint8Array): Promise<Toolchain> {
    const { host, target, release, commit } = decodeToolchain(manifest)
    let found: Toolchain
    try {
      found = await this.#examine(await realpath(sysroot), target, { host, release, commitHash: commit ?? undefined })
    } catch (error) {
      throw fromFileSystem(error, sysroot)
    }
    if (Buffer.compare(found.manifest, manifest) === 0) return { ...found, isFetched: true }
    throw new ShoalError('ERR_TOOLCHAIN', `${sysroot} is not what its manifest says`)
  }

  async #identify(given: string, wanted: string | undefined): Promise<Toolchain> {
    const sysroot = await realpath(given)
    const version = await this.#version(sysroot)
    return await this.#examine(sysroot, wanted ?? version.host, version)
  }

  async #examine(sysroot: string, target: string, version: CompilerVersion): Promise<Toolchain> {
    const { host, release, commitHash } = version
    const paths = await compilerFiles(sysroot)
    const lacks = target === host ? undefined : lackedIn(sysroot, target)
    for (const triple of new Set(lacks === undefined ? [host, target] : [host]))
      paths.push(...(await standardLibrary(sysroot, triple)))
    paths.push(...(await filesUnder(sysroot, codegenBackends(host)).catch(none)))
    const files: ToolchainFile[] = []
    const signatures: string[] = []
    for (const path of paths.sort()) {
      const { size, sha256, signature } = await this.#memo.content(join(sysroot, path))
      files.push({ path, size, sha256 })
      signatures.push(signature)
    }
    const hasSource = exists(join(sysroot, librarySource))
    const { bytes, cid } = encodeToolchain({
      v: 1,
      host,
      target,
      release,
      commit: commitHash ?? null,
      source: hasSource,
      files: files.map(({ path, size, sha256 }) => [path, cidFromDigest(Buffer.from(sha256, 'hex')), size]),
    })
    await this.#memo.save()
    return {
      digest: hexOf(cid),
      manifest: bytes,
      sysroot,
      ...version,
      target,
      hasSource,
      files,
      isFetched: false,
      stamp: signatures.join(' '),
      ...(lacks === undefined ? {} : { lacks }),
    }
  }

  /** What `rustc -vV` says, filed under the content of the compiler. */
  async #version(sysroot: string): Promise<CompilerVersion> {
    try {
      const hash = createHash('sha256')
      for (const path of (await compilerFiles(sysroot)).sort()) {
        hash.update(`${path}\0${(await this.#memo.content(join(sysroot, path))).sha256}\n`)
      }
      const name = `rustc -vV ${hash.digest('hex')}`
      let note = this.#memo.note(name)
      if (note === undefined) {
        note = readVersion(await run(join(sysroot, 'bin/rustc'), ['-vV'], { LC_ALL: 'C' }, '/'))
        this.#memo.setNote(name, note)
        await this.#memo.save()
      }
      const { host, release } = note
      if (host === undefined || release === undefined)
        throw new ShoalError('ERR_TOOLCHAIN', `${sysroot}: rustc -vV names no host`)
      return { host, release, commitHash: note['commit-hash'] }
    } catch (error) {
      throw fromFileSystem(error, sysroot)
    }
  }
}

async function isStill(identity: Promise<Toolchain>): Promise<boolean> {
  return isUnchanged(await identity)
}

/**
 * Whether the files of a toolchain are still those that were identified. Looks at each (a quarter of a millisecond in all)
 * and reads none.
 */
export function isUnchanged(toolchain: Toolchain): boolean {
  const now = toolchain.files.map(({ path }) => {
    const stat = statSync(join(toolchain.sysroot, path), { bigint: true, throwIfNoEntry: false })
    return stat === undefined ? '' : signatureOf(stat)
  })
  const { lacks } = toolchain
  return now.join(' ') === toolchain.stamp && (lacks === undefined || !exists(join(toolchain.sysroot, lacks)))
}

/** bin/rustc and the shared libraries that are the compiler, relative to the sysroot. */
async function compilerFiles(sysroot: string): Promise<string[]> {
  if (!sharedSysroots.has(sysroot) && (await hasDriver(sysroot))) {
    const names = await readdir(join(sysroot, 'lib'))
    return [compilerProgram, ...names.filter(isSharedLibrary).map((name) => `lib/${name}`)]
  }
  const { libraries } = await loadedLibraries(join(sysroot, compilerProgram))
  const own = libraries.filter((library) => compilerLibrary.test(library.name))
  const paths = await Promise.all(own.map(async (library) => relative(sysroot, await realpath(library.path))))
  const outside = paths.find((path) => path.startsWith('..'))
  if (outside !== undefined) throw new ShoalError('ERR_TOOLCHAIN', `${sysroot}: ${outside} lies outside`)
  return [compilerProgram, ...paths]
}

/** Where there is nothing at all of a target. */
function lackedIn(sysroot: string, triple: string): string | undefined {
  const dir = dirname(standardLibraryOf(triple))
  return exists(join(sysroot, dir)) ? undefined : dir
}

async function standardLibrary(sysroot: string, triple: string): Promise<string[]> {
  try {
    return await filesUnder(sysroot, standardLibraryOf(triple))
  } catch (error) {
    if (!isAbsence(error)) throw error
    throw new ShoalError('ERR_TOOLCHAIN', `${sysroot}: target ${triple} is not installed`)
  }
}

async function filesUnder(sysroot: string, directory: string): Promise<string[]> {
  const entries = await readdir(join(sysroot, directory), { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(sysroot, join(entry.parentPath, entry.name)))
}

function none(error: unknown): string[] {
  if (isAbsence(error)) return []
  throw error
}

async function installedTargets(sysroot: string): Promise<string[]> {
  const names = await readdir(join(sysroot, 'lib/rustlib'))
  return names.filter((name) => exists(join(sysroot, 'lib/rustlib', name, 'lib'))).sort()
}

function readVersion(text: string): Record<string, string> {
  const lines = text.split('\n').map((line) => /^(host|release|commit-hash): (\S+)$/.exec(line))
  const known = lines.flatMap((line) => (line?.[1] && line[2] && line[2] !== 'unknown' ? [[line[1], line[2]]] : []))
  return Object.fromEntries(known)
}

function fromFileSystem(error: unknown, sysroot: string): unknown {
  return isAbsence(error)
    ? new ShoalError('ERR_TOOLCHAIN', `${sysroot} lacks files of a toolchain`, { cause: error })
    : error
}
