import type { MarketMesh } from '../market/driver.ts'

/** The mesh as the market is to see it: nobody who was caught lying has anything to offer, and nobody awards it anything. */
export function withoutLiars(mesh: MarketMesh, isLiar: (peer: string) => boolean): MarketMesh {
  return {
    send: (peer, body) =>
      !((body.case === 'reserve' || body.case === 'award') && isLiar(peer)) && mesh.send(peer, body),
    onFrame: (handler) =>
      mesh.onFrame((peer, body) => {
        if (!((body.case === 'offer' || body.case === 'bid') && isLiar(peer))) handler(peer, body)
      }),
    onPeer: (handler) => mesh.onPeer(handler),
    onSuspect: (handler) => mesh.onSuspect?.(handler),
  }
}
