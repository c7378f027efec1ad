import { join, resolve } from 'node:path'
import { type Datastore, Key } from 'interface-datastore'
import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import { codeOf } from '../base/errors.ts'
import type { BlockSource } from '../mesh/served-blocks.ts'
import type { Read, ReadSet, Result } from '../plan/action.ts'
import { encodeResult } from '../plan/action.ts'
import type { UnitSource } from '../plan/dependencies.ts'
import { secretValues } from '../plan/environment.ts'
import type { Invocation } from '../plan/invocation.ts'
import { isKeyFile } from '../plan/key-files.ts'
import { dependencyPath } from '../plan/normalise.ts'
import type { Planned, PlannedAction } from '../plan/plan.ts'
import { placeRoots, type Root } from '../plan/roots.ts'
import type { StatDigests } from '../plan/stat-digests.ts'
import type { DigestedTree } from '../plan/trees.ts'
import { takesAllVariables } from '../recall/script-evidence.ts'
import { cidOf, dagCborCodec, hexOf } from '../wire/cid.ts'
import { isOwn, Origins } from './origins.ts'
import type { PrivatePaths } from './private-paths.ts'
import { SecretSearch } from './secret-search.ts'
import { SourcesBeside } from './sources-beside.ts'

export interface PrivateUnitsNeeds {
  datastore: Datastore
  clock: Clock
  paths: PrivatePaths
  /** What is kept of an action key (hex) is no longer for others, or is again. */
  onChange(key: string): void
}

type SourceOf = Pick<UnitSource, 'dir' | 'root'>

const prefix = '/private/'
/** `left`: what a build script made of something private; a block as well. */
const kinds = ['key', 'block', 'package', 'left'] as const
type Kind = (typeof kinds)[number]
/** Of each kind; what was marked first is forgotten first, and has left the store long before. */
const maxMarks = 1 << 18
const maxTelling = 4096

/**
 * Which units are private, and with them their results: units of private packages and whatever is made from one. Nothing of
 * them leaves this node: no input, no block, no key. Kept on disk, and there before the result is.
 */
export class PrivateUnits {
  readonly #needs: PrivateUnitsNeeds
  readonly #marks: Readonly<Record<Kind, Map<string, number>>> = {
    key: new Map(),
    block: new Map(),
    package: new Map(),
    left: new Map(),
  }

  readonly #origins: Origins
  /** Sources of this machine that a unit is made from, by their directories. */
  readonly #ownUses = new WeakMap<Planned, Set<string>>()
  readonly #beside = new SourcesBeside()

  readonly #secrets = new SecretSearch(this.#beside)
  /** Where libraries come to lie whose compile is told a secret by cargo. */
  readonly #telling = new Set<string>()

  private constructor(needs: PrivateUnitsNeeds, origins: Origins) {
    this.#needs = needs
    this.#origins = origins
  }

  /** What was kept of packages that have become private meanwhile is private from the start. @throws the errors of the datastore */
  static async open(needs: PrivateUnitsNeeds): Promise<PrivateUnits> {
    const units = new PrivateUnits(needs, await Origins.open(needs.datastore))
    const found: [Kind, string, number][] = []
    for await (const { key, value } of needs.datastore.query({ prefix })) {
      const [kind, name] = key.toString().slice(prefix.length).split('/')
      const known = kinds.find((each) => each === kind)
      if (known !== undefined && name !== undefined) found.push([known, name, Number(Buffer.from(value).toString())])
    }
    for (const [kind, name, at] of found.sort((a, b) => a[2] - b[2])) units.#marks[kind].set(name, at)
    const now = units.#origins.dirs().filter((dir) => needs.paths.has(dir))
    for await (const _ of units.#takeBack(now));
    return units
  }

  /** A unit that is not private has this result, which others may have from now on. @throws the errors of the datastore */
  async given(planned: Planned, result: Result): Promise<void> {
    if (planned.shareable) await this.#origins.note(planned, result, this.#ownUses.get(planned) ?? new Set())
  }

  /**
   * Takes back what was kept and given to others of these directories, before they were private, and what was made from that. Where it comes
   * from is forgotten last: whatever interrupts this, the next one finds all of it again.
   */
  async *#takeBack(dirs: readonly string[]): AsyncGenerator<string, void, void> {
    const kept = this.#origins.from(dirs)
    for (const { key, blocks } of kept) {
      for (const block of blocks) await this.#mark('block', block)
      await this.#mark('key', key)
      yield key
    }
    for (const { key } of kept) await this.#origins.forget(key)
  }

  /** Private directories, and all below them that are private too and of which something is known. */
  #knownWithin(dirs: readonly string[]): string[] {
    const isBelow = (known: string): boolean => dirs.some((dir) => known.startsWith(`${dir}/`))
    return [...dirs, ...this.#origins.dirs().filter((known) => isBelow(known) && this.#needs.paths.has(known))]
  }

  /** What is kept of an action key (hex) is for this node alone. */
  hasKey(key: string): boolean {
    return this.#marks.key.has(key)
  }

  hasBlock(cid: CID): boolean {
    return this.#marks.block.has(hexOf(cid))
  }

  /** Whether a build there tells nobody which units it consists of. @param dir where its cargo runs */
  hasWorkspace(dir: string): boolean {
    return this.#needs.paths.has(dir)
  }

  /** Whether a private package lies within another one, whose unit is none, or a link of that one leads to a file of such a package. */
  isAmong({ dir, lendableTree, links }: Pick<DigestedTree, 'dir' | 'lendableTree' | 'links'>): boolean {
    const manifests = lendableTree.files.flatMap(({ path }) => (path.endsWith('/Cargo.toml') ? [path] : []))
    return [...manifests, ...links].some((path) => this.#needs.paths.has(join(dir, path)))
  }

  /** Whether a unit is private. Marks its key, and its package when what its build script does is made from something private. */
  async judge(
    planned: Planned,
    { env, cwd, remaps }: Pick<Invocation, 'env' | 'cwd' | 'remaps'>,
    sourceOf: (path: string) => SourceOf | undefined,
  ): Promise<boolean> {
    const { paths } = this.#needs
    const dir = env.get('CARGO_MANIFEST_DIR') ?? cwd
    const name = Buffer.from(dir).toString('base64url')
    this.#noteTelling(planned, cwd)
    const uses = await this.#usesPrivate(planned, remaps, sourceOf)
    if (planned.kind === 'build-script') {
      if (uses) await this.#mark('package', name)
      else await this.#unmark('package', name)
    }
    const told = planned.shareable && planned.build !== undefined && (await this.#isTold(planned, planned.build, env))
    const isPlaced = paths.has(dir)
    const dirs = planned.shareable ? [dir, planned.source.dir] : [dir]
    if (isPlaced) for await (const key of this.#takeBack(this.#knownWithin(dirs))) this.#needs.onChange(key)
    const isPrivate = uses || told || isPlaced || this.#marks.package.has(name)
    if (planned.shareable && isPrivate) await this.#markKey(hexOf(planned.key))
    return isPrivate || (planned.shareable && this.hasKey(hexOf(planned.key)))
  }

  /**
   * Whether something private goes into it. What was not made before the eyes of this node tells by the dep-info beside it; what
   * does not tell may be private.
   */
  async #usesPrivate(
    planned: Planned,
    remaps: Invocation['remaps'],
    sourceOf: (path: string) => SourceOf | undefined,
  ): Promise<boolean> {
    const isWithin = this.#needs.paths.glance()
    const workspace = remaps.findLast(({ to }) => to === '.')?.from
    const own = new Set<string>()
    this.#ownUses.set(planned, own)
    for (const { cid, path } of planned.shareable ? planned.dependencies : (planned.reaches ?? [])) {
      if (this.hasBlock(cid)) return true
      if (this.#telling.has(metadataOf(path))) {
        await this.#mark('block', hexOf(cid))
        return true
      }
      // A library is known by the metadata beside it.
      const source = sourceOf(path) ?? sourceOf(path.replace(/\.rlib$/, '.rmeta'))
      const dirs = source === undefined ? await this.#beside.of(path, workspace) : [source.dir]
      if (dirs === undefined) return true
      if (source === undefined ? !isEverybodys(dirs, remaps) : isOwn(source)) for (const each of dirs) own.add(each)
      if (!dirs.some(isWithin)) continue
      await this.#mark('block', hexOf(cid))
      return true
    }
    if (!planned.shareable || planned.reaches !== undefined) return false
    // Of a dependency it is not known what that reaches: any library there may be among it.
    const dirs = new Set<string>()
    for (const dir of planned.dependencyDirs) {
      for (const beside of await this.#beside.within(dir, workspace)) {
        for (const each of beside ?? []) dirs.add(each)
        if (beside !== undefined && !isEverybodys(beside, remaps)) for (const each of beside) own.add(each)
      }
    }
    return [...dirs].some(isWithin)
  }

  /** Others of the build may be at work with its metadata long before it is complete. */
  #noteTelling(planned: Planned, cwd: string): void {
    const path = dependencyPath(resolve(cwd, planned.args.outDir), planned.args)
    if (path === undefined) return
    const isTold = !planned.shareable && planned.reason === 'secret-in-environment'
    if (!isTold) this.#telling.delete(metadataOf(path))
    else if (this.#telling.size < maxTelling) this.#telling.add(metadataOf(path))
  }

  /**
   * Whether one of the libraries that go into a unit holds a secret of those that its compile is told, however it came there, or includes a file of keys:
   * then a lender would be given it, and the result may hold it too. Each library is searched once. Marks it, and the key.
   */
  async hasSecretWithin(
    { key, dependencies, roots }: Pick<PlannedAction, 'key' | 'dependencies' | 'roots'>,
    env: ReadonlyMap<string, string>,
  ): Promise<boolean> {
    const values = secretValues(env)
    for (const dependency of dependencies) {
      if (!(await this.#secrets.isIn(dependency, values, roots))) continue
      await this.#mark('block', hexOf(dependency.cid))
      await this.#markKey(hexOf(key))
      return true
    }
    return false
  }

  /** To be called before a result is kept: settles whether it is private, by what it was made from. */
  async keeping(result: Result, { reads }: ReadSet, isPrivate: boolean, roots: readonly Root[]): Promise<void> {
    const key = hexOf(result.action)
    const isWithin = this.#needs.paths.glance()
    const looked = reads.some(
      ([kind, name]) =>
        (kind === 'file' && isKeyFile(name, placeRoots(name, roots))) ||
        (name !== '' && isWithin(placeRoots(name, roots))),
    )
    const blocks = [...result.outputs.map(({ cid }) => cid), cidOf(encodeResult(result).bytes, dagCborCodec)].map(hexOf)
    if (isPrivate || looked) {
      for (const block of blocks) await this.#mark('block', block)
      await this.#markKey(key)
    } else if (this.hasKey(key)) {
      for (const block of blocks) await this.#unmark('block', block)
      await this.#unmark('key', key)
      this.#needs.onChange(key)
    }
  }

  /** Whether packages of this name are private wherever they lie. */
  isNamed(name: string): boolean {
    return this.#needs.paths.isNamed(name)
  }

  /** Whether a package is private, or its build script is made from something that is. @param dir of the package */
  isPrivatePackage(dir: string): boolean {
    return this.#marks.package.has(Buffer.from(dir).toString('base64url')) || this.#needs.paths.has(dir)
  }

  /**
   * To be called before a run of a build script is kept: what a private package's leaves, or one that read something private or a file of keys,
   * or may tell a secret, is for nobody else.
   * @param of dir: of the package; env: what the script was told
   * @returns whether it is
   */
  async keepingRun(
    blocks: readonly CID[],
    { reads }: Pick<ReadSet, 'reads'>,
    { dir, roots, env }: { dir: string; roots: readonly Root[]; env: ReadonlyMap<string, string> },
  ): Promise<boolean> {
    const isWithin = this.#needs.paths.glance()
    const registry = roots.find(({ name }) => name === 'registry')?.path
    const isPublished = registry !== undefined && dir.startsWith(`${registry}/`)
    const isKept = ([kind, name]: Read): boolean =>
      (/[/\0]/.test(name) && isWithin(placeRoots(name, roots))) ||
      (!isPublished && kind === 'file' && isKeyFile(name, placeRoots(name, roots)))
    const looked = reads.some(isKept)
    // What a shell makes of a secret that it did not ask for can be in what it left in any form.
    const mayTell = takesAllVariables({ reads }) && secretValues(env).length > 0
    if (!mayTell && !this.isPrivatePackage(dir) && !looked) return false
    for (const block of blocks) {
      await this.#mark('block', hexOf(block))
      if (looked) await this.#mark('left', hexOf(block))
    }
    return true
  }

  /** A unit is complete that is private, or was told a secret, and whose result is not kept: who uses it is known by its files. */
  async made(planned: Planned, { cwd }: Pick<Invocation, 'cwd'>, digests: Pick<StatDigests, 'digest'>): Promise<void> {
    const path = dependencyPath(resolve(cwd, planned.args.outDir), planned.args)
    for (const file of path === undefined ? [] : [path, path.replace(/\.rmeta$/, '.rlib')]) {
      try {
        await this.#mark('block', hexOf((await digests.digest(file)).cid))
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error
      }
    }
  }

  /** The same blocks without those that are private. */
  guard(source: Required<BlockSource>): BlockSource {
    return {
      get: async (cid) => (this.hasBlock(cid) ? undefined : await source.get(cid)),
      getUntouched: (cid, into) => (this.hasBlock(cid) ? undefined : source.getUntouched(cid, into)),
      open: async (cid) => (this.hasBlock(cid) ? undefined : await source.open(cid)),
    }
  }

  /** Whether a build script has left a secret that it was told, or something private, or what it made of a file of keys. */
  async #isTold(
    { source }: Pick<PlannedAction, 'source'>,
    build: DigestedTree,
    env: ReadonlyMap<string, string>,
  ): Promise<boolean> {
    if (await this.#secrets.tells(build, env)) return true
    // A repository that cargo checks out need not be everybody's.
    if (source.root === 'registry') return false
    // An empty file is the same whoever made it.
    const isPrivate = build.tree.files.some(({ cid, size }) => size > 0 && this.#marks.left.has(hexOf(cid)))
    return isPrivate || (await this.#secrets.hasKeys(build, source.dir))
  }

  async #markKey(key: string): Promise<void> {
    if (this.hasKey(key)) return
    await this.#mark('key', key)
    this.#needs.onChange(key)
  }

  async #mark(kind: Kind, name: string): Promise<void> {
    const marks = this.#marks[kind]
    if (marks.has(name)) return
    const [oldest] = marks.keys()
    if (oldest !== undefined && marks.size >= maxMarks) await this.#unmark(kind, oldest)
    const at = this.#needs.clock.wall()
    marks.set(name, at)
    await this.#needs.datastore.put(keyOf(kind, name), Buffer.from(`${at}`))
  }

  async #unmark(kind: Kind, name: string): Promise<void> {
    if (this.#marks[kind].delete(name)) await this.#needs.datastore.delete(keyOf(kind, name))
  }
}

/** Whether a library is that of a registry. Its first file is the crate's root. */
function isEverybodys([first = '']: readonly string[], remaps: Invocation['remaps']): boolean {
  const isBelow = (dir: string): boolean => first === dir || first.startsWith(`${dir}/`)
  return remaps.some(({ from, to }) => shared.has(to) && (isBelow(from) || isBelow(to)))
}

/** What every machine calls the sources that cargo has fetched. */
const shared: ReadonlySet<string> = new Set(['/cargo/registry/src', '/cargo/git/checkouts'])

/** Of what is linked the metadata lies beside it. */
const metadataOf = (path: string): string => path.replace(/\.rlib$/, '.rmeta')

const keyOf = (kind: Kind, name: string): Key => new Key(`${prefix}${kind}/${name}`)
