/** Timers of the market, in milliseconds. `protocols/market.md` says what each is for. */
export const timing = {
  /** A lender that has said nothing for so long has lost its task. */
  lease: 2000,
  heartbeat: 500,
  /** How long a lender keeps a slot for a bid without an answer. */
  bidAnswer: 500,
  /**
   * A reservation without a bid for three times as long as its lender, or any, needed for one at best no longer counts: others
   * may be asked as well. What is taken as long as nobody has ever bid, and the least.
   */
  bidWait: 100,
  bidWaitLeast: 40,
  reservation: 10_000,
  offerTtl: 3000,
  offerTtlMax: 10_000,
  offerRefresh: 1000,
  /** Least time between two offers to the same builder. */
  offerSpacing: 250,
  /** The same where more is offered than before. */
  gainSpacing: 40,
  /** A change is told after this much, plus as much again at random. */
  offerCoalesce: 50,
  buildingRefresh: 5000,
  /** How long a BUILDING that is not refreshed counts. */
  interest: 15_000,
  /** Longest attempt away, however lively: max(floor, factor × expected), at most the ceiling. */
  attemptFloor: 300_000,
  attemptFactor: 10,
  attemptCeiling: 1_800_000,
  /** How often a builder looks whether what waits should go elsewhere. */
  look: 100,
  /** A second attempt begins no earlier. */
  lateLeast: 2000,
  /** What it shows of its pace before says more about how compiles begin. */
  tellsLeast: 1400,
  /** A lender whose bid was worth nothing is not asked again for so long: at first, and at most. */
  refused: 80,
  refusedMost: 160,
  /** A lender that was found slow is left alone for so long: at first, twice as long each time it is found so again, and at most. */
  slow: 2000,
  slowMost: 16_000,
  /** How long a free slot here waits for the bid of a faster lender. */
  left: 30,
  /** A killed task that has not ended by then is given up and its slot is used again. */
  kill: 10_000,
  /** A timer that fires later than this says that this process stood still, not that the others were silent. */
  stall: 100,
} as const

export const marketLimits = {
  /** Lenders asked for one waiting unit. */
  choices: 2,
  /** Outstanding reservations for one waiting unit, those without an answer included. */
  reservationsPerUnit: 6,
  attempts: 3,
  /** A unit that lost so many lenders may be what kills them. */
  lostLenders: 2,
  action: 1 << 20,
  claim: 1 << 10,
  /** Of DONE: the result, and result and trace together. */
  result: 4 << 20,
  /** Of PROGRESS: the dep-info, and dep-info and trace together. */
  depInfo: 2 << 20,
  trace: 1 << 19,
  /** Input manifests named in one reservation. */
  inputs: 4,
  cid: 64,
  name: 1024,
  toolchains: 32,
  /** Toolchains that BUILDING names. */
  wanted: 4,
  slots: 1024,
  /** Builds of one peer that are remembered. */
  builds: 16,
  triple: 128,
} as const
