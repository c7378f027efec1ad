import type { CID } from 'multiformats/cid'
import type { Clock, Random } from '../base/clock.ts'
import { codeOf, foreignText, ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { readCid } from '../wire/cid.ts'
import type { ControlFrame } from '../wire/generated/control_pb.ts'
import type { ReturnReason } from './builder-events.ts'
import { isMarketBody, type MarketBody, toHex } from './frames.ts'
import { Guests, type Work } from './guests.ts'
import { Ledger } from './ledger.ts'
import type { LendTerms } from './lender-events.ts'
import type { OfferView } from './offers.ts'
import { type MarketEvent, Participant } from './participant.ts'
import type { HereReason, Task } from './task.ts'

export type { Task } from './task.ts'

export interface MarketMesh {
  /** False when the frame cannot be sent now. */
  send(peer: string, body: MarketBody): boolean
  /** Frames of one peer come in the order in which they were sent. */
  onFrame(handler: (peer: string, body: ControlFrame['body']) => void): unknown
  /** Peers that are connected before the market exists are not known to it: create it before the mesh starts. */
  onPeer(handler: (peer: string, up: boolean) => void): unknown
  /** A connected peer has fallen silent, or is heard again. */
  onSuspect?(handler: (peer: string, suspect: boolean) => void): unknown
}

export interface MarketNeeds {
  mesh: MarketMesh
  clock: Clock
  random: Random
  log: Logger
  /** What this machine lends at present. Asked often, so cheap; the same object as long as nothing changed. */
  terms(): LendTerms
  /** Compiles an awarded unit. Ends soon after `signal` aborts, and only when nothing of it runs any more. */
  work: Work
  /** Whether processor time of guests can be told here. Default: no. */
  measures?: boolean
}

export interface MarketInit {
  /** Compiles that may run here at once, own and guests' together. */
  slots: number
  /** Guests that may run here at once; 0 lends nothing. */
  lendSlots: number
}

/** Metadata that a lender has ready while it still generates code. It may still fail afterwards. */
export interface EarlyMetadata {
  peer: string
  name: string
  cid: CID
  size: number
  /** Text of the dep-info, roots by name. */
  depInfo: string
  /** What the compile has looked at so far: a trace as it came, at most 512 KiB; empty when nothing watched it. */
  trace: Uint8Array
}

export interface PlaceOptions {
  signal?: AbortSignal
  /**
   * The unit can do without its jobserver token for now: it waits, or somebody lends. At most once, before the placement is
   * known; also for a unit that is then placed here, which takes a token again before it starts.
   */
  onWaiting?(): void
  /** Once per attempt away; the placement may still turn out to be another peer or here. */
  onMetadata?(early: EarlyMetadata): void
}

export type Placement =
  /**
   * Compile it here; the slot is held until `release`, which may be called more than once. `returned`: why the last
   * attempt away ended without a result, if there was one.
   */
  | { kind: 'here'; reason: HereReason; returned: ReturnReason | undefined; release(cpuMs?: number): void }
  /**
   * A lender says that it has compiled it. `result`, at most 4 MiB, `trace`, at most 512 KiB or empty, and `claim`, at most 1 KiB
   * or empty: dag-cbor as it came, not yet looked at. `release`: what it names has come, or is not wanted; until then
   * a lender of whom nothing is known gets no other unit. May be called more than once.
   */
  | {
      kind: 'away'
      peer: string
      result: Uint8Array
      trace: Uint8Array
      claim: Uint8Array
      wallMs: number
      awayMs: number
      release(): void
    }

export interface MarketStats {
  /** `free`: neither own units nor guests; `lent`: guests. */
  slots: { total: number; free: number; lent: number }
  /** Own units. */
  units: { waiting: number; here: number; away: number }
  counts: { here: number; away: number; returned: Record<string, number>; lent: number }
  /** Everybody with whom slots were exchanged or who offers some. */
  peers: { peer: string; lentMs: number; borrowedMs: number; offer?: OfferView }[]
}

export interface Market {
  /**
   * Finds a place for a unit. Always settles: with a slot here at the latest.
   * @throws the signal's reason when it aborts before
   */
  place(task: Task, options?: PlaceOptions): Promise<Placement>
  /** Offers are welcome while a build is active. `build`: 16 random bytes per session. */
  building(build: Uint8Array, active: boolean): void
  /** Of what `peer` has made, so many bytes have come in so many milliseconds; 0 when they were here already. */
  moved(peer: string, bytes: number, ms: number): void
  /** What `peer` delivered could not be used; three such in 30 s pause it. */
  fault(peer: string): void
  stats(): MarketStats
  /** What this machine lends is something else now; without this it is noticed within half a second, or with the next frame. */
  refresh(): void
  /** Says goodbye to all peers for as long as the machine sleeps: nothing is lent or borrowed until `comeBack`. */
  leave(): void
  comeBack(): void
  /** Says goodbye to all peers, settles every unit as "here", kills the guests; resolves when those have ended. */
  stop(): Promise<void>
}

interface Pending {
  options: PlaceOptions
  returned: ReturnReason | undefined
  settle(placement: Placement): void
}

/** Gives the market's state machines streams and a clock. */
export function createMarket(needs: MarketNeeds, init: MarketInit): Market {
  const { clock, log, mesh } = needs
  const pending = new Map<string, Pending>()
  const ledger = new Ledger()
  const peers = new Set<string>()
  const participant = new Participant(
    { ...needs, send: (peer, body) => mesh.send(peer, body), handle, reading: (guest) => guests.reading(guest) },
    { slots: init.slots, lendSlots: init.lendSlots },
  )
  const guests = new Guests(needs, (input) => participant.tellLender(input))

  function handle(event: MarketEvent): void {
    ledger.record(event)
    switch (event.kind) {
      case 'waiting':
        call(() => pending.get(event.id)?.options.onWaiting?.())
        break
      case 'here': {
        const { id, reason } = event
        const release = (cpuMs?: number): void => participant.tell({ kind: 'released', id, cpuMs })
        const unit = pending.get(id)
        if (unit) unit.settle({ kind: 'here', reason, returned: unit.returned, release })
        else release()
        break
      }
      case 'metadata':
        call(() => announce(event))
        break
      case 'away': {
        const { peer, done, awayMs } = event
        const { result, trace, claim, wallMs } = done
        const release = (): void => participant.tell({ kind: 'settled', id: event.id })
        const unit = pending.get(event.id)
        if (unit) unit.settle({ kind: 'away', peer, result, trace, claim, wallMs, awayMs, release })
        else release()
        break
      }
      case 'returned': {
        const unit = pending.get(event.id)
        if (unit) unit.returned = event.why
        log.info('unit came back', { peer: event.peer, why: event.why })
        break
      }
      case 'run':
        guests.run(event.guest, event.peer, event.award)
        break
      case 'kill':
        guests.kill(event.guest)
        break
      case 'ended':
        if (event.overdue) log.error('killed task has not ended', { peer: event.peer, ms: event.lentMs })
        break
    }
  }

  function announce({ id, peer, rmeta, depInfo, trace }: MarketEvent & { kind: 'metadata' }): void {
    const size = Number(rmeta.size)
    try {
      if (!Number.isSafeInteger(size)) throw new ShoalError('ERR_DECODE', 'size out of range')
      const early = {
        peer,
        name: rmeta.name,
        cid: readCid(rmeta.cid),
        size,
        depInfo: new TextDecoder().decode(depInfo),
        trace,
      }
      pending.get(id)?.options.onMetadata?.(early)
    } catch (error) {
      if (codeOf(error) !== 'ERR_DECODE') throw error
      participant.tell({ kind: 'fault', peer })
    }
  }

  /** A caller's mistake in a callback must not stop the market for everybody else. */
  function call(run: () => void): void {
    try {
      run()
    } catch (error) {
      log.error('callback failed', { message: toShoalError(error).message })
    }
  }

  mesh.onPeer((peer, up) => {
    if (up) peers.add(peer)
    else peers.delete(peer)
    if (up) participant.connect(peer)
    else participant.disconnect(peer)
  })
  mesh.onSuspect?.((peer, suspect) => {
    if (suspect) participant.tell({ kind: 'peer', peer, state: 'suspect' })
  })
  mesh.onFrame((peer, body) => {
    if (!isMarketBody(body)) return
    peers.add(peer)
    if (body.case === 'goodbye') log.info('peer leaves', { peer, reason: foreignText(body.value.reason) })
    participant.receive(peer, body)
  })

  return {
    async place(task, options = {}) {
      const { signal } = options
      signal?.throwIfAborted()
      const id = randomId(needs.random)
      const { promise, resolve, reject } = Promise.withResolvers<Placement>()
      const abandon = (): void => {
        participant.tell({ kind: 'withdraw', id })
        reject(signal?.reason)
      }
      pending.set(id, { options, returned: undefined, settle: resolve })
      signal?.addEventListener('abort', abandon, { once: true })
      try {
        participant.tell({ kind: 'submit', id, task })
        return await promise
      } finally {
        pending.delete(id)
        signal?.removeEventListener('abort', abandon)
      }
    },
    building: (build, active) => participant.tell({ kind: 'building', build, active }),
    moved: (peer, bytes, ms) => participant.tell({ kind: 'moved', peer, bytes, ms }),
    fault: (peer) => participant.tell({ kind: 'fault', peer }),
    stats() {
      const { builder, lender } = participant
      const now = clock.now()
      return {
        slots: {
          total: init.slots,
          free: Math.max(0, init.slots - builder.here - lender.guests),
          lent: lender.guests,
        },
        units: { waiting: builder.waiting, here: builder.here, away: builder.away },
        counts: ledger.counts(),
        peers: ledger.peers(peers, (peer) => builder.offer(peer, now)),
      }
    },
    refresh: () => participant.refresh(),
    leave: () => participant.leave(),
    comeBack: () => participant.comeBack(),
    async stop() {
      participant.stop()
      await guests.ended()
    },
  }
}

function randomId(random: Random): string {
  return toHex(Uint8Array.from({ length: 16 }, () => Math.floor(random() * 256)))
}
