import type { Command } from 'commander'
import { askNode } from '../client.ts'
import { type Io, print, printJson } from '../io.ts'
import { bytes, counted } from '../render.ts'
import { cacheShape, shaped } from '../shapes.ts'

export function addCache(program: Command, io: Io): void {
  const cache = program.command('cache').description('what this node keeps')
  cache
    .command('stats')
    .description('its size')
    .option('--json', 'as JSON')
    .action(async (options: { json?: true }) => {
      const stats = shaped(cacheShape, await askNode(io, 'cache-stats'), 'cache-stats')
      if (options.json) return printJson(io, stats)
      print(io, `${counted(stats.results, 'result')}, ${bytes(stats.bytes)} in ${counted(stats.blocks, 'block')}`)
      print(io, io.paths.cache)
    })
}
