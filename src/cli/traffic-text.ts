import { bytes, counted } from './render.ts'
import type { Traffic } from './shapes.ts'

/** What crossed between this node and others, in words; what did not happen is left out. */
export function trafficText({ fetchedBytes, servedBytes, hedged, badBlocks, placed, moved, kept }: Traffic): string {
  const rare: [number, string][] = [
    [hedged, `${counted(hedged, 'slow source')} helped out`],
    [badBlocks, `${counted(badBlocks, 'bad block')} refused`],
    [placed, `${counted(placed, 'result')} placed`],
    [moved, `${counted(moved, 'result')} moved`],
    [kept, `${counted(kept, 'result')} taken in`],
  ]
  const seen = rare.flatMap(([count, text]) => (count > 0 ? [text] : []))
  return [`${bytes(fetchedBytes)} fetched`, `${bytes(servedBytes)} served`, ...seen].join(', ')
}
