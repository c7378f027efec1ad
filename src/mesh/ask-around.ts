import { encodeQuestion } from './mdns-packets.ts'
import { Multicast, type MulticastNeeds } from './multicast.ts'

export interface AskAroundOptions {
  /** As `_name._udp.local`. */
  service: string
  /** How long at most. */
  ms: number
  /** Ends it before that. */
  signal: AbortSignal
  /** Whatever is said on the networks, to whomever. */
  onMessage(bytes: Uint8Array): void
}

/** A datagram can be lost, and whoever has just answered somebody else waits for a moment. */
const askedAtMs = [0, 250, 750, 1500] as const

/** Asks on every local network for a service, and listens; over at once where there is no network. What is heard is hearsay. */
export async function askAround(
  { interfaces, log }: Pick<MulticastNeeds, 'interfaces' | 'log'>,
  { service, ms, signal, onMessage }: AskAroundOptions,
): Promise<void> {
  const multicast = new Multicast({ interfaces, log, onMessage })
  const { promise, resolve } = Promise.withResolvers<void>()
  const end = (): void => resolve()
  multicast.follow()
  if (multicast.size === 0 || signal.aborted) end()
  signal.addEventListener('abort', end, { once: true })
  const ask = (): void => multicast.sendAll(() => encodeQuestion(service))
  const timers = [...askedAtMs.filter((at) => at < ms).map((at) => setTimeout(ask, at)), setTimeout(end, ms)]
  try {
    await promise
  } finally {
    for (const timer of timers) clearTimeout(timer)
    signal.removeEventListener('abort', end)
    multicast.close()
  }
}
