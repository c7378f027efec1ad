import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { RangeKind, type RangeReply } from '../wire/generated/block_pb.ts'
import { BlockAssembly } from './block-assembly.ts'
import type { ChunkProof } from './chunk-proof.ts'
import type { ChunkSource, ChunkSources } from './chunk-sources.ts'
import type { Lanes } from './lanes.ts'
import { chunkCount, maxManifestBytes } from './manifest.ts'

interface InquiriesNeeds {
  clock: Clock
  log: Logger
  lanes: Lanes
  /** This node: it may be named as one of those that ask. */
  self: string
}

interface Subject {
  cid: CID
  size: number
  signal: AbortSignal
  sources: ChunkSources
  proof: ChunkProof
  /** Members that are named may be used. */
  isShared: boolean
  /** A source showed the manifest that holds. */
  onManifest(): Promise<void>
  /** An answer came, or none will. */
  onAnswer(): void
  /** What a source did instead of answering. */
  onFailure(source: ChunkSource, error: ShoalError): void
}

const meetMs = 1000
/** Between two questions to one source: while there is no manifest, and for what it has by now. */
const askManifestMs = 100
const askAgainMs = 300
export const maxRefusals = 50

/** What the sources of one large block are asked besides its chunks: the manifest, which chunks they have, and who else asks. */
export class Inquiries {
  readonly #needs: InquiriesNeeds
  readonly #subject: Subject

  constructor(needs: InquiriesNeeds, subject: Subject) {
    this.#needs = needs
    this.#subject = subject
  }

  /**
   * Who begins at the same time as others had better not begin with the same chunks. Waits for a second at most.
   * @returns what went wrong, unless that was only slow
   */
  async meet(source: ChunkSource): Promise<ShoalError | undefined> {
    const { cid, signal } = this.#subject
    const onReply = (reply: RangeReply): void => this.hear(source.peerId, reply)
    const nobody = new BlockAssembly(cid, 0, { kind: RangeKind.OTHERS, onReply })
    let late: AbortSignal | undefined
    try {
      const lane = await this.#needs.lanes.to(source.peerId, signal)
      late = AbortSignal.timeout(meetMs)
      await lane.read(nobody, AbortSignal.any([signal, late]))
      return undefined
    } catch (error) {
      signal.throwIfAborted()
      // It will be asked for chunks all the same, and judged by these.
      const failure = toShoalError(error, 'ERR_PEER_LOST')
      this.#needs.log.debug('it is not known who else asks', { peer: source.peerId, code: failure.code })
      return late?.aborted === true ? undefined : failure
    }
  }

  /** Any reply of a source says what it has, and may name others that ask for the block. */
  hear(peerId: string, { others, have }: RangeReply): void {
    const { sources, proof, size, isShared } = this.#subject
    const source = sources.get(peerId)
    if (source !== undefined && source.state !== 'gone' && source.state !== 'unknown') {
      source.heardAt = this.#needs.clock.now()
      sources.learn(source, have, chunkCount(size))
    }
    if (!isShared) return
    for (const other of others) {
      if (other !== this.#needs.self && !proof.liars.has(other)) sources.add(other, 'unknown')
    }
  }

  /** Asks a source for the manifest, or, once it has shown that, which chunks it has by now; nothing when it is too early. */
  ask(source: ChunkSource): void {
    const { proof, signal } = this.#subject
    const now = this.#needs.clock.now()
    const hasVouched = proof.hasVouched(source.peerId)
    const isNeeded = hasVouched
      ? source.state === 'partial' && source.active === 0 && now - source.heardAt >= askAgainMs
      : source.state !== 'whole' || proof.manifest === undefined
    const pauseMs = proof.manifest === undefined ? askManifestMs : askAgainMs
    if (!isNeeded || source.asking || now - source.askedAt < pauseMs || source.restsUntil > now) return
    source.asking = true
    source.askedAt = now
    const asking = hasVouched ? this.#read(source, RangeKind.OTHERS, 0) : this.#askManifest(source)
    asking
      .catch((error: unknown) => {
        const failure = toShoalError(error, 'ERR_PEER_LOST')
        // It is making its manifest, or has none yet: chunks can be had from it all the same.
        if (failure.code === 'ERR_LIMIT') return
        // One that was named may not have begun yet.
        const isLate = failure.code === 'ERR_BLOCK_MISSING' && source.state === 'unknown'
        if (!signal.aborted && !(isLate && source.refusals++ < maxRefusals)) this.#subject.onFailure(source, failure)
      })
      .finally(() => {
        source.asking = false
        this.#subject.onAnswer()
      })
  }

  async #askManifest(source: ChunkSource): Promise<void> {
    const { cid, size, proof, sources } = this.#subject
    const { bytes, have } = await this.#read(source, RangeKind.MANIFEST, maxManifestBytes)
    if (bytes === undefined) return
    if (!proof.vouch(source.peerId, bytes)) {
      // Either may be wrong; the whole will tell. Its chunks cannot be judged by this manifest.
      throw new ShoalError('ERR_DECODE', `another manifest of ${cid} at ${source.peerId}`)
    }
    source.refusals = 0
    sources.learn(source, have, chunkCount(size))
    await this.#subject.onManifest()
  }

  async #read(
    source: ChunkSource,
    kind: RangeKind,
    maxBytes: number,
  ): Promise<{ bytes: Uint8Array | undefined; have: Uint8Array }> {
    const { cid, signal } = this.#subject
    let have: Uint8Array = new Uint8Array()
    const onReply = (reply: RangeReply): void => {
      have = reply.have
      this.hear(source.peerId, reply)
    }
    const assembly = new BlockAssembly(cid, maxBytes, { kind, onReply })
    const { lanes } = this.#needs
    const lane = lanes.opened(source.peerId) ?? (await lanes.to(source.peerId, signal))
    await lane.read(assembly, signal)
    return { bytes: assembly.bytes, have }
  }
}
