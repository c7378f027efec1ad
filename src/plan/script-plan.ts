import { existsSync } from 'node:fs'
import { dirname, isAbsolute, join, relative } from 'node:path'
import type { CID } from 'multiformats/cid'
import type { Reason } from './classify.ts'
import { actionEnvironment, holdsPassword, secretValues } from './environment.ts'
import type { Invocation } from './invocation.ts'
import type { PlanNeeds, ToolchainId } from './plan.ts'
import { isWithin } from './read-set.ts'
import { calledRoots, nameRoots, type Root, sortRoots } from './roots.ts'
import { encodeScriptAction, type ScriptAction } from './script-action.ts'
import { targetDirectory } from './target-dir.ts'
import { hasUnusualPath, realOf } from './unit-roots.ts'

/** A build script as cargo started it. */
export interface ScriptCall {
  /** The script itself, absolute. */
  program: string
  cwd: string
  env: ReadonlyMap<string, string>
  /** OUT_DIR, absolute. */
  outDir: string
  umask: number
  cargoPid: number
}

export interface PlannedScript {
  key: CID
  action: ScriptAction
  actionBytes: Uint8Array
  toolchain: ToolchainId
  roots: Root[]
  /** One of the roots is reached through symbolic links: what the script made of that is not followed up. */
  isLinked: boolean
  call: ScriptCall
}

/** What cargo puts there that says how it works just now and not what is to be made; who asks for one has it in the trace. */
const mechanics = new Set(['NUM_JOBS', 'CARGO_PRIMARY_PACKAGE'])

/**
 * Names a run of a build script: the same for the same script with the same words of cargo's, wherever it lies.
 * @param salt as for an action
 * @returns the reason where that cannot be done
 */
export async function planScript(
  call: ScriptCall,
  salt: string,
  needs: Pick<PlanNeeds, 'digests' | 'toolchain' | 'cargoEnvironment' | 'processor'>,
): Promise<PlannedScript | Reason> {
  const { env: variables, cwd, umask } = call
  // cargo waits: nothing of this needs to wait for the rest of it.
  const [cargo, toolchain, script] = await Promise.all([
    needs.cargoEnvironment(call.cargoPid),
    needs.toolchain(compilerOf(call), targetOf(call)),
    needs.digests.digest(call.program),
  ])
  // Without it, what cargo has added cannot be told from what was there.
  if (cargo === undefined) return 'unobserved'
  const { env, secrets } = actionEnvironment(variables, cargo)
  if (secrets.length > 0) return 'secret-in-environment'
  if (toolchain === undefined) return 'toolchain-unknown'
  const roots = rootsOf(call, toolchain.sysroot)
  if (hasUnusualPath(roots)) return 'unusual-path'
  const called = calledRoots(roots)
  const given = env.filter(([name]) => !mechanics.has(name))
  given.push(['LD_LIBRARY_PATH', librariesOf(variables.get('LD_LIBRARY_PATH') ?? '', roots)])
  const values = secretValues(variables)
  if (given.some(([, value]) => holdsPassword(value) || values.some((each) => value.includes(each))))
    return 'secret-in-environment'
  const named = given.map(([name, value]): [string, string] => [name, nameRoots(value, called)])
  const action: ScriptAction = {
    v: 3,
    what: 'build-script-run',
    salt,
    toolchain: toolchain.digest,
    host: toolchain.host,
    script: script.cid,
    processor: needs.processor() ?? '',
    cwd: nameRoots(cwd, called),
    nesting: nestingOf(roots),
    env: named.sort((a, b) => (a[0] < b[0] ? -1 : 1)),
    umask,
  }
  const { bytes, cid } = encodeScriptAction(action)
  const isLinked = roots.some(({ path }) => realOf(path) !== path)
  return { key: cid, action, actionBytes: bytes, toolchain, roots, isLinked, call }
}

/** Where libraries are looked for, but for cargo's own directories: in its new layout these are named after any of the package's units. */
function librariesOf(path: string, roots: readonly Root[]): string {
  const target = roots.find(({ name }) => name === 'target')?.path
  const dirs = path.split(':').filter((dir) => dir !== '' && (target === undefined || !isWithin(dir, target)))
  return dirs.join(':')
}

/** Whether paths look the same wherever they are written, also in rules of make. */
export const arePlain = (roots: readonly Root[]): boolean => roots.every(({ path }) => /^[\w/.+@~-]+$/.test(path))

/** The compiler that cargo tells its scripts of. */
function compilerOf({ env, cwd, cargoPid }: ScriptCall): Invocation {
  return { driver: undefined, rustc: env.get('RUSTC') ?? 'rustc', argv: [], cwd, env, remaps: [], cargoPid }
}

/** What the package is compiled for; undefined for what the script itself runs on. */
function targetOf({ env }: ScriptCall): string | undefined {
  const target = env.get('TARGET')
  return target === env.get('HOST') || target?.endsWith('.json') ? undefined : target
}

/** Whether the toolchain is still the one that a run was named with. */
export async function isStillToolchain(
  { call, toolchain }: Pick<PlannedScript, 'call' | 'toolchain'>,
  find: PlanNeeds['toolchain'],
): Promise<boolean> {
  return (await find(compilerOf(call), targetOf(call)))?.digest === toolchain.digest
}

function rootsOf({ env, program, outDir, cwd }: ScriptCall, sysroot: string): Root[] {
  const dir = env.get('CARGO_MANIFEST_DIR') ?? cwd
  const home = env.get('CARGO_HOME') || join(env.get('HOME') || '/', '.cargo')
  const registry = join(home, 'registry/src')
  const git = join(home, 'git/checkouts')
  const roots: Root[] = [
    { name: 'build', path: outDir },
    { name: 'package', path: dir },
    { name: 'toolchain', path: sysroot },
  ]
  if (isAbsolute(home)) roots.push({ name: 'registry', path: registry }, { name: 'git', path: git })
  // Where a target is named, OUT_DIR lies in a directory of that within the one that has the script and its libraries.
  const target = targetDirectory(dirname(program)) ?? targetDirectory(outDir)
  if (target !== undefined) roots.push({ name: 'target', path: target })
  const workspace = isWithin(dir, registry) || isWithin(dir, git) ? undefined : workspaceOf(dir)
  if (workspace !== undefined && workspace !== dir) roots.push({ name: 'workspace', path: workspace })
  return sortRoots(roots.map(({ name, path }) => ({ name, path: path.replace(/(?<=.)\/+$/, '') })))
}

/** The nearest directory with a lock file: packages in it name each other's files. */
function workspaceOf(dir: string): string | undefined {
  for (let at = dir; at !== dirname(at); at = dirname(at)) if (existsSync(join(at, 'Cargo.lock'))) return at
  return undefined
}

/** @param roots longest path first */
function nestingOf(roots: readonly Root[]): ScriptAction['nesting'] {
  const pairs = roots.flatMap(({ name, path }): ScriptAction['nesting'] => {
    const around = roots.find((other) => other.path !== path && isWithin(path, other.path))
    return around === undefined ? [] : [[name, around.name, path.slice(around.path.length + 1)]]
  })
  return pairs.sort((a, b) => (a[0] < b[0] ? -1 : 1))
}

/**
 * How to get from one root to another where that is not the same in every place with the same nesting: a script can write it down.
 * What is so short that it can mean anything is left out.
 */
export function waysBetween(roots: readonly Root[]): string[] {
  const areTogether = (one: Root, other: Root): boolean =>
    roots.some(({ path }) => isWithin(one.path, path) && isWithin(other.path, path))
  const ways = roots.flatMap((from) =>
    roots.filter((to) => !areTogether(from, to)).map((to) => relative(from.path, to.path)),
  )
  return [...new Set(ways.filter((way) => way.length >= shortestWay))]
}

const shortestWay = 12
