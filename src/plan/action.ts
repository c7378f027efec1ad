import type { CID } from 'multiformats/cid'
import { z } from 'zod'
import { cidSchema, decodeCbor, type Encoded, encodeCbor } from '../wire/cbor.ts'

/**
 * The objects that travel and are kept, as canonical dag-cbor. `protocols/action.md` specifies them.
 *
 * A *root* is a directory whose real path differs between machines. Inside these objects it is written NUL name NUL,
 * which no argument, path or environment value can contain. `nowhere` is a directory that no machine has.
 */
export const rootNames = [
  'registry',
  'git',
  'package',
  'workspace',
  'deps',
  'build',
  'out',
  'toolchain',
  'target',
  'nowhere',
] as const
export type RootName = (typeof rootNames)[number]

const root = z.enum(rootNames)
const text = z.string().max(1 << 17)
/** A relative path of plain segments: what may be joined to a directory without leaving it. */
export const relativePath = z
  .string()
  .min(1)
  .max(1024)
  .refine(
    (path) => path.split('/').every((part) => part !== '' && part !== '.' && part !== '..') && !path.includes('\0'),
  )
const size = z.int().min(0)

const outputKinds = ['dep-info', 'metadata', 'link'] as const
export type OutputKind = (typeof outputKinds)[number]

const actionSchema = z.strictObject({
  v: z.literal(2),
  /** Disowns every older result when changed: the mesh id. */
  salt: text,
  /** Digest of what the compiler loads, hex; see `plan/toolchain.ts`. */
  toolchain: z.string().regex(/^[0-9a-f]{64}$/),
  /** Content of the program that drives the compiler instead of rustc itself, such as clippy-driver; or null. */
  driver: cidSchema.nullable(),
  /** Target triple. */
  target: text,
  crate: text,
  /** rustc's arguments without the program; roots by name. */
  argv: z.array(text).max(4096),
  /** What cargo put into the environment, sorted by name; roots by name. */
  env: z.array(z.tuple([text, text])).max(4096),
  cwd: text,
  /** `--remap-path-prefix` of every compile, in order: root → what it is called in the outputs. */
  remaps: z.array(z.tuple([root, text])).max(16),
  /** Extern crates and what they are known to reach: file name under the root `deps` → content. Sorted. */
  deps: z.array(z.tuple([relativePath, cidSchema])).max(16384),
  /** The build script's OUT_DIR as a tree manifest, or null. */
  build: cidSchema.nullable(),
  /** Declared outputs: file name under the root `out`. */
  outputs: z.array(z.tuple([relativePath, z.enum(outputKinds)])).max(16),
})
export type Action = z.output<typeof actionSchema>

const treeSchema = z.strictObject({
  v: z.literal(1),
  /** Sorted by path. */
  files: z.array(z.strictObject({ path: relativePath, cid: cidSchema, size })).max(65536),
})
/** A directory: what a package or an OUT_DIR holds. */
export type Tree = z.output<typeof treeSchema>

const inputsSchema = z.strictObject({
  v: z.literal(1),
  /** Trees to lay out at `path` ('' for the root itself) under a root; the first is the unit's own package. */
  trees: z
    .array(
      z.strictObject({
        root,
        path: z.union([z.literal(''), relativePath]),
        tree: cidSchema,
        /** A block with the content of all files of the tree, one after the other: one thing to fetch instead of many. */
        pack: z.strictObject({ cid: cidSchema, size }).optional(),
      }),
    )
    .max(1024),
  files: z.array(z.strictObject({ root, path: relativePath, cid: cidSchema, size })).max(16384),
})
/** Everything that a compile away may read besides its toolchain. */
export type Inputs = z.output<typeof inputsSchema>

const resultSchema = z.strictObject({
  v: z.literal(2),
  /** The action key. */
  action: cidSchema,
  outputs: z
    .array(
      z.strictObject({
        name: relativePath,
        kind: z.enum(outputKinds),
        cid: cidSchema,
        size,
        /** Whether it can be executed: mode 0755, else 0644. */
        executable: z.boolean(),
      }),
    )
    .max(16),
  /** rustc's standard error without its artifact notifications; roots by name. */
  stderr: z.instanceof(Uint8Array),
  /** The text of the `.d` file; roots by name. */
  depInfo: text.or(z.string().max(1 << 21)),
  wallMs: size,
})
export type Result = z.output<typeof resultSchema>

/**
 * What can be said about something that a compile looked at.
 *
 * - `file`: a file with this content; `link`: a symbolic link with this text (digest of it)
 * - `dir`: there is a directory; `list`: a directory with these entries (digest of names and kinds); `absent`: nothing
 * - `program`: what a bare name finds along PATH, by content; null: nothing
 * - `tree`: everything in a directory, a tree manifest
 * - `environ`: the environment as a whole; `bound`: the real paths of the roots
 * - `sorts`: which of the others are links, and their modes; `place`: where one root lay. Of a build script's run alone
 */
export const readKinds = [
  'file',
  'link',
  'dir',
  'list',
  'absent',
  'program',
  'tree',
  'environ',
  'bound',
  'sorts',
  'place',
] as const
export type ReadKind = (typeof readKinds)[number]

const readsFields = {
  /** Kind, path (roots by name, or absolute), digest where the kind has one. Sorted by path. */
  reads: z.array(z.tuple([z.enum(readKinds), text, cidSchema.nullable()])).max(32768),
  /** Variables that were looked at beyond the action's own: value with roots by name, null for "was not set". Sorted. */
  env: z.array(z.tuple([text, text.nullable()])).max(4096),
}

const traceSchema = z.strictObject({
  v: z.literal(2),
  action: cidSchema,
  ...readsFields,
  result: cidSchema,
})
/** A constructive trace: action key + what the compile read → result. */
export type Trace = z.output<typeof traceSchema>
export type Read = Trace['reads'][number]
/** What a compile looked at beyond what its action says. */
export type ReadSet = Pick<Trace, 'reads' | 'env'>

export const limits = { action: 1 << 20, tree: 16 << 20, inputs: 4 << 20, result: 4 << 20, trace: 1 << 19 } as const

export const encodeAction = (action: Action): Encoded => encodeCbor(action)
export const decodeAction = (bytes: Uint8Array): Action => decodeCbor(bytes, actionSchema, limits.action)
export const encodeTree = (tree: Tree): Encoded => encodeCbor(tree)
export const decodeTree = (bytes: Uint8Array): Tree => decodeCbor(bytes, treeSchema, limits.tree)
export const encodeInputs = (inputs: Inputs): Encoded => encodeCbor(inputs)
export const decodeInputs = (bytes: Uint8Array): Inputs => decodeCbor(bytes, inputsSchema, limits.inputs)
export const encodeResult = (result: Result): Encoded => encodeCbor(result)
export const decodeResult = (bytes: Uint8Array): Result => decodeCbor(bytes, resultSchema, limits.result)
export const encodeTrace = (trace: Trace): Encoded => encodeCbor(trace)
export const decodeTrace = (bytes: Uint8Array): Trace => decodeCbor(bytes, traceSchema, limits.trace)

/** The name of an action: CID of its canonical bytes. */
export type ActionKey = CID
