import type { SimNode } from './node.ts'
import type { VirtualTime } from './virtual-time.ts'

const sampleMs = 20

/** Who builds, who lends, and from when on the two have had each something that the other wants. */
export interface IdlenessInit {
  time: VirtualTime
  nodes(): Iterable<SimNode>
  /** Longest that a slot may stand idle while a unit that it could take waits. */
  mostMs: number
  /** False while frames are lost or machines fail: then nothing is promised. */
  isSound(): boolean
  broken(violation: string): void
}

/** Looks again and again whether a slot stands idle while a unit waits that its lender could compile. */
export function watchIdleness({ time, nodes, mostMs, isSound, broken }: IdlenessInit): void {
  const since = new Map<string, number>()
  const look = (): void => {
    const now = time.now()
    const all = [...nodes()]
    const builders = all.filter(({ participant }) => participant.builder.waiting > 0)
    const lenders = all.filter(({ participant }) => participant.lender.room > 0)
    const seen = new Set<string>()
    for (const builder of builders) {
      for (const lender of lenders) {
        if (lender === builder || !builder.participant.builder.wants(lender.name, now)) continue
        seen.add(`${builder.name} ${lender.name}`)
      }
    }
    for (const pair of since.keys()) if (!seen.has(pair) || !isSound()) since.delete(pair)
    for (const pair of seen) {
      const from = since.get(pair) ?? now
      since.set(pair, from)
      if (now - from <= mostMs || now - from > mostMs + sampleMs) continue
      const [builder, lender] = pair.split(' ')
      broken(`${lender}: at ${now} a slot is idle for ${now - from} ms while a unit of ${builder} waits`)
    }
    time.after(sampleMs, look)
  }
  time.after(sampleMs, look)
}
