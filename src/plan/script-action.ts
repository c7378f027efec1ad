import { z } from 'zod'
import { cidSchema, decodeCbor, type Encoded, encodeCbor } from '../wire/cbor.ts'
import { relativePath } from './action.ts'

/**
 * What is kept of a run of a build script, as canonical dag-cbor. `protocols/scripts.md` specifies it. Roots are written as in
 * `plan/action.ts`: `build` is OUT_DIR, `package` the directory with the manifest.
 */
const text = z.string().max(1 << 17)
const mode = z.int().min(0).max(0o7777)
const bytes = z.instanceof(Uint8Array)

const scriptActionSchema = z.strictObject({
  v: z.literal(3),
  what: z.literal('build-script-run'),
  /** As in an action. */
  salt: text,
  /** Digest of what the compiler loads, hex: scripts ask it what it can do. */
  toolchain: z.string().regex(/^[0-9a-f]{64}$/),
  /** Triple that the script runs on. */
  host: text,
  /** The script itself. */
  script: cidSchema,
  /** The processor that it runs on. */
  processor: text,
  cwd: text,
  /** Which roots lie in which others, the nearest, and where in it: there a path can mean either. Sorted. */
  nesting: z.array(z.tuple([text, text, text])).max(64),
  /** What cargo put into the environment, sorted by name; roots by name. */
  env: z.array(z.tuple([text, text])).max(4096),
  /** Decides on the modes of what it makes. */
  umask: z.int().min(0).max(0o777),
})
export type ScriptAction = z.output<typeof scriptActionSchema>

const times = {
  /** When it was changed last, if that was before the run or is still to come (µs since the Unix epoch): the script has given it a time. Null: during the run. */
  mtime: z.int().nullable(),
  /** How long that was before the last change of all (µs): what make compares. 0 for what has an `mtime`. */
  age: z.int().min(0),
}

const fileSchema = z.strictObject({
  kind: z.literal('file'),
  path: relativePath,
  mode,
  cid: cidSchema,
  size: z.int().min(0),
  /** Whether the block has roots by name, to be put back where it is laid out. */
  named: z.boolean(),
  ...times,
})
const entrySchema = z.discriminatedUnion('kind', [
  fileSchema,
  z.strictObject({ kind: z.literal('dir'), path: relativePath, mode, ...times }),
  z.strictObject({ kind: z.literal('link'), path: relativePath, to: text, ...times }),
])
/** Something in OUT_DIR. */
export type ScriptEntry = z.output<typeof entrySchema>
export type ScriptFile = z.output<typeof fileSchema>

const scriptResultSchema = z.strictObject({
  v: z.literal(2),
  /** The key of the run. */
  action: cidSchema,
  /** All of OUT_DIR, sorted by path: a directory before what is in it. */
  entries: z.array(entrySchema).max(65_536),
  /** Roots by name. */
  stdout: bytes,
  stderr: bytes,
  wallMs: z.int().min(0),
})
/** What a run that ended with 0 left and said. */
export type ScriptResult = z.output<typeof scriptResultSchema>

const scriptLimits = { action: 1 << 20, result: 32 << 20 } as const

export const encodeScriptAction = (action: ScriptAction): Encoded => encodeCbor(action)
export const decodeScriptAction = (from: Uint8Array): ScriptAction =>
  decodeCbor(from, scriptActionSchema, scriptLimits.action)
export const encodeScriptResult = (result: ScriptResult): Encoded => encodeCbor(result)
export const decodeScriptResult = (from: Uint8Array): ScriptResult =>
  decodeCbor(from, scriptResultSchema, scriptLimits.result)
