import type { CID } from 'multiformats/cid'
import { z } from 'zod'
import { codeOf, ShoalError } from '../base/errors.ts'
import { cidSchema, decodeCbor, type Encoded, encodeCbor } from '../wire/cbor.ts'
import { rawCodec } from '../wire/cid.ts'
import { relativePath } from './action.ts'

/**
 * What a compile loads of a toolchain, file by file. Its sha2-256 *is* the digest of the toolchain: whoever knows the digest can ask
 * for the manifest as for any block. `protocols/toolchain.md` specifies it.
 */
export interface ToolchainManifest {
  v: 1
  /** Triple that the compiler runs on. */
  host: string
  target: string
  /** What `rustc -vV` says of itself; null where it does not know its commit. */
  release: string
  commit: string | null
  /** Whether the standard library's sources lie in the sysroot: rustc moves spans by what it finds there. */
  source: boolean
  /** Path relative to the sysroot, content, bytes. Sorted by path. */
  files: [path: string, content: CID, size: number][]
}

export const manifestLimits = { bytes: 1 << 20, files: 4096, fileBytes: 2 * 1024 ** 3 } as const

/** The one program among the files: the others are loaded or read. */
export const compilerProgram = 'bin/rustc'
/** Code generators that the compiler loads by itself, where it has them in files of their own. */
export const codegenBackends = (host: string): string => `lib/rustlib/${host}/codegen-backends`
export const standardLibraryOf = (triple: string): string => `lib/rustlib/${triple}/lib`
/** Among the names in `lib`: shared libraries. */
export const isSharedLibrary = (name: string): boolean => /\.(so|dylib)(\.|$)/.test(name)

const word = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/)

const schema: z.ZodType<ToolchainManifest> = z.strictObject({
  v: z.literal(1),
  host: word,
  target: word,
  release: word,
  commit: word.nullable(),
  source: z.boolean(),
  files: z
    .array(z.tuple([relativePath, cidSchema, z.int().min(0).max(manifestLimits.fileBytes)]))
    .max(manifestLimits.files),
})

export const encodeToolchain = (manifest: ToolchainManifest): Encoded => encodeCbor(manifest)

/** @throws ShoalError ERR_DECODE for whatever could not be laid out as a toolchain, each file in its place and nothing else */
export function decodeToolchain(bytes: Uint8Array): ToolchainManifest {
  const manifest = decodeCbor(bytes, schema, manifestLimits.bytes)
  const directories = new Set<string>()
  let before = ''
  for (const [path, cid] of manifest.files) {
    if (path <= before) throw refused(`${path} is out of order`)
    if (cid.code !== rawCodec || !isPlace(path, manifest)) throw refused(`${path} is no file of a toolchain`)
    for (let end = path.indexOf('/'); end >= 0; end = path.indexOf('/', end + 1)) directories.add(path.slice(0, end))
    before = path
  }
  const wrong = manifest.files.find(([path]) => directories.has(path))
  if (wrong !== undefined) throw refused(`${wrong[0]} is a file and a directory`)
  const has = (wanted: (path: string) => boolean): boolean => manifest.files.some(([path]) => wanted(path))
  if (!has((path) => path === compilerProgram) || !has((path) => path.startsWith('lib/librustc_driver'))) {
    throw refused('there is no compiler in it')
  }
  return manifest
}

/** Whether a manifest that was made here is one: a toolchain that shares its directory with the system cannot be laid out elsewhere. */
export function isLayable(bytes: Uint8Array): boolean {
  try {
    decodeToolchain(bytes)
    return true
  } catch (error) {
    if (codeOf(error) === 'ERR_DECODE') return false
    throw error
  }
}

export const bytesOf = ({ files }: Pick<ToolchainManifest, 'files'>): number =>
  files.reduce((sum, [, , size]) => sum + size, 0)

/** Where the files of a toolchain lie that is installed by itself, not among those of the system. */
function isPlace(path: string, { host, target }: ToolchainManifest): boolean {
  if (/[\u0000-\u001f\u007f\\]/.test(path)) return false
  if (path === compilerProgram) return true
  const inLib = /^lib\/([^/]+)$/.exec(path)?.[1]
  if (inLib !== undefined) return isSharedLibrary(inLib)
  const directories = [standardLibraryOf(host), standardLibraryOf(target), codegenBackends(host)]
  return directories.some((directory) => path.startsWith(`${directory}/`))
}

const refused = (message: string): ShoalError => new ShoalError('ERR_DECODE', `toolchain manifest: ${message}`)
