import { once } from 'node:events'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { create } from '@bufbuild/protobuf'
import type { CID } from 'multiformats/cid'
import { silentLogger } from '../../src/base/log.ts'
import { Supply } from '../../src/daemon/supply.ts'
import { ToolchainShelf } from '../../src/daemon/toolchain-shelf.ts'
import { ToolchainSupply } from '../../src/daemon/toolchain-supply.ts'
import type { ControlBody } from '../../src/mesh/control.ts'
import { StatMemo } from '../../src/plan/stat-memo.ts'
import { type Toolchain, Toolchains } from '../../src/plan/toolchain.ts'
import { encodeToolchain, type ToolchainManifest } from '../../src/plan/toolchain-manifest.ts'
import type { BlockStore } from '../../src/store/blocks.ts'
import { cidOf, hexOf } from '../../src/wire/cid.ts'
import { BuildingSchema } from '../../src/wire/generated/market_pb.ts'
import { ManualClock, openStore, tempDir } from '../store/support.ts'

export const host = 'x86_64-unknown-linux-gnu'
export const MiB = 1 << 20

interface Made {
  manifest: ToolchainManifest
  bytes: Uint8Array
  digest: string
  contents: Map<string, Uint8Array>
}

/** A toolchain of a few files, one of them large enough to be fetched in ranges. */
export function made(name: string, change: Partial<ToolchainManifest> = {}): Made {
  const contents = new Map<string, Uint8Array>([
    ['bin/rustc', Buffer.from(`not a program ${name}`)],
    ['lib/libempty.so', Buffer.alloc(0)],
    ['lib/librustc_driver-1.so', Buffer.alloc(5 * MiB, name)],
    [`lib/rustlib/${host}/lib/libcore-1.rlib`, Buffer.from('core')],
    [`lib/rustlib/${host}/lib/self-contained/crt1.o`, Buffer.from('crt')],
  ])
  const files = [...contents].map(([path, text]): [string, CID, number] => [path, cidOf(text), text.length])
  const manifest: ToolchainManifest = {
    v: 1,
    host,
    target: host,
    release: '1.95.0',
    commit: null,
    source: false,
    files,
    ...change,
  }
  const { bytes, cid } = encodeToolchain(manifest)
  return { manifest, bytes, digest: hexOf(cid), contents }
}

/** A member that lacks toolchains, and what it can have from the one called `ada`. */
export class Ben {
  readonly dir: string
  readonly store: BlockStore
  readonly clock = new ManualClock()
  readonly shelf: ToolchainShelf
  readonly supply: ToolchainSupply
  readonly lending = new Map<string, Toolchain>()
  readonly busy = new Set<string>()
  readonly announced = new Set<string>()
  /** While set, what is asked for does not come. */
  isSilent = false
  /** Hex of what was asked of others, in order. */
  readonly asked: string[] = []
  readonly from = new Map<string, Uint8Array>()
  isolates = true
  onBattery = false
  #frame: (peer: string, body: ControlBody) => void = () => undefined

  private constructor(dir: string, store: BlockStore, toolchains: Toolchains, maxBytes: number) {
    this.dir = dir
    this.store = store
    this.clock.ms = 1e12
    this.shelf = new ToolchainShelf({ dir: join(dir, 'toolchains'), maxBytes, minFreeBytes: 0 }, this.clock)
    const fetchBlock = async (cid: CID, { signal }: { signal: AbortSignal }): Promise<Uint8Array> => {
      this.asked.push(hexOf(cid))
      if (this.isSilent) {
        await once(signal, 'abort')
        throw signal.reason
      }
      const bytes = this.from.get(hexOf(cid))
      if (bytes === undefined) throw Object.assign(new Error('absent'), { code: 'ERR_BLOCK_MISSING' })
      return bytes
    }
    const useBlock = async (
      cid: CID,
      options: { signal: AbortSignal },
      use: (bytes: Uint8Array) => Promise<void>,
    ): Promise<void> => use(await fetchBlock(cid, options))
    const mesh = { fetchBlock, useBlock, fetchFile: fetchFileBy(fetchBlock) }
    const ben = this
    const lender = {
      has: (digest: string) => this.lending.has(digest),
      isBusy: (digest: string) => this.busy.has(digest),
      get isolates() {
        return ben.isolates
      },
      adopt: async (sysroot: string, manifest: Uint8Array) => {
        const toolchain = await toolchains.fetched(sysroot, manifest)
        this.lending.set(toolchain.digest, toolchain)
        return toolchain
      },
      drop: (digest: string) => this.lending.delete(digest),
    }
    this.supply = new ToolchainSupply(
      {
        mesh: {
          peerId: 'ben',
          onFrame: (handler) => {
            this.#frame = handler
            return () => undefined
          },
          findProviders: async () => ['ben', 'cleo'],
        },
        clock: this.clock,
        log: silentLogger,
        blocks: store,
        supply: new Supply({ blocks: store, mesh }),
        machine: { onBattery: () => this.onBattery },
        lender,
        shelf: this.shelf,
        announce: (digest, isHere) => (isHere ? this.announced.add(digest) : this.announced.delete(digest)),
      },
      { host, lends: true },
    )
  }

  static async start(t: TestContext, { maxBytes = 1 << 30, dir = '', isReady = true } = {}): Promise<Ben> {
    const home = dir || (await tempDir(t))
    const store = await openStore(t, dir === '' ? { dir: join(home, 'store') } : {})
    const memo = await StatMemo.open(join(home, 'memo'), () => Date.now())
    const ben = new Ben(home, store, new Toolchains({ memo, clock: new ManualClock() }), maxBytes)
    if (isReady) await ben.supply.start([])
    return ben
  }

  offer(...toolchains: Made[]): void {
    for (const { digest, bytes, contents } of toolchains) {
      this.from.set(digest, bytes)
      for (const content of contents.values()) this.from.set(hexOf(cidOf(content)), content)
    }
  }

  /** Ada builds with these; resolves when nothing is being fetched. */
  async hears(...digests: string[]): Promise<Record<string, unknown>> {
    this.hear(...digests)
    return await this.settled()
  }

  async settled(): Promise<Record<string, unknown>> {
    while (this.supply.view().fetching !== null) await new Promise((resolve) => setImmediate(resolve))
    return this.supply.view()
  }

  hear(...digests: string[]): void {
    const toolchains = digests.map((digest) => Buffer.from(digest, 'hex'))
    const value = create(BuildingSchema, { build: Buffer.alloc(16), active: true, toolchains })
    this.#frame('ada', { case: 'building', value })
  }

  rootOf(digest: string): string {
    return join(this.dir, 'toolchains', digest, 'root')
  }
}

type FetchFile = ConstructorParameters<typeof Supply>[0]['mesh']['fetchFile']
const fetchFileBy =
  (fetchBlock: (cid: CID, options: { signal: AbortSignal }) => Promise<Uint8Array>): FetchFile =>
  async (cid, { size, keep, signal }) => {
    const bytes = await fetchBlock(cid, { signal })
    await keep(async (file) => {
      await file.write(0, bytes.subarray(0, size))
    })
  }
