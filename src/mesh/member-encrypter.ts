import type { ConnectionEncrypter, SecureConnectionOptions, SecuredConnection } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import type { Greeted } from './clone-watch.ts'
import { type Encrypter, encryption } from './encryption.ts'
import { decodeHello, decodeVerdict, encodeHello, encodeVerdict, maxHelloBytes, maxVerdictBytes } from './hello.ts'
import type { MemberView } from './member-view.ts'
import { Talk } from './talk.ts'

export const memberProtocol = '/shoal/member/1.0.0'

/** A connection that came to nothing. */
export interface Refusal {
  direction: 'inbound' | 'outbound'
  /** Who was there; its key is proven. */
  peerId: string
  /** Whether this side has refused the other or the other one this. */
  by: 'here' | 'there'
  error: ShoalError
}

export interface MemberEncrypterNeeds {
  clock: Clock
  /** Both sides must know these 32 bytes, or nobody is told who is here. */
  prologue: Uint8Array
  /** 16 random bytes. */
  boot: Uint8Array
  /** The certificate that speaks for this node. @throws ShoalError when it is none of the members any more */
  certificate(): Uint8Array
  /** @throws ShoalError unless the certificate makes `remote` a member now */
  admit(certificate: Uint8Array, remote: Uint8Array): MemberView
  onRefused(refusal: Refusal): void
  /** Both sides have agreed to go on. */
  onGreeted?(greeted: Greeted): void
}

const deadlineMs = 2900
const keyBytes = 32
/** How long the one who was refused may take to hear it. */
const farewellMs = 500

/**
 * The door of the mesh: Noise, with the mesh's secret in its prologue, and then both sides show their certificates and say
 * whether they go on. Neither does before both have agreed, so nobody who is refused ever reaches a muxer.
 */
export function memberEncrypter(needs: MemberEncrypterNeeds): Encrypter {
  const make = encryption(needs.prologue)
  return (components) => {
    const noise = make(components)
    const secure =
      (direction: Refusal['direction']): ConnectionEncrypter['secureInbound'] =>
      async (connection, options) => {
        const secured = await (direction === 'inbound'
          ? noise.secureInbound(connection, options)
          : noise.secureOutbound(connection, options))
        const boot = await greet(needs, direction, secured, options)
        const address = 'remoteAddr' in connection ? String(connection.remoteAddr) : ''
        needs.onGreeted?.({ direction, peerId: secured.remotePeer.toString(), address, boot })
        return secured
      }
    return {
      [Symbol.toStringTag]: 'shoal-member',
      protocol: memberProtocol,
      secureInbound: secure('inbound'),
      secureOutbound: secure('outbound'),
    }
  }
}

/** @returns what the other side drew when it was started */
async function greet(
  needs: MemberEncrypterNeeds,
  direction: Refusal['direction'],
  { connection, remotePeer }: SecuredConnection,
  options: SecureConnectionOptions | undefined,
): Promise<Uint8Array> {
  const talk = new Talk(connection, { clock: needs.clock, deadlineMs, signal: options?.signal })
  let by: Refusal['by'] = 'here'
  try {
    talk.send(encodeHello({ certificate: needs.certificate(), boot: needs.boot }))
    const boot = bootOf(needs, await talk.receive(maxHelloBytes), remotePeer.publicKey?.raw)
    talk.send(encodeVerdict(boot instanceof ShoalError ? boot.code : undefined))
    if (boot instanceof ShoalError) {
      await talk.gone(farewellMs)
      throw boot
    }
    const refused = decodeVerdict(await talk.receive(maxVerdictBytes))
    if (refused === undefined) return boot
    by = 'there'
    throw new ShoalError(refused, `a member of the mesh, ${remotePeer.toString().slice(-8)}, refuses this machine`)
  } catch (error) {
    const failure = toShoalError(error)
    needs.onRefused({ direction, peerId: remotePeer.toString(), by, error: failure })
    connection.abort(failure)
    throw failure
  } finally {
    talk.end()
  }
}

/** What a hello says of the sender's start, or why it is not let in. */
function bootOf(
  needs: MemberEncrypterNeeds,
  bytes: Uint8Array,
  remote: Uint8Array | undefined,
): Uint8Array | ShoalError {
  try {
    const { certificate, boot } = decodeHello(bytes)
    if (remote?.length !== keyBytes) throw new ShoalError('ERR_NOT_MEMBER', 'its key is of another kind')
    needs.admit(certificate, remote)
    return boot
  } catch (error) {
    return toShoalError(error, 'ERR_DECODE')
  }
}
