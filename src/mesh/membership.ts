import { createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { base32 } from 'multiformats/bases/base32'
import { z } from 'zod'
import { codeOf, ShoalError } from '../base/errors.ts'
import { writeDurably } from '../store/durable.ts'
import { readPrivateFile } from './private-file.ts'

/** The mesh that this node belongs to. Whoever has the secret is a member. */
export interface Membership {
  v: 1
  /** 26 characters of base32 that follow from the secret. */
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
export const meshName = z.string().min(1).max(64)
const maxFileBytes = 64 * 1024

// Fields of later versions survive being read and written by this one.
const schema = z.looseObject({
  v: z.literal(1),
  id: z.string(),
  name: meshName,
  secret: z.base64(),
  open: z.boolean(),
  seeds: z.array(z.string().max(256)).max(8).default([]),
})

/** A mesh of its own for this node; `open` defaults to false. */
export function createMembership(init: { name: string; open?: boolean }): Membership {
  const secret = new Uint8Array(randomBytes(secretBytes))
  return membershipOf({ name: init.name, secret, open: init.open ?? false, seeds: [] })
}

/** The membership that a secret stands for. */
export function membershipOf(init: Omit<Membership, 'v' | 'id'>): Membership {
  return { v: 1, id: meshIdOf(init.secret), ...init }
}

/**
 * Reads `STATE/mesh.json`.
 * @throws ShoalError ERR_NO_MESH when there is none, ERR_CONFIG when it can be read by others or is not understood.
 */
export async function loadMembership(stateDir: string): Promise<Membership> {
  const file = meshFile(stateDir)
  let document: unknown
  try {
    document = JSON.parse(await readPrivateFile(file, maxFileBytes))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw new ShoalError('ERR_NO_MESH', `${file} does not exist`)
    if (error instanceof SyntaxError) throw unusable(file, 'not JSON')
    throw error
  }
  const parsed = schema.safeParse(document)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw unusable(file, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'wrong shape'}`)
  }
  const secret = new Uint8Array(Buffer.from(parsed.data.secret, 'base64'))
  if (secret.length !== secretBytes) throw unusable(file, `secret: not ${secretBytes} bytes`)
  if (meshIdOf(secret) !== parsed.data.id) throw unusable(file, 'id: does not belong to the secret')
  return { ...parsed.data, secret }
}

/** Writes `STATE/mesh.json`, mode 0600. */
export async function saveMembership(stateDir: string, membership: Membership): Promise<void> {
  const document = { ...membership, secret: Buffer.from(membership.secret).toString('base64') }
  await writeDurably(meshFile(stateDir), `${JSON.stringify(document, undefined, 2)}\n`)
}

/** What both ends mix into the Noise handshake: without the secret, no handshake ends. */
export function prologueOf(membership: Membership): Uint8Array {
  return derive('shoal/1/noise', membership.secret)
}

function meshIdOf(secret: Uint8Array): string {
  return base32.baseEncode(derive('shoal/1/mesh', secret)).slice(0, 26)
}

function derive(purpose: string, secret: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(purpose).update(secret).digest())
}

function meshFile(stateDir: string): string {
  return join(stateDir, 'mesh.json')
}

function unusable(file: string, why: string): ShoalError {
  return new ShoalError('ERR_CONFIG', `${file}: ${why}`, { hint: 'Remove the file and join the mesh again.' })
}
