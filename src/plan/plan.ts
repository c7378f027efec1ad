import { isAbsolute, join, relative, resolve } from 'node:path'
import { codeOf } from '../base/errors.ts'
import type { Encoded } from '../wire/cbor.ts'
import { type Action, type ActionKey, encodeAction, encodeInputs, type RootName } from './action.ts'
import { type Reason, reasonToStay, type UnitKind, unitKind } from './classify.ts'
import { type Dependency, findDependencies, type Reach, type UnitSource } from './dependencies.ts'
import { actionEnvironment } from './environment.ts'
import type { Invocation } from './invocation.ts'
import { declaredOutputs, dropsNativeSearch, metadataPath, normaliseArgs } from './normalise.ts'
import { nameRoots, type Root } from './roots.ts'
import { parseRustcArgs, type RustcArgs } from './rustc-args.ts'
import type { StatDigests } from './stat-digests.ts'
import type { DigestedTree, Trees } from './trees.ts'
import { hasUnusualPath, unitRoots } from './unit-roots.ts'

export interface ToolchainId {
  /** Digest of what a compile loads, hex. */
  digest: string
  host: string
}

export interface PlanNeeds {
  digests: StatDigests
  trees: Trees
  reach: Reach
  /** Undefined when it cannot be identified. `target`: triple, when another one than the host. */
  toolchain(invocation: Invocation, target: string | undefined): Promise<ToolchainId | undefined>
  /** The environment that the cargo with this process id was started with. */
  cargoEnvironment(pid: number): Promise<ReadonlyMap<string, string> | undefined>
}

interface PlanBase {
  crate: string
  kind: UnitKind
  args: RustcArgs
  /** What the unit's metadata will reach; undefined when not known. */
  dependencies: Dependency[] | undefined
}

/** rustc simply runs here. */
export interface PlannedHere extends PlanBase {
  shareable: false
  reason: Reason
}

/** The unit is an action, the same on every machine. */
export interface PlannedAction extends PlanBase {
  shareable: true
  action: Action
  key: ActionKey
  actionBytes: Uint8Array
  /** The package directory as it is now. */
  tree: DigestedTree
  /** True when it reaches a procedural macro, whose output need not be the same each time. */
  usesMacros: boolean
  /** Every directory that a lender needs. */
  lent: DigestedTree[]
  build: DigestedTree | undefined
  inputs: Encoded
  roots: Root[]
  dependencies: Dependency[]
  /** A reason to keep the compile (not the recall) on this machine. */
  notAway: Reason | undefined
  /** Triple of the machine that the toolchain runs on. */
  host: string
}

export type Planned = PlannedHere | PlannedAction

/**
 * Turns an invocation into an action, or says why it stays a command for this machine only.
 * @param salt disowns all older results when changed
 * @throws ShoalError ERR_UNSUPPORTED when the arguments are not understood at all
 */
export async function plan(invocation: Invocation, salt: string, needs: PlanNeeds): Promise<Planned> {
  const args = parseRustcArgs(invocation.argv)
  const outDir = resolve(invocation.cwd, args.outDir)
  const { roots, remaps } = unitRoots(invocation, outDir)
  const kind = unitKind(args)
  const asDependency = dependencyPath(outDir, args, kind)
  const dependencies = args.emit.includes('metadata')
    ? await findDependencies(args, needs.digests, needs.reach)
    : undefined
  const source = asDependency === undefined ? 'kind' : await findSource(invocation, roots, needs)
  if (asDependency !== undefined) {
    needs.reach.expect(asDependency, {
      names: dependencies?.map(({ name }) => name),
      source: typeof source === 'string' ? undefined : source,
    })
  }
  const base: PlanBase = { crate: args.crateName, kind, args, dependencies }
  const here = (reason: Reason): PlannedHere => ({ ...base, shareable: false, reason })

  const stay = reasonToStay(args, invocation.env)
  if (stay !== undefined) return here(stay)
  if (hasUnusualPath(roots)) return here('unusual-path')
  if (dependencies === undefined) return here('dependency-unknown')
  if (typeof source === 'string') return here(source)
  const argv = normaliseArgs(args, roots)
  if (typeof argv === 'string') return here(argv)
  if (dropsNativeSearch(args, roots) && (await needs.trees.mentions(source.tree, bundlesNative))) {
    return here('native-library')
  }
  const { env, secret } = actionEnvironment(invocation.env, await needs.cargoEnvironment(invocation.cargoPid))
  if (secret !== undefined) return here('secret-in-environment')
  const toolchain = await needs.toolchain(invocation, args.target)
  if (toolchain === undefined) return here('toolchain-unknown')
  const build = await outDirTree(roots, needs)
  if (typeof build === 'string') return here(build)

  const action: Action = {
    v: 1,
    salt,
    toolchain: toolchain.digest,
    target: args.target ?? toolchain.host,
    crate: args.crateName,
    argv,
    env: env.map(([name, value]) => [name, nameRoots(value, roots)]),
    cwd: nameRoots(invocation.cwd, roots),
    remaps,
    deps: dependencies.map(({ name, cid }) => [name, cid]),
    build: build?.cid ?? null,
    outputs: declaredOutputs(args),
  }
  const encoded = encodeAction(action)
  const upstream = upstreamSources(remaps, dependencies, needs)
  const trees = new Map([source, ...upstream.sources].map((tree) => [`${tree.root}/${tree.path}`, tree]))
  const usesMacros = dependencies.some(({ name }) => !name.endsWith('.rmeta'))
  return {
    ...base,
    dependencies,
    shareable: true,
    action,
    key: encoded.cid,
    actionBytes: encoded.bytes,
    tree: source.tree,
    usesMacros,
    lent: [...trees.values()].map(({ tree }) => tree),
    build,
    inputs: encodeInputs({
      v: 1,
      trees: [
        ...[...trees.values()].map(({ root, path, tree }) => ({ root, path, tree: tree.lendable.cid })),
        ...(build ? [{ root: 'build' as const, path: '' as const, tree: build.cid }] : []),
      ],
      files: dependencies.map(({ name, cid, size }) => ({ root: 'deps', path: name, cid, size })),
    }),
    roots,
    host: toolchain.host,
    notAway:
      source.tree.withheld && usesMacros ? 'withheld-files' : upstream.missing ? 'dependency-unknown' : undefined,
  }
}

/** `#[link(name = "x", kind = "static")]` bundles a library that no argument names. */
const bundlesNative = /\bkind\s*=\s*"static/

/** Where dependents will look for what this unit makes; undefined for units that nothing depends on. */
function dependencyPath(outDir: string, args: RustcArgs, kind: UnitKind): string | undefined {
  if (args.emit.includes('metadata')) return metadataPath(outDir, args)
  if (kind !== 'proc-macro') return undefined
  return join(outDir, `lib${args.crateName}${args.codegen.get('extra-filename') ?? ''}.so`)
}

/**
 * rustc looks into the sources of the crates that a unit uses, where it finds them, and moves spans by what it reads:
 * the hash of the crate depends on it. For crates from outside the workspace the shim sees to it that it finds none; for
 * the user's own, whose diagnostics show those sources, they are inputs like any other.
 */
function upstreamSources(
  remaps: Action['remaps'],
  dependencies: readonly Dependency[],
  needs: PlanNeeds,
): { sources: UnitSource[]; missing: boolean } {
  if (remaps.some(([root]) => root === 'nowhere')) return { sources: [], missing: false }
  const sources = dependencies.map(({ path }) => needs.reach.sourceOf(path))
  const known = sources.filter((source) => source !== undefined)
  return { sources: known, missing: known.length < sources.length }
}

/** The package directory as it is now, and where it lies; the reason when it cannot be named. */
async function findSource(
  invocation: Invocation,
  roots: readonly Root[],
  needs: PlanNeeds,
): Promise<UnitSource | Reason> {
  const dir = invocation.env.get('CARGO_MANIFEST_DIR') ?? invocation.cwd
  const place = placeUnder(dir, roots)
  if (place === undefined) return 'unusual-path'
  try {
    return { ...place, tree: await needs.trees.tree(dir, place.root === 'registry') }
  } catch (error) {
    if (codeOf(error) === 'ERR_LIMIT') return 'too-large'
    throw error
  }
}

/** OUT_DIR may be absent when a build script wrote nothing; it never holds anything that must be withheld. */
async function outDirTree(roots: readonly Root[], needs: PlanNeeds): Promise<DigestedTree | Reason | undefined> {
  const dir = roots.find((root) => root.name === 'build')?.path
  if (dir === undefined) return undefined
  try {
    return await needs.trees.outDir(dir)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    if (codeOf(error) === 'ERR_LIMIT') return 'too-large'
    throw error
  }
}

function placeUnder(dir: string, roots: readonly Root[]): { root: RootName; path: string } | undefined {
  for (const { name, path } of roots) {
    if (name === 'out' || name === 'build') continue
    const inside = relative(path, dir)
    if (inside === '' || (!inside.startsWith('..') && !isAbsolute(inside))) return { root: name, path: inside }
  }
  return undefined
}
