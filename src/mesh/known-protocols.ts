import type { Peer, PeerData, PeerId, PeerStore } from '@libp2p/interface'

/** What is known is written down all the same each time that it was said so often: an entry that nobody touches is forgotten. */
const saidOften = 100
const maxPeers = 1024

/**
 * For each stream, either way, libp2p looks its peer up in the database, adds the protocol, and writes the same entry down again: with
 * the questions of the DHT, that was a twentieth of what a lender did. What the entry says already is left alone.
 */
export function withFewerWrites(store: Pick<PeerStore, 'merge' | 'patch' | 'save' | 'delete'>): void {
  const known = new Map<string, { peer: Peer; said: number }>()
  const merge = store.merge.bind(store)
  const patch = store.patch.bind(store)
  const save = store.save.bind(store)
  const remove = store.delete.bind(store)
  const forgetting = async <T>(id: PeerId, change: () => Promise<T>): Promise<T> => {
    try {
      known.delete(id.toString())
      return await change()
    } finally {
      // Also what somebody has looked up meanwhile.
      known.delete(id.toString())
    }
  }
  store.merge = async (id, data, options) => {
    const key = id.toString()
    const entry = known.get(key)
    if (entry !== undefined && entry.said < saidOften && saysNothingNew(data, entry.peer)) {
      entry.said += 1
      return entry.peer
    }
    const peer = await merge(id, data, options)
    if (known.size >= maxPeers) known.clear()
    known.set(key, { peer, said: 0 })
    return peer
  }
  store.patch = (id, data, options) => forgetting(id, () => patch(id, data, options))
  store.save = (id, data, options) => forgetting(id, () => save(id, data, options))
  store.delete = (id, options) => forgetting(id, () => remove(id, options))
}

function saysNothingNew({ protocols, ...more }: PeerData, peer: Peer): boolean {
  return Object.keys(more).length === 0 && protocols?.every((protocol) => peer.protocols.includes(protocol)) === true
}
