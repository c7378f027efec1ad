import { decoders } from './before-admission.ts'
import { feed } from './feed.ts'

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
/** What the heap may have grown by after each decoder, garbage aside. */
const grownMiB = 64

const say = (text: string): boolean => process.stdout.write(`${text}\n`)

say(`seed ${seed}, ${inputs} inputs each`)
for (const decoder of decoders) {
  if (!decoder.name.includes(only)) continue
  try {
    const { refused, ms, heapMiB, peakMiB } = feed(decoder, inputs, seed)
    if (heapMiB > grownMiB) process.exitCode = 1
    const share = ((refused / inputs) * 100).toFixed(1)
    const perSecond = Math.round(inputs / (ms / 1000))
    const memory = `heap ${heapMiB.toFixed(1)} MiB more, at most ${peakMiB.toFixed(0)} MiB`
    say(`${decoder.name.padEnd(23)} ${share.padStart(5)} % refused, ${perSecond} a second, ${memory}`)
  } catch (error) {
    process.exitCode = 1
    say(String(error))
  }
}
