import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import { firstWrong, inWords } from '../base/words.ts'

/**
 * What the daemon answers, as far as the commands look at it. Loose: fields of a newer daemon pass through to `--json`.
 */
const outcomeNames = ['recalled-here', 'recalled-mesh', 'compiled-here', 'compiled-mesh', 'passed-through'] as const
const totals = z.record(z.enum(outcomeNames), z.number())
const cache = z.looseObject({
  bytes: z.number(),
  blocks: z.number(),
  results: z.number(),
  maxBytes: z.number().optional(),
  pinned: z.number().optional(),
  quarantined: z.number().optional(),
  refusing: z.boolean().optional(),
})

/** What crossed between this node and others; of an older node nothing is known. */
const traffic = z.looseObject({
  fetchedBytes: z.number(),
  servedBytes: z.number(),
  hedged: z.number(),
  badBlocks: z.number(),
  placed: z.number(),
  moved: z.number(),
  kept: z.number(),
})
export type Traffic = z.output<typeof traffic>

export const statusShape = z.looseObject({
  node: z.looseObject({
    name: z.string(),
    peerId: z.string(),
    pid: z.number(),
    version: z.string(),
    addresses: z.array(z.string()),
    cloned: z.boolean().optional(),
  }),
  mesh: z.looseObject({
    id: z.string(),
    name: z.string(),
    open: z.boolean(),
    members: z.number().optional(),
    admins: z.number().optional(),
    isAdmin: z.boolean().optional(),
  }),
  slots: z.looseObject({ total: z.number(), free: z.number(), lent: z.number() }),
  lending: z
    .looseObject({ tier: z.string(), reason: z.string(), owner: z.string(), toolchains: z.number().optional() })
    .optional(),
  peers: z.number(),
  cache,
  sharing: z
    .looseObject({
      placed: z.looseObject({ results: z.number(), bytes: z.number() }),
      placing: z.looseObject({ placed: z.number(), waiting: z.number() }),
    })
    .optional(),
  traffic: traffic.optional(),
  health: z.array(
    z.looseObject({ code: z.string(), text: z.string(), hint: z.string(), count: z.number(), lastSeen: z.string() }),
  ),
})
export type Status = z.output<typeof statusShape>

export const rekeyedShape = z.looseObject({ peerId: z.string() })

export const peersShape = z.looseObject({
  peers: z.array(
    z.looseObject({
      name: z.string(),
      peerId: z.string(),
      connected: z.boolean(),
      cloned: z.boolean().nullish(),
      trust: z.looseObject({ isLiar: z.boolean(), lies: z.array(z.looseObject({ package: z.string() })) }).nullish(),
      roles: z.array(z.string()).default([]),
      rttMs: z.number().nullish(),
      slots: z.number().nullish(),
      tier: z.string().nullish(),
      toolchains: z.array(z.unknown()),
      lentMs: z.number(),
      borrowedMs: z.number(),
    }),
  ),
})
export type Peers = z.output<typeof peersShape>

export const reportShape = z.looseObject({
  session: z.string(),
  over: z.boolean(),
  cwd: z.string(),
  startedAt: z.string(),
  wallMs: z.number(),
  totals,
  bytesIn: z.number(),
  bytesOut: z.number(),
  fallbacks: z.number(),
  traffic: traffic.optional(),
  peers: z.array(z.looseObject({ name: z.string(), compiled: z.number(), recalled: z.number(), ms: z.number() })),
  units: z.array(
    z.looseObject({
      crate: z.string(),
      kind: z.string(),
      outcome: z.enum(outcomeNames),
      where: z.string(),
      reason: z.string(),
      ms: z.number(),
      fallback: z.string().optional(),
    }),
  ),
})
export type Report = z.output<typeof reportShape>

export const sessionsShape = z.looseObject({
  sessions: z.array(
    z.looseObject({
      session: z.string(),
      cwd: z.string(),
      startedAt: z.string(),
      wallMs: z.number(),
      units: z.number(),
      totals,
    }),
  ),
})

const causeShape = z.looseObject({
  what: z.string(),
  name: z.string(),
  recorded: z.string().nullable(),
  here: z.string().nullable(),
})
export type Cause = z.output<typeof causeShape>

export const whyShape = z.looseObject({
  session: z.string(),
  over: z.boolean(),
  units: z.array(
    z.looseObject({
      crate: z.string(),
      kind: z.string(),
      outcome: z.enum(outcomeNames),
      where: z.string(),
      reason: z.string(),
      meaning: z.string().optional(),
      source: z.string().optional(),
      causes: z.array(causeShape),
      because: z.array(z.array(z.looseObject({ crate: z.string(), kind: z.string(), cause: causeShape })).min(1)),
    }),
  ),
})
export type Why = z.output<typeof whyShape>

export const cacheShape = cache
export type Cache = z.output<typeof cacheShape>

export const purgedShape = z.looseObject({
  peerId: z.string(),
  results: z.number(),
  files: z.number(),
  placed: z.number(),
})

export const cacheFreedShape = cache.extend({ freed: z.looseObject({ blocks: z.number(), bytes: z.number() }) })

export const cacheVerifiedShape = cache.extend({
  verified: z.looseObject({ checked: z.number(), bad: z.number(), replaced: z.number() }),
})

export const inviteShape = z.looseObject({ link: z.string().startsWith('shoal1:').max(8192) })

export const memberShape = z.looseObject({ name: z.string(), peerId: z.string() })
const names = z.array(z.string()).default([])
export const kickedShape = memberShape.extend({
  told: z.number(),
  lost: names,
  others: names,
  left: names,
  guests: names,
  keptRoot: z.boolean().default(false),
  open: z.boolean().default(false),
})
export const renamedShape = z.looseObject({ name: z.string() })
/** What a running node answers to `leave`. */
export const farewellShape = z.looseObject({ told: z.number().optional() })
export const leftShape = z.looseObject({ touched: z.array(z.string()), rootKey: z.string().nullish() })

export const forgottenRootShape = z.looseObject({
  mesh: z.looseObject({ name: z.string() }),
  removed: z.array(z.string()),
  admins: z.array(z.string()),
})

/** What the daemon program answers to `init` and `join` in its one-shot mode. */
export const membershipShape = z.looseObject({
  touched: z.array(z.string()),
  mesh: z.looseObject({ id: z.string(), name: z.string(), open: z.boolean().default(false) }),
  shim: z.string(),
  called: z.string().nullish(),
  objection: z.string().nullish(),
  phrase: z.string().optional(),
  recovered: z.looseObject({ heard: z.number(), admins: z.array(z.string()) }).optional(),
})
export type Membership = z.output<typeof membershipShape>

/** What the daemon program says on the way. */
export const wordShape = z.looseObject({
  word: z.enum(['code', 'approved', 'open', 'leaves']),
  mesh: z.string(),
  members: z.number().optional(),
  code: z
    .string()
    .regex(/^\d{6}$/)
    .optional(),
})
export type Word = z.output<typeof wordShape>

const meshShape = z.looseObject({ id: z.string(), name: z.string(), open: z.boolean() })
export const surroundingsShape = z.looseObject({ mesh: meshShape.nullable(), near: z.array(meshShape) })
export type Surroundings = z.output<typeof surroundingsShape>

export const pendingShape = z.looseObject({
  pending: z.array(
    z.looseObject({ name: z.string(), address: z.string(), waitedMs: z.number(), nameTaken: z.boolean() }),
  ),
})
export type Pending = z.output<typeof pendingShape>
export const approvedShape = z.looseObject({ name: z.string(), address: z.string() })

const partShape = z.looseObject({
  state: z.enum(['current', 'outdated', 'missing']),
  problem: z.string().optional(),
})
export const examinedShape = z.looseObject({
  shim: partShape,
  observer: partShape.nullable(),
  mesh: z.union([
    z.object({ code: z.string(), message: z.string(), hint: z.string() }),
    z.object({
      id: z.string(),
      name: z.string(),
      open: z.boolean(),
      roles: z.array(z.string()),
      validUntil: z.string().nullable(),
      objection: z.string().nullable(),
      objectionCode: z.string().nullish(),
      admins: z.number(),
      members: z.number(),
    }),
  ]),
})
export type Examined = z.output<typeof examinedShape>

/** @throws ShoalError ERR_DECODE naming the field, when an answer is not what this version expects */
export function shaped<T>(shape: z.ZodType<T>, value: unknown, from: string): T {
  const parsed = shape.safeParse(value, { error: inWords })
  if (parsed.success) return parsed.data
  throw new ShoalError('ERR_DECODE', `${from}: ${firstWrong(parsed.error, 'the answer')}`, {
    hint: 'The running node is of another version: `shoal down`, then `shoal up`.',
  })
}
