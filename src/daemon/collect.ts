import { isUtf8 } from 'node:buffer'
import { statSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { ShoalError } from '../base/errors.ts'
import { collectHere, withoutIdentity } from '../execute/collector.ts'
import { limits, type Result } from '../plan/action.ts'
import { nameDiagnostics } from '../plan/diagnostics.ts'
import { linkedOutputs } from '../plan/normalise.ts'
import { observationFile } from '../plan/observation.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { isWithin } from '../plan/read-set.ts'
import { type Root, sortRoots } from '../plan/roots.ts'
import type { Ran } from './shim-link.ts'

export interface CollectBlocks {
  get(cid: CID): Promise<Uint8Array | undefined>
  path(cid: CID): Promise<string | undefined>
  put(bytes: Uint8Array): Promise<CID>
  putFile(
    path: string,
    options: { maxBytes: number; watch?: (chunk: Uint8Array) => void },
  ): Promise<{ cid: CID; size: number }>
}

/** `bind`: the outputs, or what rustc said, hold paths of this machine, so that the result holds for them only. */
export type Collected =
  | { result: Result; bind: boolean; made: readonly { name: string; cid: CID; identity: string }[] }
  | { reason: 'path-bound' | 'unsupported-option' | 'source-changed' }

/**
 * Takes what rustc left in the shim's private directory as a result: outputs into the store, paths by the names of their
 * roots.
 * @returns the reason instead when it cannot be kept
 * @throws ShoalError ERR_OUTPUT when an output is missing, and what the store throws
 */
export async function collectResult(
  planned: PlannedAction,
  privateDir: string,
  ran: Ran,
  blocks: CollectBlocks,
): Promise<Collected> {
  if (ran.stdout.length > 0) return { reason: 'unsupported-option' }
  if (await hasUndeclared(privateDir, planned)) return { reason: 'unsupported-option' }
  const others = planned.roots.filter((root) => root.name !== 'out')
  const outDirs = planned.roots.filter((root) => root.name === 'out')
  const roots: Root[] = sortRoots([...others, ...outDirs, { name: 'out', path: privateDir }])
  const collection = await collectHere({
    dir: privateDir,
    outputs: planned.action.outputs,
    // A remap may have taken the rest of the private directory's path away.
    search: [basename(privateDir), ...outermost(roots.map(({ path }) => path))],
    roots,
    blocks,
  })
  if (wasTouched(privateDir, planned)) return { reason: 'source-changed' }
  // The private directory is never used again, so what holds its name is of no use anywhere.
  if (collection.found.length > 0 && (await mentions(privateDir, planned))) return { reason: 'path-bound' }
  if (!isUtf8(ran.stderr)) return { reason: 'unsupported-option' }
  const diagnostics = nameDiagnostics(withoutArtifacts(ran.stderr), roots)
  if (diagnostics === undefined) return { reason: 'unsupported-option' }
  const stderr = Buffer.from(diagnostics.text)
  if (stderr.length > limits.result / 2) return { reason: 'unsupported-option' }
  const result: Result = {
    v: 2,
    action: planned.key,
    outputs: collection.outputs.map(withoutIdentity),
    stderr: new Uint8Array(stderr),
    depInfo: collection.depInfo,
    wallMs: ran.wallMs,
  }
  const made = collection.outputs.map(({ name, cid, identity }) => ({ name, cid, identity }))
  return { result, bind: collection.pathBound !== undefined || diagnostics.bound, made }
}

/** What was linked here, of objects that were made elsewhere. */
export interface CollectedLinks {
  outputs: Result['outputs']
  bind: boolean
}

/**
 * Takes what a linker made in a directory of its own.
 * @throws ShoalError ERR_OUTPUT when an output is missing, ERR_UNSUPPORTED when one holds the name of that directory, and what
 *   the store throws
 */
export async function collectLinked(
  planned: PlannedAction,
  dir: string,
  blocks: CollectBlocks,
): Promise<CollectedLinks> {
  const linked = linkedOutputs(planned.args)
  const search = [basename(dir), ...outermost(planned.roots.map(({ path }) => path))]
  const { outputs, found } = await collectHere({
    dir,
    outputs: planned.action.outputs.filter(([name]) => linked.has(name)),
    search,
    roots: planned.roots,
    blocks,
  })
  if (found.some((needle) => needle.equals(Buffer.from(basename(dir))))) {
    throw new ShoalError('ERR_UNSUPPORTED', 'the name of its directory is in what was linked')
  }
  return { outputs: outputs.map(withoutIdentity), bind: found.length > 0 }
}

/** Whoever holds the path of a directory inside another holds that of the other too. */
function outermost(paths: readonly string[]): string[] {
  return paths.filter((path) => !paths.some((other) => other !== path && isWithin(path, other)))
}

/** Whether an output holds the name of the directory that it was made in. */
async function mentions(privateDir: string, { action }: PlannedAction): Promise<boolean> {
  for (const [name, kind] of action.outputs) {
    if (kind !== 'dep-info' && (await readFile(join(privateDir, name))).includes(basename(privateDir))) return true
  }
  return false
}

const artifactMark = '"$message_type":"artifact"'

/** Artifact notifications are written anew wherever a result is delivered. */
export function withoutArtifacts(stderr: Uint8Array): string {
  const lines = Buffer.from(stderr).toString('utf8').split('\n')
  return lines.filter((line) => !line.includes(artifactMark)).join('\n')
}

/** Whether rustc left something beside the declared outputs, as some of its options have it do: a result does not carry it. */
async function hasUndeclared(privateDir: string, { action }: PlannedAction): Promise<boolean> {
  const declared = new Set([observationFile, doneFile, ...action.outputs.map(([name]) => name)])
  return (await readdir(privateDir)).some((name) => !declared.has(name))
}

/** Made by the shim when rustc has ended. */
const doneFile = '.shoal-done'

/** Whether an output was written to after rustc had ended: cargo's own file is the same one, and cargo may have ended too. */
function wasTouched(privateDir: string, { action }: PlannedAction): boolean {
  const time = (name: string): bigint | undefined =>
    statSync(join(privateDir, name), { bigint: true, throwIfNoEntry: false })?.mtimeNs
  const done = time(doneFile)
  return done === undefined || action.outputs.some(([name]) => (time(name) ?? done) > done)
}
