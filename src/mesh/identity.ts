import { createHash } from 'node:crypto'
import { readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { codeOf, ShoalError } from '../base/errors.ts'
import { moveDurably, removeDurably, writeDurably } from '../store/durable.ts'
import { readPrivateFile } from './private-file.ts'

/** Who this node is, for as long as its state directory lives. */
export interface Identity {
  privateKey: Ed25519PrivateKey
  peerId: string
}

const maxKeyBytes = 1024

/** Names this machine without telling which it is; undefined where the system has no number of its own, as in many containers. */
async function machineMark(file: string): Promise<string | undefined> {
  let id: string
  try {
    id = (await readFile(file, 'utf8')).trim()
  } catch (error) {
    // A system without one, or one that does not show it.
    if (codeOf(error) !== undefined) return undefined
    throw error
  }
  if (!/^[0-9a-f]{32}$/.test(id)) return undefined
  return createHash('sha256').update('shoal/1/machine\0').update(id).digest('hex')
}

/**
 * The key in `STATE/identity.key`, made on first use. Its first line is base64 of libp2p's protobuf form; a second one, where the machine has a
 * name, is `machine` and the mark of where it was made. Mode 0600.
 * @param machineIdFile where the system keeps the number of the machine
 * @throws ShoalError ERR_CONFIG when the file can be read by others or holds no Ed25519 key; ERR_CLONED when it was made on
 *   another machine. It is never replaced by a new one: that would make this node a stranger to its colleagues.
 */
export async function loadIdentity(stateDir: string, machineIdFile = '/etc/machine-id'): Promise<Identity> {
  const file = keyFile(stateDir)
  const mark = await machineMark(machineIdFile)
  return (await loadOwn(file, mark)) ?? (await makeKey(file, mark))
}

/** A key of this machine; undefined when there is none. @throws as `loadIdentity` */
async function loadOwn(file: string, mark: string | undefined): Promise<Identity | undefined> {
  let text: string
  try {
    text = await readPrivateFile(file, maxKeyBytes)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
  const [key = '', ...rest] = text.split('\n')
  const madeOn = /^machine ([0-9a-f]{64})$/m.exec(rest.join('\n'))?.[1]
  if (madeOn !== undefined && mark !== undefined && madeOn !== mark) {
    throw new ShoalError('ERR_CLONED', `${file} was made on another machine, of whose disk this one has a copy`, {
      hint: 'Run `shoal join LINK`: it makes a key of its own. If only the system was set up anew, delete the second line of the file.',
    })
  }
  return identityOf(readKey(key, file))
}

/** Where the key lies that is to follow. */
export const nextKeyFile = (stateDir: string): string => `${keyFile(stateDir)}.next`

/** The key that is to follow; undefined when there is none. @throws as `loadIdentity` */
export async function loadNextIdentity(stateDir: string): Promise<Identity | undefined> {
  const file = nextKeyFile(stateDir)
  try {
    const [key = ''] = (await readPrivateFile(file, maxKeyBytes)).split('\n')
    return identityOf(readKey(key, file))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The key that is to follow, made on first use, in `STATE/identity.key.next`. @throws as `loadIdentity` */
export async function makeNextIdentity(stateDir: string, machineIdFile = '/etc/machine-id'): Promise<Identity> {
  return (await loadNextIdentity(stateDir)) ?? (await makeKey(nextKeyFile(stateDir), await machineMark(machineIdFile)))
}

/** From now on it is the key, in one step; the one before is gone. @throws the system's own errors */
export async function takeNextIdentity(stateDir: string): Promise<void> {
  await writeDurably(keyFile(stateDir), await readPrivateFile(nextKeyFile(stateDir), maxKeyBytes))
  await removeDurably(nextKeyFile(stateDir))
}

/** Gives the key another name, so that the next one who looks makes a new one. @param label told apart by this */
export async function putKeyAside(stateDir: string, label: string): Promise<void> {
  await rename(keyFile(stateDir), `${keyFile(stateDir)}.${label}`)
}

/** Where a key lies by which this machine is about to become a member. */
export const joiningKeyFile = (stateDir: string): string => `${keyFile(stateDir)}.joining`

/**
 * The key by which this machine is about to become a member, made on first use: the same at each attempt, because an invitation may be used up
 * for it. One that came with a copy of another machine's disk is replaced. @throws as `loadIdentity`
 */
export async function makeJoiningIdentity(stateDir: string, machineIdFile = '/etc/machine-id'): Promise<Identity> {
  const file = joiningKeyFile(stateDir)
  const mark = await machineMark(machineIdFile)
  try {
    return (await loadOwn(file, mark)) ?? (await makeKey(file, mark))
  } catch (error) {
    if (codeOf(error) !== 'ERR_CLONED') throw error
    return await makeKey(file, mark)
  }
}

/** From now on it is the key, in one step; the one before gets another name. @param label told apart by this */
export async function takeJoiningIdentity(stateDir: string, label: string): Promise<void> {
  const file = keyFile(stateDir)
  await writeDurably(`${file}.${label}`, await readPrivateFile(file, maxKeyBytes))
  await moveDurably(joiningKeyFile(stateDir), file)
}

const keyFile = (stateDir: string): string => join(stateDir, 'identity.key')

async function makeKey(file: string, mark: string | undefined): Promise<Identity> {
  const privateKey = await generateKeyPair('Ed25519')
  const key = Buffer.from(privateKeyToProtobuf(privateKey)).toString('base64')
  await writeDurably(file, mark === undefined ? `${key}\n` : `${key}\nmachine ${mark}\n`)
  return identityOf(privateKey)
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
