import type { SecuredConnection } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { boundEncryption, type Encrypter } from './encryption.ts'
import { encodeRefusal, maxAskBytes } from './join-messages.ts'
import { restorePrologue, restoreProtocol } from './join-protocol.ts'
import type { Members } from './members.ts'
import { checkClaim, decodeClaim, encodeRestored } from './restore-messages.ts'
import { sameBytes } from './statement.ts'
import { Talk } from './talk.ts'
import { sendRoster } from './welcome.ts'

export interface RestoreDeskNeeds {
  clock: Clock
  log: Logger
  members: Members
  /** The mesh's secret. */
  secret: Uint8Array
}

/** libp2p cuts every connection off after as long. */
const deadlineMs = 2900
const farewellMs = 1000

/**
 * Tells who has the root key what else it needs to belong to the mesh again. Every member does, also one that may let in nobody: it
 * lets nobody in, because the root key is above it. Nothing is said before the key was shown.
 */
export function restoreDesk(needs: RestoreDeskNeeds): Encrypter {
  return (components) => ({
    protocol: restoreProtocol,
    secureInbound: async (connection, options) => {
      const { noise, channel } = boundEncryption(restorePrologue, components)
      const secured = await noise.secureInbound(connection, { ...options, skipStreamMuxerNegotiation: true })
      await serve(needs, secured, channel(), options?.signal)
      throw new ShoalError('ERR_PEER_LOST', 'somebody was told what the mesh is')
    },
    secureOutbound: async () => {
      throw new ShoalError('ERR_UNSUPPORTED', 'members do not ask what their mesh is')
    },
  })
}

async function serve(
  needs: RestoreDeskNeeds,
  { connection, remotePeer }: SecuredConnection,
  channel: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { clock, log } = needs
  const talk = new Talk(connection, { clock, deadlineMs, signal })
  const peer = remotePeer.toString()
  try {
    const claimant = remotePeer.publicKey?.raw
    if (claimant?.length !== 32) throw new ShoalError('ERR_NOT_MEMBER', 'its key is of another kind')
    await answer(needs, talk, claimant, channel)
    log.warn('somebody with the root key has been told what the mesh is', { peer })
    await talk.gone(farewellMs)
  } catch (error) {
    const { code, message } = toShoalError(error, 'ERR_DECODE')
    log.info('somebody who asked what the mesh is was refused', { peer, code, message })
    await talk.leave(encodeRefusal(code), farewellMs)
    throw error
  } finally {
    talk.end()
    connection.abort(new Error('somebody was told what the mesh is'))
  }
}

async function answer(
  { members, secret }: RestoreDeskNeeds,
  talk: Talk,
  claimant: Uint8Array,
  channel: Uint8Array,
): Promise<void> {
  const claim = decodeClaim(await talk.receive(maxAskBytes))
  const { genesis } = members
  if (!sameBytes(claim.root, genesis.body.root))
    throw new ShoalError('ERR_OTHER_MESH', 'it has the key of another mesh')
  checkClaim(claim, { claimant, member: members.key, channel })
  const certificate = members.latest()
  talk.send(encodeRestored({ genesis: genesis.bytes, secret, certificate: certificate.bytes }))
  sendRoster(talk, members)
}
