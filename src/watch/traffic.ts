/** What happened between this node and the others besides compiling. */
export type TrafficEvent =
  /** Bytes of blocks, as they are on disk: what crossed the network may have been compressed. */
  | { what: 'fetched' | 'served'; bytes: number }
  /** A source was slow, and a second one was asked for the same. */
  | { what: 'hedged' }
  /** Bytes that were not what they were called, from a member or from the disk here. None of them was used. */
  | { what: 'bad-block' }
  /** A member keeps a result of this node; instead of another one; this node keeps one of a member. */
  | { what: 'placed' | 'moved' | 'kept' }

/** How often, and how much. Fields are added, never changed or removed: `status --json` and `report --json` carry them. */
export interface TrafficCounts {
  fetchedBytes: number
  servedBytes: number
  hedged: number
  badBlocks: number
  placed: number
  moved: number
  kept: number
}

const fields = {
  fetched: 'fetchedBytes',
  served: 'servedBytes',
  hedged: 'hedged',
  'bad-block': 'badBlocks',
  placed: 'placed',
  moved: 'moved',
  kept: 'kept',
} as const satisfies Record<TrafficEvent['what'], keyof TrafficCounts>

const nothing: TrafficCounts = {
  fetchedBytes: 0,
  servedBytes: 0,
  hedged: 0,
  badBlocks: 0,
  placed: 0,
  moved: 0,
  kept: 0,
}

/** Counts what is noted. An event costs an addition. */
export class Traffic {
  readonly #counts = { ...nothing }

  note(event: TrafficEvent): void {
    this.#counts[fields[event.what]] += 'bytes' in event ? event.bytes : 1
  }

  /** Since the start. */
  counts(): TrafficCounts {
    return { ...this.#counts }
  }

  /** Since an earlier `counts()`. */
  since(before: TrafficCounts): TrafficCounts {
    const now = this.counts()
    for (const field of Object.values(fields)) now[field] -= before[field]
    return now
  }
}
