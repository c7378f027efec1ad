import { basename, resolve } from 'node:path'
import { BoundedMap } from '../base/bounded-map.ts'
import { codeOf } from '../base/errors.ts'
import type { Result } from '../plan/action.ts'
import type { Reach, UnitSource } from '../plan/dependencies.ts'
import type { Invocation } from '../plan/invocation.ts'
import { dependencyPath } from '../plan/normalise.ts'
import type { Planned } from '../plan/plan.ts'
import type { StatDigests } from '../plan/stat-digests.ts'
import type { ClosureStore } from '../store/closures.ts'
import { hexOf } from '../wire/cid.ts'

const maxExpected = 8192

/**
 * Which crates a piece of metadata reaches: by content, kept on disk; and by path for units that are being compiled right
 * now, whose dependents start as soon as the metadata is there.
 */
export class KnownReach implements Reach {
  readonly #store: ClosureStore
  readonly #digests: StatDigests
  readonly #expected = new BoundedMap<string, Parameters<Reach['expect']>[1]>(maxExpected)

  constructor(store: ClosureStore, digests: StatDigests) {
    this.#store = store
    this.#digests = digests
  }

  async get(metadataHex: string, path: string): Promise<readonly string[] | undefined> {
    return (await this.#store.get(metadataHex)) ?? this.#expected.get(path)?.names
  }

  sourceOf(path: string): UnitSource | undefined {
    return this.#expected.get(path)?.source
  }

  expect(path: string, unit: Parameters<Reach['expect']>[1]): void {
    this.#expected.set(path, unit)
  }

  /** The unit is complete: from now on its metadata is known by content, in every build and after a restart. */
  async learn(planned: Planned, result: Result | undefined, invocation: Invocation): Promise<void> {
    const { args, reaches } = planned
    if (reaches === undefined) return
    const path = dependencyPath(resolve(invocation.cwd, args.outDir), args)
    if (path === undefined) return
    let metadata = result?.outputs.find(({ name }) => name === basename(path))?.cid
    if (metadata === undefined) {
      try {
        metadata = (await this.#digests.digest(path)).cid
      } catch (error) {
        if (codeOf(error) === 'ENOENT') return
        throw error
      }
    }
    await this.#store.put(hexOf(metadata), reaches)
  }
}
