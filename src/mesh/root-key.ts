import { join } from 'node:path'
import { codeOf, ShoalError } from '../base/errors.ts'
import { writeDurably } from '../store/durable.ts'
import { type SigningKey, seedBytes, signingKey } from './ed25519.ts'
import { readPrivateFile } from './private-file.ts'

const maxKeyBytes = 256

/** Writes `STATE/root.key` (base64 of the seed, mode 0600): the machine that founded a mesh can do everything in it. */
export async function saveRootKey(stateDir: string, seed: Uint8Array): Promise<void> {
  await writeDurably(rootFile(stateDir), `${Buffer.from(seed).toString('base64')}\n`)
}

/**
 * The root key of a mesh, where it is kept here.
 * @throws ShoalError ERR_CONFIG when others may read the file or it holds no key
 */
export async function loadRootKey(stateDir: string): Promise<SigningKey | undefined> {
  const file = rootFile(stateDir)
  let text: string
  try {
    text = await readPrivateFile(file, maxKeyBytes)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
  const seed = Buffer.from(text.trim(), 'base64')
  if (seed.length === seedBytes) return signingKey(new Uint8Array(seed))
  throw new ShoalError('ERR_CONFIG', `${file} holds no key`, { hint: 'Restore it from the recovery phrase.' })
}

/** Where it lies. */
export function rootFile(stateDir: string): string {
  return join(stateDir, 'root.key')
}
