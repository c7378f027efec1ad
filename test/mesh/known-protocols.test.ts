import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { Peer, PeerData, PeerId } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { withFewerWrites } from '../../src/mesh/known-protocols.ts'

/** Counts what is written, and adds protocols as the real one does. */
function countingStore() {
  const protocols = new Map<string, string[]>()
  const said: string[] = []
  const write = async (what: string, id: PeerId, data: PeerData): Promise<Peer> => {
    said.push(`${what} ${data.protocols?.join() ?? Object.keys(data).join()}`)
    const before = what === 'merge' ? (protocols.get(id.toString()) ?? []) : []
    const now = [...new Set([...before, ...(data.protocols ?? [])])]
    protocols.set(id.toString(), now)
    return { id, addresses: [], protocols: now, metadata: new Map(), tags: new Map() }
  }
  const store = {
    merge: (id: PeerId, data: PeerData) => write('merge', id, data),
    patch: (id: PeerId, data: PeerData) => write('patch', id, data),
    save: (id: PeerId, data: PeerData) => write('save', id, data),
    async delete(id: PeerId) {
      said.push('delete')
      protocols.delete(id.toString())
    },
  }
  withFewerWrites(store)
  return { store, said }
}

test('what an entry says already is not written again, everything else is', async () => {
  const { store, said } = countingStore()
  const ana = peerIdFromPrivateKey(await generateKeyPair('Ed25519'))
  const ben = peerIdFromPrivateKey(await generateKeyPair('Ed25519'))
  const uses = (protocol: string, id: PeerId = ana) => store.merge(id, { protocols: [protocol] })
  for (let stream = 0; stream < 5; stream++) assert.deepEqual((await uses('/a')).protocols, ['/a'])
  assert.deepEqual(said.splice(0), ['merge /a'])
  await uses('/b')
  assert.deepEqual((await uses('/a')).protocols, ['/a', '/b'])
  await uses('/a', ben)
  await store.merge(ana, { multiaddrs: [] })
  assert.deepEqual(said.splice(0), ['merge /b', 'merge /a', 'merge multiaddrs'])
  await store.patch(ana, { protocols: ['/c'] })
  assert.deepEqual((await uses('/a')).protocols, ['/c', '/a'])
  await store.save(ana, { protocols: [] })
  await uses('/a')
  await store.delete(ana)
  await uses('/a')
  assert.deepEqual(said.splice(0), ['patch /c', 'merge /a', 'save ', 'merge /a', 'delete', 'merge /a'])
  for (let stream = 0; stream < 250; stream++) await uses('/a')
  assert.deepEqual(said, ['merge /a', 'merge /a'])
})
