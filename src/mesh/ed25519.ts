import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'

const publicKeyBytes = 32
export const seedBytes = 32
export const signatureBytes = 64

/** A key that can sign statements. */
export interface SigningKey {
  /** 32 bytes, RFC 8032. */
  publicKey: Uint8Array
  /** Signs with Ed25519; 64 bytes. */
  sign(message: Uint8Array): Uint8Array
}

const pkcs8 = Buffer.from('302e020100300506032b657004220420', 'hex')
const spki = Buffer.from('302a300506032b6570032100', 'hex')
const fieldPrime = 2n ** 255n - 19n
const groupOrder = 2n ** 252n + 27742317777372353535851937790883648493n
const signBit = 2n ** 255n
/** The y coordinates of the eight points of small order. */
const smallOrder: ReadonlySet<bigint> = new Set([
  0n,
  1n,
  fieldPrime - 1n,
  0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n,
  0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n,
])

/** The key pair of a 32-byte seed (RFC 8032); for a libp2p key, the first 32 bytes of its `raw`. */
export function signingKey(seed: Uint8Array): SigningKey {
  const privateKey = createPrivateKey({ key: Buffer.concat([pkcs8, seed]), format: 'der', type: 'pkcs8' })
  const der = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return {
    publicKey: new Uint8Array(der.subarray(spki.length)),
    sign: (message) => new Uint8Array(sign(null, message, privateKey)),
  }
}

/**
 * Whether the bytes are the one encoding of a point that a key may be: y below the field's prime, and not of small order,
 * because for such a key a signature without a secret can be made.
 */
export function isUsableKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== publicKeyBytes) return false
  const encoded = littleEndian(publicKey)
  const y = encoded >= signBit ? encoded - signBit : encoded
  return y < fieldPrime && !smallOrder.has(y)
}

/**
 * Verifies as strictly as a credential needs. What OpenSSL in Node 24 does by itself: it compares R as bytes, so that a
 * second encoding of R fails, and it refuses s + L. That is a property of a build, not of `crypto.verify`; and nothing in
 * its contract refuses a public key that is written with y ≥ p or that has small order. So s < L and the form of the key
 * are checked here, before it is asked. R needs no check: a point of small order as R does not help without the secret.
 */
export function isSignedBy(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== signatureBytes || !isUsableKey(publicKey)) return false
  if (littleEndian(signature.subarray(32)) >= groupOrder) return false
  return verify(null, message, importedKey(publicKey), signature)
}

function importedKey(publicKey: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([spki, publicKey]), format: 'der', type: 'spki' })
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`)
}
