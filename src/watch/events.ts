import { z } from 'zod'

/** What became of a unit. Permanent names: `report --json` and the history on disk carry them. */
export const outcomes = ['recalled-here', 'recalled-mesh', 'compiled-here', 'compiled-mesh', 'passed-through'] as const
export type Outcome = (typeof outcomes)[number]

const text = z.string().max(4096)
const count = z.int().min(0)

const causeSchema = z.strictObject({
  /** The kind of thing that differs: `file`, `variable`, `dependency`… */
  what: text,
  name: text,
  /** The value it had when the nearest kept result was made, and the value now; null: was not there. */
  recorded: text.nullable(),
  here: text.nullable(),
  /** Of a dependency: the `stem` of the unit that makes it. */
  unit: text.optional(),
})

/** One thing in which a unit differed from the nearest result that was kept. */
export type CauseEvent = z.output<typeof causeSchema>

const unitSchema = z.strictObject({
  session: z.string().min(1).max(64),
  crate: text,
  /** `lib`, `proc-macro`, `bin`, `test`, `build-script`…: the plan's own word. */
  kind: text,
  outcome: z.enum(outcomes),
  /** `here`, or the name of the member that compiled the unit or gave its result. */
  where: text,
  /** Why this outcome and not a better one; for people. */
  reason: text,
  /** Milliseconds since the Unix epoch, when the shim asked. */
  startedAt: z.number(),
  /** From the shim's question to its answer. */
  ms: z.number().min(0),
  /** Received from and sent to other members for this unit. */
  bytesIn: count,
  bytesOut: count,
  /** Id of the member in `where`; absent when that is this node. */
  peer: text.optional(),
  /** Error code of the way that was tried first and failed; absent when the first way worked. */
  fallback: text.optional(),
  /** `name@version` of the package that it belongs to. */
  package: text.optional(),
  /** What its files are called, without prefix and suffix: unlike the crate's name unique within a build. */
  stem: text.optional(),
  /** The source file that cargo named: tells targets of one name apart. */
  source: text.optional(),
  /** Why no kept result served; absent when one did, or when that was not looked into. */
  causes: z.array(causeSchema).max(8).optional(),
})

/** One finished unit of a session. */
export type UnitEvent = z.output<typeof unitSchema>

const trafficSchema = z.object({
  fetchedBytes: count,
  servedBytes: count,
  hedged: count,
  badBlocks: count,
  placed: count,
  moved: count,
  kept: count,
})

const recordSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('started'),
    id: z.string().min(1).max(64),
    /** Process id of cargo. */
    pid: count,
    cwd: text,
    startedAt: z.number(),
  }),
  z.strictObject({ type: z.literal('unit'), unit: unitSchema }),
  z.strictObject({ type: z.literal('ended'), id: z.string().min(1).max(64), traffic: trafficSchema.optional() }),
])

/** One line of the session history. */
export type SessionRecord = z.output<typeof recordSchema>

/** Longest line that is looked at; a unit's line is some 400 bytes. */
const maxLineBytes = 1 << 16

/** One line of the history, without its line end. */
export function encodeRecord(record: SessionRecord): string {
  return JSON.stringify(record)
}

/** Reads one line; undefined for a torn, foreign or over-long one: history is worth keeping, never worth failing for. */
export function decodeRecord(line: string): SessionRecord | undefined {
  if (line.length > maxLineBytes) return undefined
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  const parsed = recordSchema.safeParse(value)
  return parsed.success ? parsed.data : undefined
}
