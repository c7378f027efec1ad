import { createHash } from 'node:crypto'
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { codeOf, ShoalError } from '../base/errors.ts'
import { firstWrong, inWords } from '../base/words.ts'
import { writeDurably } from '../store/durable.ts'
import { type Genesis, meshIdOf } from './genesis.ts'
import { readPrivateFile } from './private-file.ts'

/** The mesh that this node belongs to. Who else does is in the roster; the secret is what members alone know. */
export interface Membership {
  v: 2
  /** 26 characters of base32 that follow from the genesis. */
  id: string
  /** For people, never for decisions. */
  name: string
  /** 32 random bytes. Never logged. */
  secret: Uint8Array
  /** Whoever finds the mesh on the local network is let in without being asked. */
  open: boolean
  /** Multiaddrs to dial when no member is remembered; from the invitation link. */
  seeds: string[]
}

export const secretBytes = 32
const maxFileBytes = 64 * 1024

// Fields of later versions survive being read and written by this one.
const schema = z.looseObject({
  v: z.literal(2),
  id: z.string().length(26),
  name: z.string().min(1).max(64),
  secret: z.base64(),
  open: z.boolean(),
  seeds: z.array(z.string().max(256)).max(8).default([]),
})
const earlier = z.looseObject({ v: z.literal(1) })

/** What a member of the mesh knows besides the roster. */
export function membershipOf(genesis: Genesis, secret: Uint8Array, seeds: string[]): Membership {
  const { name, open } = genesis.body
  return { v: 2, id: meshIdOf(genesis), name, secret, open, seeds }
}

/**
 * Reads `STATE/mesh.json`.
 * @throws ShoalError ERR_NO_MESH when there is none, ERR_MESH_OUTDATED for one from before there were certificates,
 *   ERR_CONFIG when it can be read by others or is not understood.
 */
export async function loadMembership(stateDir: string): Promise<Membership> {
  const file = meshFile(stateDir)
  let document: unknown
  try {
    document = JSON.parse(await readPrivateFile(file, maxFileBytes))
  } catch (error) {
    if (codeOf(error) === 'ENOENT')
      throw new ShoalError('ERR_NO_MESH', `this machine belongs to no mesh yet: there is no ${file}`)
    if (error instanceof SyntaxError) throw unusable(file, 'not JSON')
    throw error
  }
  if (earlier.safeParse(document).success) {
    throw new ShoalError('ERR_MESH_OUTDATED', `${file} is of an earlier version of Shoal`)
  }
  const parsed = schema.safeParse(document, { error: inWords })
  if (!parsed.success) throw unusable(file, firstWrong(parsed.error, 'the object'))
  const secret = new Uint8Array(Buffer.from(parsed.data.secret, 'base64'))
  if (secret.length !== secretBytes) throw unusable(file, `secret: not ${secretBytes} bytes`)
  return { ...parsed.data, secret }
}

/** Writes `STATE/mesh.json`, mode 0600. */
export async function saveMembership(stateDir: string, membership: Membership): Promise<void> {
  const document = { ...membership, secret: Buffer.from(membership.secret).toString('base64') }
  await writeDurably(meshFile(stateDir), `${JSON.stringify(document, undefined, 2)}\n`)
}

/**
 * Makes room for another mesh: what belongs to the present one gets a name of its own and stays.
 * @param label told apart by this
 */
export async function putAside(stateDir: string, label: string): Promise<void> {
  for (const name of ['mesh.json', 'roster', 'root.key']) {
    try {
      await rename(join(stateDir, name), join(stateDir, `${name}.${label}`))
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
    }
  }
}

/** What both ends mix into the Noise handshake: without the secret, no handshake ends. */
export function prologueOf(secret: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update('shoal/1/noise').update(secret).digest())
}

function meshFile(stateDir: string): string {
  return join(stateDir, 'mesh.json')
}

function unusable(file: string, why: string): ShoalError {
  return new ShoalError('ERR_CONFIG', `${file}: ${why}`, { hint: 'Remove the file and join the mesh again.' })
}
