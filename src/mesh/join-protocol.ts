import { createHash } from 'node:crypto'

/** Beside the members' own: for whoever has a link and no certificate yet. */
export const joinProtocol = '/shoal/join/1.0.0'
/** No secret: a newcomer knows none. It keeps handshakes of the two protocols apart. */
export const joinPrologue = new Uint8Array(createHash('sha256').update('shoal/1/join-noise').digest())

/** For whoever has the root key of a mesh, and nothing else of it. */
export const restoreProtocol = '/shoal/restore/1.0.0'
export const restorePrologue = new Uint8Array(createHash('sha256').update('shoal/1/restore-noise').digest())

/** For whoever is on the same network and has not even a link. */
export const askProtocol = '/shoal/ask/1.0.0'
export const askPrologue = new Uint8Array(createHash('sha256').update('shoal/1/ask-noise').digest())
