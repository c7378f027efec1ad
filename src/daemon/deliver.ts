import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { ShoalError } from '../base/errors.ts'
import type { OutputKind, Result } from '../plan/action.ts'
import { placeDepInfo } from '../plan/dep-info.ts'
import { withoutNotifications } from '../plan/diagnostics.ts'
import { isRemapped } from '../plan/own-remaps.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { placeRoots } from '../plan/roots.ts'
import { fitForTerminal } from '../plan/terminal-text.ts'
import type { DeliveredFile } from '../wire/local-frames.ts'
import { restoredPaths } from './restored-paths.ts'
import type { ShimLink } from './shim-link.ts'

export interface DeliverNeeds {
  /** The store's own file of a block; undefined when there is none. */
  fileOf(cid: CID): Promise<string | undefined>
  /** The file at `path` has this content, if it still is the one of that identity. */
  prime(path: string, cid: CID, identity: string): void
  /** Puts a stored block at `path`: temporary file, rename, modified now. */
  place(cid: CID, path: string, executable: boolean): Promise<void>
  placeBytes(bytes: Uint8Array, path: string): Promise<void>
}

/** What is not much longer fits into one frame; the files themselves are not in it. */
const mostText = 4 << 20

const artifactLine = (path: string, emit: OutputKind): Uint8Array =>
  Buffer.from(`${JSON.stringify({ $message_type: 'artifact', artifact: path, emit })}\n`)

/** Metadata before everything else. */
export function byUrgency(outputs: Result['outputs']): Result['outputs'] {
  return [...outputs].sort((a, b) => Number(b.kind === 'metadata') - Number(a.kind === 'metadata'))
}

/** Puts the pieces of a result where cargo expects them and tells cargo so, in rustc's own order and words. */
export class Delivery {
  readonly #planned: PlannedAction
  readonly #shim: ShimLink
  readonly #needs: DeliverNeeds
  readonly #outDir: string
  #metadata: CID | undefined
  #depInfo: string | undefined
  /** cargo ends in a panic when it is told of the same metadata twice, and two lenders may have it ready at once. */
  #telling: Promise<unknown> = Promise.resolve()

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

  /**
   * Leaves all of a result that is kept here to the shim, which ends by itself.
   * @returns false when it has to go step by step
   */
  async atOnce(result: Result): Promise<boolean> {
    if (this.#metadata !== undefined || result.depInfo.length + result.stderr.length > mostText) return false
    const files: DeliveredFile[] = []
    const cids = new Map<DeliveredFile, CID>()
    const depInfo = this.#depInfoName
    if (depInfo !== undefined) {
      const text = Buffer.from(placeDepInfo(result.depInfo, this.#planned.roots))
      files.push({ ...this.#place(depInfo, 'dep-info'), from: 'text', source: text, executable: false })
    }
    for (const { name, kind, cid, executable } of this.#inOrder(result)) {
      const path = await this.#needs.fileOf(cid)
      if (path === undefined) return false
      const file: DeliveredFile = { ...this.#place(name, kind), from: 'file', source: Buffer.from(path), executable }
      files.push(file)
      cids.set(file, cid)
    }
    await this.#shim.deliver(files, Buffer.from(this.#diagnostics(result)), (file, identity) => {
      const cid = cids.get(file)
      if (cid === undefined) return
      if (file.isMetadata) this.#metadata = cid
      this.#needs.prime(file.target, cid, identity)
    })
    return true
  }

  /** Metadata first where dependents may have it before the rest is there. */
  #inOrder({ outputs }: Result): Result['outputs'] {
    return this.#planned.usesMacros ? outputs : byUrgency(outputs)
  }

  #place(name: string, kind: OutputKind): Pick<DeliveredFile, 'target' | 'line' | 'isMetadata'> {
    const target = this.#target(name)
    return { target, line: artifactLine(target, kind), isMetadata: kind === 'metadata' }
  }

  get #depInfoName(): string | undefined {
    return this.#planned.action.outputs.find(([, kind]) => kind === 'dep-info')?.[0]
  }

  /** The dep-info comes first in rustc's order; its text is rendered for the paths here. */
  async depInfo(text: string): Promise<void> {
    const path = await this.#placeDepInfo(text)
    if (path !== undefined) this.#shim.stderr(artifactLine(path, 'dep-info'))
  }

  async #placeDepInfo(text: string): Promise<string | undefined> {
    const name = this.#depInfoName
    if (name === undefined) return undefined
    const path = this.#target(name)
    await this.#needs.placeBytes(Buffer.from(placeDepInfo(text, this.#planned.roots)), path)
    this.#depInfo = text
    return path
  }

  /**
   * Metadata ahead of the rest, with the dep-info that comes before it.
   * @returns false when cargo was told of metadata before: then nothing was done
   */
  async early(depInfo: string, name: string, cid: CID): Promise<boolean> {
    return await this.#inTurn(async () => {
      if (this.#metadata !== undefined) return false
      await this.depInfo(depInfo)
      await this.#announce(name, cid)
      return true
    })
  }

  /** Dependents start as soon as the metadata is announced. It is never touched again. */
  async metadata(name: string, cid: CID): Promise<void> {
    await this.#inTurn(() => this.#announce(name, cid))
  }

  #inTurn<T>(tell: () => Promise<T>): Promise<T> {
    const told = this.#telling.then(tell)
    this.#telling = told.catch(() => undefined)
    return told
  }

  async #announce(name: string, cid: CID): Promise<void> {
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
    // What came ahead of it nobody has signed. cargo reads this file at the end.
    if (this.#depInfo !== undefined && this.#depInfo !== result.depInfo) await this.#placeDepInfo(result.depInfo)
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
    const text = placeRoots(restoredPaths(Buffer.from(result.stderr).toString(), undone), roots)
    // As cargo gets it: a name of a root is no JSON, nor is what a terminal would obey.
    return withoutNotifications(fitForTerminal(text))
  }
}
