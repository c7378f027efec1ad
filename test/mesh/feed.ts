import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { decode as decodeAny, encode } from '@ipld/dag-cbor'
import { type Random, seededRandom } from '../../src/base/clock.ts'
import { ShoalError } from '../../src/base/errors.ts'
import type { Decoder } from './before-admission.ts'
import { cutBytes, encodeLoosely, flipBits, pick, randomBytes } from './mutate.ts'

/** What became of the inputs that a decoder was fed with. */
export interface Fed {
  refused: number
  ms: number
  /** What the heap has grown by, garbage aside. */
  heapMiB: number
  /** The most that the process had in memory. */
  peakMiB: number
}

const MiB = 1 << 20
const longest = 4096
/** Odd forms of each sample that changed inputs begin with. */
const forms = 100
const lookEvery = 10_000

/**
 * Feeds a decoder with changed and made-up inputs. The same seed gives the same inputs.
 * @throws Error for anything but a refusal with one of the decoder's codes, with the input in hexadecimal digits
 */
export function feed({ name, samples, codes, decode }: Decoder, inputs: number, seed: number): Fed {
  const random = seededRandom(seed)
  const noise = randomBytes(16 * longest, random)
  const odd = samples.flatMap((sample) => oddForms(sample, random))
  const collect = garbageCollector()
  // Nobody reads the stacks of all these refusals, and to take them down is most of what they cost.
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    const before = heapMiB(collect)
    const startedAt = performance.now()
    let [refused, peakMiB] = [0, 0]
    for (let run = 0; run < inputs; run++) {
      const input = changed(random, samples, odd, noise)
      try {
        decode(input)
      } catch (error) {
        refused += 1
        if (!(error instanceof ShoalError) || codes?.includes(error.code) === false) {
          throw new Error(`${name}: ${String(error)}\n  input ${Buffer.from(input).toString('hex')}`, { cause: error })
        }
      }
      if (run % lookEvery === 0) peakMiB = Math.max(peakMiB, process.memoryUsage.rss() / MiB)
    }
    const ms = performance.now() - startedAt
    return { refused, ms, heapMiB: heapMiB(collect) - before, peakMiB }
  } finally {
    Error.stackTraceLimit = limit
  }
}

function changed(
  random: Random,
  samples: readonly Uint8Array[],
  odd: readonly Uint8Array[],
  noise: Uint8Array,
): Uint8Array {
  const kind = random()
  if (kind < 0.05) {
    const at = Math.floor(random() * (noise.length - longest))
    return noise.slice(at, at + Math.floor(random() ** 4 * longest))
  }
  const from = pick(random, kind < 0.2 && odd.length > 0 ? odd : samples)
  if (kind < 0.1) return from
  return kind < 0.7 ? flipBits(from, random) : cutBytes(from, random)
}

/** What is dag-cbor in other forms and with other values in the same places. */
function oddForms(sample: Uint8Array, random: Random): Uint8Array[] {
  let value: unknown
  try {
    value = decodeAny(sample)
  } catch (error) {
    // A link or a packet.
    if (error instanceof Error) return []
    throw error
  }
  return Array.from({ length: forms }, (_, at) =>
    at % 2 === 0 ? encodeLoosely(sample, random) : new Uint8Array(encode(otherwise(value, random))),
  )
}

const values: readonly unknown[] = [null, 0, -1, 1.5, '', 'x'.repeat(80), new Uint8Array(32), [], {}, true, 2 ** 53 - 1]

/** The same with something in it exchanged for something else. */
function otherwise(value: unknown, random: Random): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array || random() < 0.1) {
    return pick(random, values)
  }
  const entries = Object.entries(value)
  const chosen = Math.floor(random() * entries.length)
  const fields = entries.map(([key, field], at) => [key, at === chosen ? otherwise(field, random) : field] as const)
  return Array.isArray(value) ? fields.map(([, field]) => field) : Object.fromEntries(fields)
}

function heapMiB(collect: () => void): number {
  collect()
  return process.memoryUsage().heapUsed / MiB
}

function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as () => void
}
