import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { BoundedMap } from '../base/bounded-map.ts'
import type { Clock } from '../base/clock.ts'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Toolchain } from '../plan/toolchain.ts'
import {
  bytesOf,
  decodeToolchain,
  isLayable,
  manifestLimits,
  type ToolchainManifest,
} from '../plan/toolchain-manifest.ts'
import type { BlockStore } from '../store/blocks.ts'
import { cidFromDigest, dagCborCodec } from '../wire/cid.ts'
import { copyBlock } from './copy-block.ts'
import type { Lender } from './lender.ts'
import type { Machine } from './machine.ts'
import { Retries } from './retries.ts'
import type { Supply } from './supply.ts'
import type { ShelvedToolchain, ToolchainShelf } from './toolchain-shelf.ts'

export interface ToolchainSupplyNeeds {
  mesh: Pick<Mesh, 'peerId' | 'onFrame' | 'findProviders'>
  clock: Clock
  log: Logger
  blocks: Pick<BlockStore, 'open' | 'get' | 'lend' | 'leasing' | 'remove'>
  supply: Pick<Supply, 'ensure' | 'bytes'>
  machine: Pick<Machine, 'onBattery'>
  lender: Pick<Lender, 'has' | 'isBusy' | 'isolates' | 'adopt' | 'drop'>
  shelf: ToolchainShelf
  /** Tells the mesh who serves a toolchain (hex). */
  announce(digest: string, isHere: boolean): void
}

export interface ToolchainSupplyInit {
  /** Triple that compilers must be for to run here; undefined where none does. */
  host: string | undefined
  /** Whether this node lends at all. */
  lends: boolean
}

const maxProviders = 8
/** Toolchains that members build with and that are not here yet; of more, those heard of longest ago are forgotten. */
const maxWishes = 8
/** What one file may take: beyond what the slowest link needs. */
const leastFetchMs = 60_000
const leastBytesPerMs = 250

/** Codes that say that it is not what it should be, or does not run here. */
const wrong: ReadonlySet<string> = new Set(['ERR_TOOLCHAIN', 'ERR_DECODE'])

/**
 * Toolchains as blocks: serves the files of those that are here, and fetches, in the background and one at a time, those that
 * members build with and this node lacks, so that it can lend to them.
 */
export class ToolchainSupply {
  readonly #needs: ToolchainSupplyNeeds
  readonly #init: ToolchainSupplyInit
  readonly #stop = new AbortController()
  readonly #retries: Retries
  readonly #counts = { served: 0, fetched: 0, failed: 0, removed: 0 }
  /** Digest (hex) → the member that builds with it, the one heard of last at the end. */
  readonly #wishes = new BoundedMap<string, string>(maxWishes)
  #isReady = false
  #fetching: { digest: string; ended: Promise<void> } | undefined

  constructor(needs: ToolchainSupplyNeeds, init: ToolchainSupplyInit) {
    this.#needs = needs
    this.#init = init
    this.#retries = new Retries(needs.clock)
    needs.mesh.onFrame((peer, body) => {
      if (body.case === 'building' && body.value.active) this.#wanted(peer, body.value.toolchains)
    })
  }

  /**
   * Serves the installed toolchains, and lends with those that were fetched earlier. To be called once the lender has started.
   * @throws the file system's error
   */
  async start(installed: readonly Toolchain[]): Promise<void> {
    const kept = await this.#needs.shelf.load()
    for (const toolchain of installed) await this.#serveInstalled(toolchain)
    for (const shelved of kept) {
      if (this.#stop.signal.aborted) return
      // By now it is installed.
      if (this.#needs.lender.has(shelved.digest)) await this.#needs.shelf.remove(shelved.digest)
      else if (this.#needs.lender.isolates && this.#init.lends) await this.#adopt(shelved)
    }
    this.#isReady = true
    this.#fetchNext()
  }

  async stop(): Promise<void> {
    this.#stop.abort(new ShoalError('ERR_PEER_LOST', 'this node is stopping'))
    await this.#fetching?.ended
  }

  /**
   * Removes all that were fetched, except those at work.
   * @returns the bytes of their files
   * @throws the file system's error
   */
  async purge(): Promise<number> {
    const { shelf, lender } = this.#needs
    let bytes = 0
    for (const digest of shelf.keys()) if (!lender.isBusy(digest)) bytes += await this.#remove(digest)
    return bytes
  }

  /** A unit is compiled with it here. */
  used(digest: string): void {
    void this.#needs.shelf.used(digest)
  }

  /** For `status --json`. `fetching`: the digest of the one that is on its way. */
  view(): Record<string, unknown> {
    return { ...this.#counts, fetching: this.#fetching?.digest ?? null, ...this.#needs.shelf.stats }
  }

  /**
   * A member builds with these. A short build says so once, perhaps while this node still looks at its sandbox, so what cannot
   * be fetched at once is remembered.
   */
  #wanted(peer: string, toolchains: readonly Uint8Array[]): void {
    if (!this.#init.lends || this.#stop.signal.aborted || this.#needs.shelf.stats.maxBytes === 0) return
    // The first is the one that is used most; it is to be the last to be forgotten and the first to be fetched.
    for (const bytes of toolchains.slice(0, maxWishes).reverse()) {
      if (bytes.length !== 32) continue
      const digest = Buffer.from(bytes).toString('hex')
      this.#wishes.set(digest, peer)
    }
    this.#fetchNext()
  }

  /** One at a time. What fails is fetched when a member says once more that it builds with it. */
  #fetchNext(): void {
    const { lender, machine } = this.#needs
    if (!this.#isReady || this.#fetching !== undefined || this.#stop.signal.aborted) return
    if (!lender.isolates || machine.onBattery()) return
    for (const [digest, peer] of [...this.#wishes].reverse()) {
      this.#wishes.delete(digest)
      if (lender.has(digest) || !this.#retries.mayTry(digest)) continue
      const ended = this.#fetch(digest, peer).finally(() => {
        this.#fetching = undefined
        this.#fetchNext()
      })
      this.#fetching = { digest, ended }
      return
    }
  }

  /** Never rejects. */
  async #fetch(digest: string, peer: string): Promise<void> {
    const { log, supply, blocks, shelf } = this.#needs
    try {
      const name = manifestName(digest)
      const from = await this.#providers(name, peer)
      const signal = this.#signal(manifestLimits.bytes)
      const bytes = await supply.bytes(name, { from, maxBytes: manifestLimits.bytes, signal })
      const manifest = decodeToolchain(bytes)
      this.#check(manifest)
      await this.#makeRoom(digest, bytesOf(manifest))
      log.info('toolchain is being fetched', { digest, release: manifest.release, from: from.length })
      const shelved = await shelf.lay(
        bytes,
        (file, cid, size) => this.#fill(file, cid, size, from),
        // So that others can have it from here meanwhile.
        (cid, path) => blocks.lend(cid, path),
      )
      for (const [path, cid] of manifest.files) blocks.lend(cid, join(shelved.sysroot, path))
      if (!(await this.#adopt(shelved))) throw new ShoalError('ERR_TOOLCHAIN', 'it does not run here')
      this.#retries.succeeded(digest)
      this.#counts.fetched += 1
      log.info('toolchain fetched', { digest, release: manifest.release })
    } catch (error) {
      if (this.#stop.signal.aborted) return
      const { code, message } = toShoalError(error)
      log.info('toolchain not fetched', { code, digest, message })
      this.#counts.failed += 1
      this.#retries.failed(digest, code)
    }
  }

  /** @throws ShoalError ERR_UNSUPPORTED when it could not be used here */
  #check({ host, source }: ToolchainManifest): void {
    if (host !== this.#init.host) throw new ShoalError('ERR_UNSUPPORTED', `a compiler for ${host} does not run here`)
    if (source) throw new ShoalError('ERR_UNSUPPORTED', 'the sources of the standard library are not served')
  }

  /** The member that builds with it, and whoever announced it. */
  async #providers(name: CID, peer: string): Promise<string[]> {
    const { mesh } = this.#needs
    const found = await mesh.findProviders(name, { limit: maxProviders, signal: this.#stop.signal })
    return [...new Set([peer, ...found])].filter((each) => each !== mesh.peerId)
  }

  async #makeRoom(digest: string, bytes: number): Promise<void> {
    const { shelf, lender } = this.#needs
    // It was changed since it was laid out: nothing lends with it any more.
    if (shelf.has(digest)) await shelf.remove(digest)
    for (const other of await shelf.roomFor(bytes, (each) => lender.isBusy(each))) await this.#remove(other)
  }

  async #remove(digest: string): Promise<number> {
    this.#needs.lender.drop(digest)
    this.#needs.announce(digest, false)
    this.#counts.removed += 1
    return await this.#needs.shelf.remove(digest)
  }

  /** The ordinary way of a block; what the store would keep of it is not needed twice. */
  async #fill(file: FileHandle, cid: CID, size: number, from: readonly string[]): Promise<void> {
    if (size === 0) return
    const { blocks, supply } = this.#needs
    await blocks.leasing(async () => {
      let brought = await supply.ensure(cid, size, from, this.#signal(size))
      if (!(await copyBlock(cid, file, blocks))) {
        // It was said to lie in a file that is gone or another one by now; that is forgotten.
        brought += await supply.ensure(cid, size, from, this.#signal(size))
        if (!(await copyBlock(cid, file, blocks))) throw new ShoalError('ERR_BLOCK_MISSING', cid.toString())
      }
      if (brought > 0) await blocks.remove(cid)
    })
  }

  #signal(size: number): AbortSignal {
    const timeout = AbortSignal.timeout(leastFetchMs + Math.ceil(size / leastBytesPerMs))
    return AbortSignal.any([this.#stop.signal, timeout])
  }

  /** Lends with it and serves it; false when that cannot be: what is wrong is removed. */
  async #adopt({ digest, manifest, manifestFile, sysroot }: ShelvedToolchain): Promise<boolean> {
    const { lender, log, blocks, shelf } = this.#needs
    try {
      const toolchain = await lender.adopt(sysroot, manifest)
      await blocks.remove(manifestName(digest))
      this.#serve(toolchain, manifestFile)
      return true
    } catch (error) {
      if (codeOf(error) === undefined) throw error
      log.warn('fetched toolchain not used', { digest, message: toShoalError(error).message })
      if (wrong.has(codeOf(error) ?? '')) await shelf.remove(digest)
      return false
    }
  }

  async #serveInstalled(toolchain: Toolchain): Promise<void> {
    const { shelf, log } = this.#needs
    if (toolchain.hasSource || !isLayable(toolchain.manifest)) return
    try {
      this.#serve(toolchain, await shelf.note(toolchain.digest, toolchain.manifest))
    } catch (error) {
      const { code, message } = toShoalError(error)
      log.info('toolchain not served', { code, message, sysroot: toolchain.sysroot })
    }
  }

  #serve({ digest, sysroot, files }: Toolchain, manifestFile: string): void {
    const { blocks, announce } = this.#needs
    blocks.lend(manifestName(digest), manifestFile, { lasting: true })
    for (const { path, sha256 } of files) {
      blocks.lend(cidFromDigest(Buffer.from(sha256, 'hex')), join(sysroot, path), { lasting: true })
    }
    announce(digest, true)
    this.#counts.served += 1
  }
}

/** The triple of compilers that run on this system; undefined where none is fetched. */
export function compilerHost(platform: string, arch: string): string | undefined {
  if (platform !== 'linux') return undefined
  if (arch === 'x64') return 'x86_64-unknown-linux-gnu'
  return arch === 'arm64' ? 'aarch64-unknown-linux-gnu' : undefined
}

const manifestName = (digest: string): CID => cidFromDigest(Buffer.from(digest, 'hex'), dagCborCodec)
