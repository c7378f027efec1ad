import { tcp } from '@libp2p/tcp'
import type { Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { Clock } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { boundEncryption, type Encrypter } from './encryption.ts'
import type { Identity } from './identity.ts'
import { maxAnswerBytes, maxRosterMessages } from './join-messages.ts'
import { Talk } from './talk.ts'

export interface NewcomerNeeds {
  clock: Clock
  log: Logger
  identity: Identity
}

/** The other end of a connection that a newcomer has opened. */
export interface OtherEnd {
  /** Its key. */
  key: Uint8Array
  /** The hash of the handshake. */
  channel: Uint8Array
}

export interface ConverseOptions {
  /** From the first byte to the last. Default: 5 s. */
  deadlineMs?: number
  /** Gives up as long as nobody has answered; what has begun goes on. */
  signal?: AbortSignal
}

const conversationMs = 5000

/**
 * Opens one connection to one address, by a protocol for those who are no members, talks, and closes it.
 * @returns what `talk` returns
 * @throws ShoalError what `talk` throws; ERR_PEER_LOST when nobody there speaks the protocol
 */
export async function converse<T>(
  { clock, identity }: NewcomerNeeds,
  address: Multiaddr,
  door: { protocol: string; prologue: Uint8Array },
  speak: (talk: Talk, other: OtherEnd) => Promise<T>,
  { deadlineMs = conversationMs, signal: wanted }: ConverseOptions = {},
): Promise<T> {
  let outcome: { value: T } | { failure: ShoalError } | undefined
  const dialling = new AbortController()
  const giveUp = (): void => dialling.abort()
  wanted?.addEventListener('abort', giveUp, { once: true })
  if (wanted?.aborted === true) giveUp()
  const encrypter: Encrypter = (components) => ({
    protocol: door.protocol,
    async secureOutbound(connection, options) {
      const { noise, channel } = boundEncryption(door.prologue, components)
      const secured = await noise.secureOutbound(connection, { ...options, skipStreamMuxerNegotiation: true })
      wanted?.removeEventListener('abort', giveUp)
      // The roster comes in one go.
      const maxWaitingBytes = maxRosterMessages * maxAnswerBytes
      const talk = new Talk(secured.connection, { clock, deadlineMs, signal: options?.signal, maxWaitingBytes })
      try {
        const key = secured.remotePeer.publicKey?.raw
        if (key?.length !== 32) throw new ShoalError('ERR_NOT_MEMBER', 'its key is of another kind')
        outcome = { value: await speak(talk, { key, channel: channel() }) }
      } catch (error) {
        outcome = { failure: toShoalError(error, 'ERR_DECODE') }
      } finally {
        talk.end()
        secured.connection.abort(new Error('all is said'))
      }
      // There is nothing behind such a connection.
      throw new ShoalError('ERR_PEER_LOST', 'all is said')
    },
    async secureInbound() {
      throw new ShoalError('ERR_UNSUPPORTED', 'a newcomer is dialled by nobody')
    },
  })
  const node = await createLibp2p({
    privateKey: identity.privateKey,
    addresses: { listen: [] },
    transports: [tcp()],
    connectionEncrypters: [encrypter],
    streamMuxers: [],
    connectionMonitor: { enabled: false },
  })
  try {
    await node.dial(address, { signal: AbortSignal.any([dialling.signal, AbortSignal.timeout(deadlineMs)]) })
  } catch (error) {
    outcome ??= {
      failure: new ShoalError('ERR_PEER_LOST', `nobody answers at ${address.toString()}`, { cause: error }),
    }
  } finally {
    wanted?.removeEventListener('abort', giveUp)
    await node.stop()
  }
  if (outcome === undefined) throw new ShoalError('ERR_INTERNAL', 'a conversation without an end')
  if ('failure' in outcome) throw outcome.failure
  return outcome.value
}
