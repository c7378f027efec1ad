import type { Command } from 'commander'
import { askNode } from '../client.ts'
import { confirmed } from '../confirm.ts'
import { exitCodes } from '../failure.ts'
import { type Io, note, print, printJson } from '../io.ts'
import { byteCount, bytes, counted } from '../render.ts'
import { type Cache, cacheFreedShape, cacheShape, cacheVerifiedShape, shaped } from '../shapes.ts'

interface JsonOption {
  json?: true
}

/** Reading a large cache through takes minutes. */
const careMs = 6 * 3600_000

export function addCache(program: Command, io: Io, done: (exitCode: number) => void): void {
  const cache = program.command('cache').description('what this node keeps, and its care')
  cache
    .command('stats')
    .description('its size')
    .option('--json', 'as JSON')
    .action(async (options: JsonOption) => {
      const stats = shaped(cacheShape, await askNode(io, 'cache-stats'), 'cache-stats')
      if (options.json) return printJson(io, stats)
      for (const line of statsLines(stats)) print(io, line)
      print(io, io.paths.cache)
    })
  cache
    .command('gc')
    .description('remove what was used longest ago and is not in use')
    .option('--to <size>', 'until no more than this is left, such as 500M or 20GiB; default: a tenth below the limit')
    .option('--json', 'as JSON')
    .action(async ({ to, json }: JsonOption & { to?: string }) => {
      const params = to === undefined ? {} : { toBytes: byteCount(to) }
      const answer = shaped(cacheFreedShape, await askNode(io, 'cache-gc', params, careMs), 'cache-gc')
      if (json) return printJson(io, answer)
      print(io, `removed ${bytes(answer.freed.bytes)} in ${counted(answer.freed.blocks, 'block')}`)
      for (const line of statsLines(answer)) print(io, line)
    })
  cache
    .command('verify')
    .description('read everything and take out what is corrupt; exit with 4 when something was')
    .option('--json', 'as JSON')
    .action(async (options: JsonOption) => {
      const answer = shaped(cacheVerifiedShape, await askNode(io, 'cache-verify', {}, careMs), 'cache-verify')
      const { checked, bad, replaced } = answer.verified
      if (options.json) printJson(io, answer)
      else print(io, `${counted(checked, 'block')} read, ${bad} corrupt${bad > 0 ? `, ${replaced} replaced` : ''}`)
      if (bad > 0) done(exitCodes.degraded)
    })
  cache
    .command('purge')
    .description('forget all results and remove everything that is kept')
    .option('-y, --yes', 'without asking')
    .option('--json', 'as JSON')
    .action(async ({ yes, json }: JsonOption & { yes?: true }) => {
      if (!yes) {
        const stats = shaped(cacheShape, await askNode(io, 'cache-stats'), 'cache-stats')
        if (!(await confirmed(io, `Remove ${counted(stats.results, 'result')}, ${bytes(stats.bytes)}?`))) {
          note(io, 'Nothing was removed.')
          return done(exitCodes.failed)
        }
      }
      const answer = shaped(cacheFreedShape, await askNode(io, 'cache-purge', {}, careMs), 'cache-purge')
      if (json) return printJson(io, answer)
      print(io, `removed ${bytes(answer.freed.bytes)} in ${counted(answer.freed.blocks, 'block')}`)
      if (answer.blocks > 0) print(io, `${counted(answer.blocks, 'block')} in use at this moment stayed`)
    })
}

function statsLines({ results, bytes: size, blocks, ...rest }: Cache): string[] {
  const { maxBytes, pinned = 0, quarantined = 0, refusing = false } = rest
  const limit = maxBytes === undefined ? '' : ` of at most ${bytes(maxBytes)}`
  return [
    `${counted(results, 'result')}, ${bytes(size)}${limit} in ${counted(blocks, 'block')}`,
    ...(pinned > 0 ? [`${counted(pinned, 'block')} pinned`] : []),
    ...(quarantined > 0 ? [`${counted(quarantined, 'corrupt file')} set aside`] : []),
    ...(refusing ? ['nothing new is kept just now: the disk is full or broken'] : []),
  ]
}
