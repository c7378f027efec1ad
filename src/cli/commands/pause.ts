import type { Command } from 'commander'
import { ShoalError } from '../../base/errors.ts'
import { askNode } from '../client.ts'
import { type Io, print } from '../io.ts'

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const longestMs = 7 * 86_400_000

export function addPause(program: Command, io: Io): void {
  program
    .command('pause')
    .argument('[duration]', 'such as 30m or 2h; without it until `shoal resume` or a restart')
    .description('this machine compiles for nobody else; its own builds go on as ever')
    .action(async (duration: string | undefined) => {
      const ms = duration === undefined ? undefined : milliseconds(duration)
      await askNode(io, 'pause', ms === undefined ? {} : { ms })
      print(io, `Lends nothing ${duration === undefined ? 'until `shoal resume`' : `for ${duration}`}.`)
    })
  program
    .command('resume')
    .description('ends a pause')
    .action(async () => {
      await askNode(io, 'resume')
      print(io, 'Lends again.')
    })
}

/** @throws ShoalError ERR_USAGE */
function milliseconds(text: string): number {
  const [, count, unit] = /^(\d{1,5})([smhd])$/.exec(text) ?? []
  const ms = Number(count) * (units[unit ?? ''] ?? Number.NaN)
  if (ms > 0 && ms <= longestMs) return ms
  throw new ShoalError('ERR_USAGE', `${JSON.stringify(text.slice(0, 32))} is no duration`, {
    hint: 'A number and one of s, m, h or d, up to 7d: `shoal pause 90m`.',
  })
}
