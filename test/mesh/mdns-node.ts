import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import type { Membership } from '../../src/mesh/membership.ts'
import { createMesh } from '../../src/mesh/mesh.ts'
import { hire } from './hiring.ts'

/**
 * A node in each of the meshes that the arguments (memberships as JSON) name. Says `MESH self PEER` for itself and
 * `MESH up PEER` for each member it meets, and ends with its standard input.
 */
const directory = await mkdtemp(join(tmpdir(), 'shoal-mesh-'))
const meshes = await Promise.all(
  process.argv.slice(2).map(async (text, index) => {
    const { secret, ...rest }: Membership & { secret: string } = JSON.parse(text)
    const membership: Membership = { ...rest, secret: new Uint8Array(Buffer.from(secret, 'base64')) }
    const stateDir = join(directory, String(index))
    await hire(stateDir, membership)
    const needs = {
      clock: systemClock,
      random: Math.random,
      log: silentLogger,
      source: { get: async () => undefined },
      lookup: async () => [],
    }
    const init = { stateDir, name: 'node', membership, mdns: true }
    const mesh = await createMesh(needs, init)
    mesh.onPeer((peer, up) => {
      if (up) process.stdout.write(`${index} up ${peer}\n`)
    })
    await mesh.start()
    process.stdout.write(`${index} self ${mesh.peerId}\n`)
    return mesh
  }),
)
process.stdin.resume()
process.stdin.on('end', async () => {
  await Promise.all(meshes.map((mesh) => mesh.stop()))
  await rm(directory, { recursive: true })
})
