import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { createMesh } from '../../src/mesh/mesh.ts'
import { cidOf, hexOf } from '../../src/wire/cid.ts'
import { createMembership, hire } from './hiring.ts'

/** Two nodes of one mesh meet, exchange a block and stop; then nothing keeps this process alive. */
const block = new Uint8Array(3_000_000).fill(7)
const cid = cidOf(block)
const membership = createMembership({ name: 'test' })
const directory = await mkdtemp(join(tmpdir(), 'shoal-mesh-'))

async function node(name: string, seeds: string[]) {
  const needs = {
    clock: systemClock,
    random: Math.random,
    log: silentLogger,
    source: { get: async (key: typeof cid) => (hexOf(key) === hexOf(cid) ? block : undefined) },
    lookup: async () => [],
  }
  const stateDir = join(directory, name)
  await hire(stateDir, membership)
  return createMesh(needs, { stateDir, name, membership: { ...membership, seeds }, listen: ['127.0.0.1'] })
}

const a = await node('a', [])
await a.start()
const b = await node('b', a.addresses())
const up = new Promise<void>((resolve) => b.onPeer(() => resolve()))
await b.start()
await up
a.announce(cid)
await b.fetchBlock(cid, { from: [a.peerId], maxBytes: block.length })
await b.findProviders(cid)
await Promise.all([a.stop(), b.stop()])
await rm(directory, { recursive: true })
process.stdout.write('stopped\n')
