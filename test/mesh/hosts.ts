import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import type { Connection, StreamMuxerFactory } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { createLibp2p, type Libp2p } from 'libp2p'

/** A plain libp2p node on loopback: nothing of ours but what is handed in. */
export async function plainHost(muxer: () => StreamMuxerFactory = yamux()): Promise<Libp2p> {
  return await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [muxer],
    connectionMonitor: { enabled: false },
  })
}

/** One that has dialled the other. */
export async function connectedHosts(
  muxer?: () => StreamMuxerFactory,
): Promise<{ from: Connection; to: Libp2p; end(): Promise<void> }> {
  const [dialler, to] = await Promise.all([plainHost(muxer), plainHost(muxer)])
  const from = await dialler.dial(to.getMultiaddrs())
  return {
    from,
    to,
    async end() {
      await Promise.all([dialler.stop(), to.stop()])
    },
  }
}
