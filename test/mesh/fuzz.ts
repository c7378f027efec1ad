import { seededRandom } from '../../src/base/clock.ts'
import { ShoalError } from '../../src/base/errors.ts'
import { decoders } from './before-admission.ts'
import { cutBytes, flipBits, pick, randomBytes } from './mutate.ts'

/**
 * Feeds every decoder that strangers can reach with changed and made-up inputs. `npm run fuzz -- [--inputs N] [--seed N] [--only NAME]`;
 * 10^7 for each unless said otherwise, which is for the night. Ends with 1 at anything but a refusal with a code, and when memory grows.
 */
const argument = (name: string, otherwise: string): string => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? otherwise : (process.argv[at + 1] ?? otherwise)
}
const inputs = Number(argument('inputs', '1e7'))
const seed = Number(argument('seed', String(Date.now() % 1_000_000)))
const only = argument('only', '')
const MiB = 1 << 20
/** What the heap may have grown by after each decoder, garbage aside. */
const grownMiB = 64
const longest = 4096

const say = (text: string): boolean => process.stdout.write(`${text}\n`)

function heapMiB(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / MiB
}

if (globalThis.gc === undefined) throw new Error('run with --expose-gc')
say(`seed ${seed}, ${inputs} inputs each`)
let failed = 0
for (const { name, samples, decode } of decoders) {
  if (!name.includes(only)) continue
  const random = seededRandom(seed)
  for (const sample of samples) if (name !== 'statement') decode(sample)
  const before = heapMiB()
  const startedAt = performance.now()
  let refused = 0
  let peakMiB = 0
  for (let run = 0; run < inputs; run++) {
    const sample = pick(random, samples)
    const kind = random()
    const input =
      kind < 0.6
        ? flipBits(sample, random)
        : kind < 0.9
          ? cutBytes(kind < 0.75 ? sample : flipBits(sample, random), random)
          : randomBytes(Math.floor(random() ** 4 * longest), random)
    try {
      decode(input)
    } catch (error) {
      refused += 1
      if (!(error instanceof ShoalError)) {
        failed += 1
        say(`${name}: ${String(error)}\n  input ${Buffer.from(input).toString('hex')}`)
        if (failed > 10) process.exit(1)
      }
    }
    if (run % 100_000 === 0) peakMiB = Math.max(peakMiB, process.memoryUsage.rss() / MiB)
  }
  const grown = heapMiB() - before
  if (grown > grownMiB) failed += 1
  const perSecond = Math.round(inputs / ((performance.now() - startedAt) / 1000))
  const share = ((refused / inputs) * 100).toFixed(1)
  say(
    `${name.padEnd(18)} ${share.padStart(5)} % refused, ${perSecond} a second, heap ${grown.toFixed(1)} MiB more, at most ${peakMiB.toFixed(0)} MiB`,
  )
}
process.exitCode = failed > 0 ? 1 : 0
