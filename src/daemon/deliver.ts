import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { ShoalError } from '../base/errors.ts'
import type { OutputKind, Result } from '../plan/action.ts'
import { placeDepInfo } from '../plan/dep-info.ts'
import { isRemapped } from '../plan/own-remaps.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { placeRoots } from '../plan/roots.ts'
import { restoredPaths } from './restored-paths.ts'
import type { ShimLink } from './shim-link.ts'

export interface DeliverNeeds {
  /** Puts a stored block at `path`: temporary file, rename, modified now. */
  place(cid: CID, path: string, executable: boolean): Promise<void>
  placeBytes(bytes: Uint8Array, path: string): Promise<void>
}

const artifactLine = (path: string, emit: OutputKind): Uint8Array =>
  Buffer.from(`${JSON.stringify({ $message_type: 'artifact', artifact: path, emit })}\n`)

/** Puts the pieces of a result where cargo expects them and tells cargo so, in rustc's own order and words. */
export class Delivery {
  readonly #planned: PlannedAction
  readonly #shim: ShimLink
  readonly #needs: DeliverNeeds
  readonly #outDir: string
  #metadata: CID | undefined

  constructor(planned: PlannedAction, shim: ShimLink, needs: DeliverNeeds) {
    this.#planned = planned
    this.#shim = shim
    this.#needs = needs
    this.#outDir = planned.roots.find((root) => root.name === 'out')?.path ?? ''
  }

  /** The metadata that cargo was told about, if it was. */
  get announcedMetadata(): CID | undefined {
    return this.#metadata
  }

  /** The dep-info comes first in rustc's order; its text is rendered for the paths here. */
  async depInfo(text: string): Promise<void> {
    const name = this.#planned.action.outputs.find(([, kind]) => kind === 'dep-info')?.[0]
    if (name === undefined) return
    const path = this.#target(name)
    await this.#needs.placeBytes(Buffer.from(placeDepInfo(text, this.#planned.roots)), path)
    this.#shim.stderr(artifactLine(path, 'dep-info'))
  }

  /** Dependents start as soon as the metadata is announced. It is never touched again. */
  async metadata(name: string, cid: CID): Promise<void> {
    if (this.#metadata !== undefined) {
      if (this.#metadata.equals(cid)) return
      throw new ShoalError('ERR_OUTPUT', 'metadata changed after it was announced')
    }
    const path = this.#target(name)
    await this.#needs.place(cid, path, false)
    this.#shim.placed(path)
    this.#metadata = cid
    this.#shim.stderr(artifactLine(path, 'metadata'))
  }

  async rest(result: Result): Promise<void> {
    for (const { name, kind, cid, executable } of result.outputs) {
      if (kind === 'metadata') {
        await this.metadata(name, cid)
        continue
      }
      const path = this.#target(name)
      await this.#needs.place(cid, path, executable)
      this.#shim.stderr(artifactLine(path, kind))
    }
    if (result.stderr.length > 0) this.#shim.stderr(Buffer.from(this.#diagnostics(result)))
  }

  /** A shim that has given up waiting compiles the unit itself, to the same names. */
  #target(name: string): string {
    this.#shim.signal.throwIfAborted()
    return join(this.#outDir, name)
  }

  /** Diagnostics as rustc would have written them here: roots and remapped prefixes back to real paths. */
  #diagnostics(result: Result): string {
    const { roots, args } = this.#planned
    const undone = this.#shim.invocation.remaps.filter(
      ({ from, to }) => to.startsWith('/cargo/') && !isRemapped(from, args),
    )
    // Before the roots are placed: a real path may end like a target (a CARGO_HOME called `cargo`).
    return placeRoots(restoredPaths(Buffer.from(result.stderr).toString(), undone), roots)
  }
}
