import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, ShoalError } from '../base/errors.ts'
import { writeDurably } from '../store/durable.ts'
import { type SigningKey, seedBytes, signingKey } from './ed25519.ts'
import { readPrivateFile } from './private-file.ts'
import { sameBytes } from './statement.ts'

const fileName = 'root.key'
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
  const key = keyIn(text)
  if (key !== undefined) return key
  throw new ShoalError('ERR_CONFIG', `${file} holds no key`, { hint: 'Restore it from the recovery phrase.' })
}

function keyIn(text: string): SigningKey | undefined {
  const seed = Buffer.from(text.trim(), 'base64')
  return seed.length === seedBytes ? signingKey(new Uint8Array(seed)) : undefined
}

/** The files with this root key in them: one got another name when this machine left the mesh, or went into another. @param root its public key */
export async function rootKeyFiles(stateDir: string, root: Uint8Array): Promise<string[]> {
  const names = (await readdir(stateDir)).filter((name) => name.startsWith(fileName)).toSorted()
  const found: string[] = []
  for (const name of names) {
    const file = join(stateDir, name)
    const key = keyIn(await readFile(file, 'utf8'))
    if (key !== undefined && sameBytes(key.publicKey, root)) found.push(file)
  }
  return found
}

const rootFile = (stateDir: string): string => join(stateDir, fileName)
