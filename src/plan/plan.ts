import { basename, isAbsolute, relative, resolve } from 'node:path'
import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import { type Action, type ActionKey, encodeAction, type RootName } from './action.ts'
import {
  hasOwnTarget,
  installedTarget,
  links,
  type Reason,
  reasonNotAway,
  reasonToStay,
  type UnitKind,
  unitKind,
} from './classify.ts'
import { type Dependency, findDependencies, type Reach, type UnitSource } from './dependencies.ts'
import { actionEnvironment, holdsPassword, tellsSecret } from './environment.ts'
import type { Invocation } from './invocation.ts'
import { declaredOutputs, dependencyPath, normaliseArgs, unnamedSearchPaths } from './normalise.ts'
import { calledRoots, nameRoots, type Root, rootToken, sortRoots } from './roots.ts'
import { parseRustcArgs, type RustcArgs } from './rustc-args.ts'
import { saidBy } from './script-said.ts'
import type { StatDigests } from './stat-digests.ts'
import type { DigestedTree, Trees } from './trees.ts'
import { hasUnusualPath, scratchOf, unitRoots } from './unit-roots.ts'

export interface ToolchainId {
  /** Digest of what a compile loads, hex. */
  digest: string
  host: string
  /** Absolute, links resolved. */
  sysroot: string
  /** Files that the digest is over and the directories that they lie in, relative to the sysroot. */
  covered: ReadonlySet<string>
}

export interface PlanNeeds {
  digests: StatDigests
  trees: Trees
  reach: Reach
  /** Undefined when it cannot be identified. `target`: triple, when another one than the host. */
  toolchain(invocation: Invocation, target: string | undefined): Promise<ToolchainId | undefined>
  /** The environment that the cargo with this process id was started with. */
  cargoEnvironment(pid: number): Promise<ReadonlyMap<string, string> | undefined>
  /** Names a program that drives the compiler, by content; it may be a proxy for the one in the sysroot. */
  driver(path: string, sysroot: string): Promise<CID>
  /** Names the processor of this machine; undefined when that cannot be told. */
  processor(): string | undefined
}

interface PlanBase {
  crate: string
  kind: UnitKind
  args: RustcArgs
  /** What the unit's metadata will reach; undefined when not all of it is known. */
  reaches: Dependency[] | undefined
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
  /** The package directory. */
  source: UnitSource
  /** Packages whose sources rustc looks into besides. */
  upstream: UnitSource[]
  /** True when it reaches a procedural macro, whose output need not be the same each time. */
  usesMacros: boolean
  /** OUT_DIR as it is now. */
  build: DigestedTree | undefined
  roots: Root[]
  dependencies: Dependency[]
  /** Directories in which rustc looks for crates, absolute. */
  dependencyDirs: string[]
  /** Directories with native libraries that the action does not name. */
  unnamedDirs: string[]
  /** What `-C incremental` names, absolute. The action is the same compile without it. */
  incremental: string | undefined
  /** Where cargo lets a test have its files, absolute; undefined where it tells of no such place. */
  scratch?: string | undefined
  /** A reason to keep the compile (not the recall) on this machine. */
  notAway: Reason | undefined
  toolchain: ToolchainId
}

export type Planned = PlannedHere | PlannedAction

/**
 * Turns an invocation into an action, or says why it stays a command for this machine only.
 * @param salt disowns all older results when changed
 * @throws ShoalError ERR_UNSUPPORTED when the arguments are not understood at all
 */
export async function plan(invocation: Invocation, salt: string, needs: PlanNeeds): Promise<Planned> {
  const { cwd, env: variables } = invocation
  const args = parseRustcArgs(invocation.argv)
  const outDir = resolve(cwd, args.outDir)
  const found = await findDependencies(args, cwd, needs.digests, needs.reach)
  const reaches = found?.complete === true ? found.dependencies : undefined
  const { roots: named, remaps } = unitRoots(invocation, outDir)
  const source = findSource(invocation, named)
  const path = dependencyPath(outDir, args)
  if (path !== undefined) needs.reach.expect(path, { names: reaches?.map(({ name }) => name), source })

  const base: PlanBase = { crate: args.crateName, kind: unitKind(args), args, reaches }
  const here = (reason: Reason): PlannedHere => ({ ...base, shareable: false, reason })
  const stay = reasonToStay(args, variables)
  if (stay !== undefined) return here(stay)
  if (hasUnusualPath(named) || source === undefined) return here('unusual-path')
  if (found === undefined) return here('dependency-unknown')
  const { env, secrets } = actionEnvironment(variables, await needs.cargoEnvironment(invocation.cargoPid))
  if (secrets.length > 0 && (await mayBeOfScript(secrets, variables))) return here('secret-in-environment')
  const toolchain = await needs.toolchain(invocation, installedTarget(args))
  if (toolchain === undefined) return here('toolchain-unknown')
  const roots = sortRoots([...named, { name: 'toolchain', path: toolchain.sysroot }])
  const called = calledRoots(roots)
  const argv = normaliseArgs(args, { roots, processor: needs.processor })
  if (typeof argv === 'string') return here(argv)
  if (invocation.argv.some(holdsPassword) || tellsSecret(argv, env, variables)) return here('secret-in-environment')
  const build = await outDirTree(roots, needs)
  if (typeof build === 'string') return here(build)

  const { dependencies, directories } = found
  const action: Action = {
    v: 2,
    salt,
    toolchain: toolchain.digest,
    driver: invocation.driver === undefined ? null : await needs.driver(invocation.driver, toolchain.sysroot),
    target: hasOwnTarget(args) ? basename(args.target ?? '', '.json') : (args.target ?? toolchain.host),
    crate: args.crateName,
    argv,
    env: env.map(([name, value]) => [name, nameRoots(value, called) + (isEscaped(name, value) ? escaped : '')]),
    cwd: nameRoots(cwd, roots),
    remaps,
    deps: dependencies.map(({ name, cid }) => [name, cid]),
    build: build?.cid ?? null,
    outputs: declaredOutputs(args),
  }
  const encoded = encodeAction(action)
  const upstream = upstreamSources(remaps, dependencies, needs)
  const incremental = args.codegen.get('incremental')
  return {
    ...base,
    shareable: true,
    action,
    key: encoded.cid,
    actionBytes: encoded.bytes,
    source,
    upstream: upstream.sources,
    usesMacros: dependencies.some(({ name }) => !/\.(rmeta|rlib)$/.test(name)),
    build,
    roots,
    dependencies,
    dependencyDirs: directories,
    unnamedDirs: unnamedSearchPaths(args, roots).map((dir) => resolve(cwd, dir)),
    incremental: incremental === undefined ? undefined : resolve(cwd, incremental),
    scratch: scratchOf(variables, named),
    notAway:
      reasonNotAway(args, invocation.driver, action.target) ??
      (env.some(([name, value]) => isEscaped(name, value)) ? 'unusual-path' : undefined) ??
      (found.complete && !upstream.missing ? undefined : 'dependency-unknown') ??
      (argv.some(links(args) ? isUnknownSearchPath : isForeignSearchPath) ? 'native-library' : undefined),
    toolchain,
  }
}

/**
 * Whether one of these variables is told by the build script of the package, which is done for a unit to read it. What cargo's configuration sets
 * for every unit (`[env]`) is like what is set in the shell: it matters to those that ask for it.
 */
async function mayBeOfScript(names: readonly string[], variables: ReadonlyMap<string, string>): Promise<boolean> {
  const outDir = variables.get('OUT_DIR')
  if (outDir === undefined) return false
  const said = await saidBy(outDir)
  return said === undefined || names.some((name) => said.variables.has(name))
}

const escaped = '\0escaped\0'

/**
 * `include!(concat!(env!("OUT_DIR"), …))` is the one use of a directory that binds nothing to its place. But rustc writes a path
 * that needs escapes in a string differently into the metadata than one that needs none (tried with serde_core 1.0.229, nine
 * paths of the one kind and eight of the other): so that there are two kinds of action.
 */
const isEscaped = (name: string, value: string): boolean => name === 'OUT_DIR' && /[^ -~]|["'\\]/.test(value)

/** One without a name: whoever does not link needs no more than the name. */
const isUnknownSearchPath = (argument: string, at: number, argv: readonly string[]): boolean =>
  argv[at - 1] === '-L' && !argument.replace(/^\w+=/, '').startsWith('\0')

/** A directory with native libraries that no lender is given. */
function isForeignSearchPath(argument: string, at: number, argv: readonly string[]): boolean {
  if (argv[at - 1] !== '-L') return false
  const path = argument.replace(/^\w+=/, '')
  return !path.startsWith(rootToken('deps')) && !path.startsWith(rootToken('build'))
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
  const sources = dependencies.map(({ path }) => {
    // A library is known by the metadata beside it.
    return needs.reach.sourceOf(path) ?? needs.reach.sourceOf(path.replace(/\.rlib$/, '.rmeta'))
  })
  const known = sources.filter((source) => source !== undefined)
  return { sources: known, missing: known.length < sources.length }
}

/** Where the package lies; undefined when that has no name. */
function findSource(invocation: Invocation, roots: readonly Root[]): UnitSource | undefined {
  const dir = invocation.env.get('CARGO_MANIFEST_DIR') ?? invocation.cwd
  const place = placeUnder(dir, roots)
  return place && { ...place, dir }
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
    if (name === 'out' || name === 'build' || name === 'target' || name === 'toolchain') continue
    const inside = relative(path, dir)
    if (inside === '' || (!inside.startsWith('..') && !isAbsolute(inside))) return { root: name, path: inside }
  }
  return undefined
}
