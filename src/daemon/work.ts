import { randomUUID } from 'node:crypto'
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs'
import type { CID } from 'multiformats/cid'
import { codeOf } from '../base/errors.ts'
import { workKey } from '../mesh/claims.ts'
import { codegenOf } from '../plan/codegen.ts'
import { lentInputs } from '../plan/lent-inputs.ts'
import { linkedOutputs } from '../plan/normalise.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { canHavePlacePaths, hasProgramPaths, spellsPlacePaths, withPlacePaths } from '../plan/program-paths.ts'
import type { StatDigests } from '../plan/stat-digests.ts'
import type { Trees } from '../plan/trees.ts'
import { digestOf, hexOf } from '../wire/cid.ts'
import type { Lent, Work } from './compile-needs.ts'
import type { Packs } from './packs.ts'
import type { StaysHere } from './stays-here.ts'
import type { ThinArchives } from './thin-archives.ts'
import { stayingTask, taskAlone, taskOf } from './units.ts'

/** What units that were not recalled are made from, each looked at once. */
export class Works {
  readonly #trees: Trees
  readonly #thin: Pick<ThinArchives, 'of'>
  readonly #packs: Pick<Packs, 'of'>
  readonly #lentTrees: Pick<Trees, 'tree'>
  readonly #staysHere: Pick<StaysHere, 'reason'>
  readonly #lent = new WeakMap<PlannedAction, Lent>()

  constructor(
    trees: Trees,
    made: { thin: Pick<ThinArchives, 'of'>; packs: Pick<Packs, 'of'>; trees: Pick<Trees, 'tree'> },
    staysHere: Pick<StaysHere, 'reason'>,
  ) {
    this.#trees = trees
    this.#thin = made.thin
    this.#packs = made.packs
    this.#lentTrees = made.trees
    this.#staysHere = staysHere
  }

  /**
   * @param isAlone nothing of it is for others, or there are none: then it is not looked at what they would need, which is all that
   *   its package and those it uses consist of
   */
  async of(planned: PlannedAction, build: Uint8Array, isAlone: boolean): Promise<Work> {
    if (isAlone) {
      const alone = { shared: undefined, task: taskAlone(planned, build), lent: planned, misses: false }
      return { key: await this.#keyAlone(planned), ...alone }
    }
    const lent = await this.lend(planned)
    // Too much, or gone: the unit stays here, and rustc will say what is wrong.
    if (lent === undefined)
      return { key: randomUUID(), shared: undefined, task: stayingTask(build), lent: planned, misses: false }
    const shared = workKey(digestOf(planned.key), digestOf(lent.inputs.own.cid))
    const task = taskOf(lent.planned, lent.inputs, build)
    const misses = lent.inputs.own.withheld && planned.usesMacros
    return { key: Buffer.from(shared).toString('hex'), shared, task, lent: lent.planned, misses }
  }

  /** Packages from outside lie in one place for all builds; of people's own there can be several checkouts that are built at once. */
  async #keyAlone({ key, source: { root, dir } }: PlannedAction): Promise<string> {
    const isShared = root === 'registry' || root === 'git'
    const tree = isShared ? dir : await treeAt(this.#trees, dir)
    return `${hexOf(key)} ${tree ?? randomUUID()}`
  }

  /** What others would be given of a unit, looked at if it was not yet; undefined when that cannot be told. */
  async lend(planned: PlannedAction): Promise<Lent | undefined> {
    const known = this.#lent.get(planned)
    if (known !== undefined) return known
    try {
      const lent = await this.#lentOf(planned)
      this.#lent.set(planned, lent)
      return lent
    } catch (error) {
      if (codeOf(error) === undefined) throw error
      return undefined
    }
  }

  /** Of a unit that is linked, what others can do is an action of its own. */
  async #lentOf(whole: PlannedAction): Promise<Lent> {
    const linked = linkedOutputs(whole.args)
    let planned = whole
    if (whole.notAway === undefined && linked.size > 0) {
      // An archive for other languages holds its dependencies, whole.
      const isWhole = whole.args.crateTypes.includes('staticlib')
      const codegen = await codegenOf(whole, linked, async (each) => (isWhole ? each : await this.#thin.of(each)))
      planned = codegen === undefined ? { ...whole, notAway: 'dependency-unknown' } : await this.#placed(codegen)
    }
    return { planned, inputs: await lentInputs(planned, this.#lentTrees, (tree) => this.#packs.of(tree)) }
  }

  /** A test with the path of a program or of its files in it is made for this place, where it is known to be one: nobody could use it elsewhere. */
  async #placed(codegen: PlannedAction): Promise<PlannedAction> {
    if (!canHavePlacePaths(codegen)) return codegen
    const isKnown = hasProgramPaths(codegen) && this.#staysHere.reason(codegen.key) !== undefined
    return isKnown || (await spellsPlacePaths(codegen)) ? withPlacePaths(codegen) : codegen
  }

  /** What `of` or `lend` found. */
  lentOf(planned: PlannedAction): Lent | undefined {
    return this.#lent.get(planned)
  }
}

/** The package directory as one digest; undefined when it is gone or holds too much. */
export async function treeAt(trees: Trees, dir: string): Promise<CID | undefined> {
  try {
    return (await trees.tree(dir, true)).cid
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}

/** The time by which files that change from now on can be told: the file system's own clock, which goes in steps. */
export class FileClock {
  readonly #fd: number

  /** @param path a file of its own */
  constructor(path: string) {
    this.#fd = openSync(path, 'w', 0o600)
  }

  /** Milliseconds since the Unix epoch. */
  now(): number {
    writeSync(this.#fd, '.', 0)
    return fstatSync(this.#fd).ctimeMs
  }

  close(): void {
    closeSync(this.#fd)
  }
}

/** Whether what an action describes by content is still the same: its dependencies and its OUT_DIR. */
export async function unchanged(
  { build, dependencies }: Pick<PlannedAction, 'build' | 'dependencies'>,
  trees: Trees,
  digests: StatDigests,
): Promise<boolean> {
  for (const { path, cid } of dependencies) {
    if (!(digests.known(path) ?? (await digests.digest(path))).cid.equals(cid)) return false
  }
  return build === undefined || (await trees.unchanged([build]))
}
