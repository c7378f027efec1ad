import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { UnitGraph } from '../market/unit-graph.ts'
import type { Invocation } from '../plan/invocation.ts'
import { type LockedPackage, lockedPackages, nearestLock } from './lock-file.ts'

const maxPackages = 4096
/**
 * What a package takes: by the bytes of its archive, which are a fifth of its sources, and of one whose archive is not here. The least is more than
 * what the smallest compiles take: each is also looked at, moved and waited for, and of a guess that is often wrong by half less had better depend.
 */
const [leastMs, archiveBytesPerMs, mostMs, unknownMs] = [350, 160, 5000, 1000]

/**
 * What waits for which package of a build that nobody has seen before, as its `Cargo.lock` tells: longest chain first. It names
 * packages for every kind of machine and every feature, so that it is good for an order and for nothing else.
 */
export class LockOrder {
  readonly #builds = new Map<string, Promise<ReadonlyMap<string, number>>>()

  /**
   * Milliseconds, about, from the start of a unit to the end of the longest chain of packages that wait for it; 0 when it is not known.
   * @param dirs where the build's `Cargo.lock` is looked for, and above
   */
  async rank(build: Uint8Array, dirs: () => readonly string[], { argv, env }: Invocation): Promise<number> {
    const id = Buffer.from(build).toString('hex')
    // An order is a favour: what cannot be read is as good as absent.
    const known = this.#builds.get(id) ?? read(dirs(), archivesOf(env)).catch(() => new Map<string, number>())
    this.#builds.set(id, known)
    // Nothing waits for a program or a test, but for the program that is a build script its own package does.
    const crate = argv[argv.indexOf('--crate-name') + 1] ?? ''
    const isScript = crate.startsWith('build_script_')
    if (argv.includes('--test') || (!isScript && argv[argv.indexOf('--crate-type') + 1] === 'bin')) return 0
    const rank = (await known).get(`${env.get('CARGO_PKG_NAME')} ${env.get('CARGO_PKG_VERSION')}`) ?? 0
    return rank === 0 || !isScript ? rank : rank + leastMs
  }

  ended(build: Uint8Array): void {
    this.#builds.delete(Buffer.from(build).toString('hex'))
  }
}

async function read(dirs: readonly string[], archives: readonly string[]): Promise<ReadonlyMap<string, number>> {
  for (const dir of dirs) {
    const lock = await nearestLock(dir)
    if (lock !== undefined) return ranksOf(lockedPackages(lock.toString('utf8'), maxPackages), archives)
  }
  return new Map()
}

function ranksOf(packages: readonly LockedPackage[], archives: readonly string[]): ReadonlyMap<string, number> {
  const graph = new UnitGraph(maxPackages)
  const nameAt = (at: number): string => `${packages[at]?.name} ${packages[at]?.version}`
  for (const [at, { needs }] of packages.entries()) graph.asked(nameAt(at), needs.map(nameAt), false)
  for (const [at, one] of packages.entries()) graph.took(nameAt(at), expectedMs(one, archives))
  return new Map(packages.map((_, at) => [nameAt(at), Math.round(graph.rank(nameAt(at), unknownMs) ?? 0)]))
}

function expectedMs({ name, version, published }: LockedPackage, archives: readonly string[]): number {
  for (const dir of published ? archives : []) {
    const size = statSync(join(dir, `${name}-${version}.crate`), { throwIfNoEntry: false })?.size
    if (size !== undefined) return Math.min(mostMs, leastMs + size / archiveBytesPerMs)
  }
  return unknownMs
}

/** Where cargo keeps what it has downloaded from registries. */
function archivesOf(env: Invocation['env']): string[] {
  const dir = join(env.get('CARGO_HOME') ?? join(env.get('HOME') ?? '/', '.cargo'), 'registry/cache')
  try {
    return readdirSync(dir).map((registry) => join(dir, registry))
  } catch {
    return []
  }
}
