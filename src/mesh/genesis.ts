import { base32 } from 'multiformats/bases/base32'
import { z } from 'zod'
import { ShoalError } from '../base/errors.ts'
import type { SigningKey } from './ed25519.ts'
import {
  bytesOf,
  checkSignature,
  decodeStatement,
  keySchema,
  meshBytes,
  nameSchema,
  type Statement,
  sameBytes,
  signStatement,
  timeSchema,
} from './statement.ts'

/** How a mesh begins. Its id follows from this, so none of it can ever change. */
export interface GenesisBody {
  v: 1
  name: string
  /** The key from which every right in the mesh comes. */
  root: Uint8Array
  /** 16 random bytes. */
  nonce: Uint8Array
  /** Milliseconds since the Unix epoch. */
  createdAt: number
  /** Whoever finds the mesh on the local network is let in without being asked. */
  open: boolean
}

export type Genesis = Statement<GenesisBody>

const shape = {
  type: 'genesis',
  body: z.strictObject({
    v: z.literal(1),
    name: nameSchema,
    root: keySchema,
    nonce: bytesOf(16),
    createdAt: timeSchema,
    open: z.boolean(),
  }),
  link: z.never(),
} as const

/** A new mesh. */
export function createGenesis(init: { name: string; open: boolean; nonce: Uint8Array }, root: SigningKey, now: number) {
  const { name, open, nonce } = init
  const body: GenesisBody = { v: 1, name, root: root.publicKey, nonce, createdAt: now, open }
  return signStatement<GenesisBody, unknown>('genesis', body, root, [])
}

/**
 * Reads a genesis from outside.
 * @param mesh the first 16 bytes of its id, where a link has said them
 * @throws ShoalError ERR_DECODE, ERR_NOT_CANONICAL, ERR_OTHER_MESH, ERR_SIGNATURE
 */
export function decodeGenesis(bytes: Uint8Array, mesh?: Uint8Array): Genesis {
  const genesis = decodeStatement(bytes, shape)
  if (mesh !== undefined && !sameBytes(meshKeyOf(genesis), mesh)) {
    throw new ShoalError('ERR_OTHER_MESH', 'it is not the mesh of the link')
  }
  checkSignature('genesis', genesis, genesis.body.root)
  return genesis
}

/** The mesh's name for people and for discovery: 26 letters of base32, 130 bits of the genesis' id. */
export function meshIdOf(genesis: Genesis): string {
  return base32.baseEncode(genesis.id).slice(0, 26)
}

/** The mesh's name inside statements and links: the first 16 bytes of the genesis' id. */
export function meshKeyOf(genesis: Genesis): Uint8Array {
  return genesis.id.slice(0, meshBytes)
}
