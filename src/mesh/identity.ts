import { join } from 'node:path'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { codeOf, ShoalError } from '../base/errors.ts'
import { writeDurably } from '../store/durable.ts'
import { readPrivateFile } from './private-file.ts'

/** Who this node is, for as long as its state directory lives. */
export interface Identity {
  privateKey: Ed25519PrivateKey
  peerId: string
}

const maxKeyBytes = 1024

/**
 * The key in `STATE/identity.key` (base64 of libp2p's protobuf form, mode 0600), made on first use.
 * @throws ShoalError ERR_CONFIG when the file can be read by others or holds no Ed25519 key. It is never replaced by a
 *   new one: that would make this node a stranger to its colleagues.
 */
export async function loadIdentity(stateDir: string): Promise<Identity> {
  const file = join(stateDir, 'identity.key')
  let text: string
  try {
    text = await readPrivateFile(file, maxKeyBytes)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    const privateKey = await generateKeyPair('Ed25519')
    await writeDurably(file, `${Buffer.from(privateKeyToProtobuf(privateKey)).toString('base64')}\n`)
    return identityOf(privateKey)
  }
  return identityOf(readKey(text, file))
}

function identityOf(privateKey: Ed25519PrivateKey): Identity {
  return { privateKey, peerId: peerIdFromPrivateKey(privateKey).toString() }
}

function readKey(text: string, file: string): Ed25519PrivateKey {
  const hint = 'Restore it from a backup, or remove it and join the mesh again.'
  try {
    const key = privateKeyFromProtobuf(Buffer.from(text.trim(), 'base64'))
    if (key.type === 'Ed25519') return key
  } catch (error) {
    throw new ShoalError('ERR_CONFIG', `${file} holds no key`, { hint, cause: error })
  }
  throw new ShoalError('ERR_CONFIG', `${file} holds a key of another kind than Ed25519`, { hint })
}

/** A key that is kept nowhere, to look around with. */
export async function passingIdentity(): Promise<Identity> {
  return identityOf(await generateKeyPair('Ed25519'))
}
