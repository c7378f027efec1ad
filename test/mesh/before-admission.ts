import { encode } from '@ipld/dag-cbor'
import { multiaddr } from '@multiformats/multiaddr'
import {
  decodeNonce,
  decodeNonceReply,
  decodeRequest,
  decodeSign,
  decodeState,
  encodeNonce,
  encodeRequest,
  encodeSign,
  encodeState,
} from '../../src/mesh/ask-messages.ts'
import { decodeGenesis, meshKeyOf } from '../../src/mesh/genesis.ts'
import { decodeHello, decodeVerdict, encodeHello, encodeVerdict } from '../../src/mesh/hello.ts'
import { decodeProof, encodeProof, proveInvite } from '../../src/mesh/invite.ts'
import { decodeInviteLink, encodeInviteLink } from '../../src/mesh/invite-link.ts'
import {
  decodeAsk,
  decodeJoinProof,
  decodeOffer,
  decodeRosterPart,
  decodeWelcome,
  encodeAsk,
  encodeJoinProof,
  encodeOffer,
  encodeRosterPart,
  encodeWelcome,
} from '../../src/mesh/join-messages.ts'
import { encodeAnswer, encodeQuestion, readPacket } from '../../src/mesh/mdns-packets.ts'
import { decodeEntry } from '../../src/mesh/roster-entry.ts'
import { office, serialOf } from './office.ts'

/** Something that reads what anybody can send. */
export interface Decoder {
  name: string
  /** What it understands: where changed inputs begin. */
  samples: Uint8Array[]
  /** Throws a ShoalError, or nothing. */
  decode(bytes: Uint8Array): unknown
}

const { genesis, ivy, max } = office()
const bytes = (length: number): Uint8Array => new Uint8Array(length).fill(7)
const service = '_shoal-abcdefgh._udp.local'
const peer = '12D3KooWBhMbLvQGgJ6Mzbhs7sTEfjdpgZ2KfZ8nRfYUQ4VKSVCE'
const address = multiaddr(`/ip4/192.0.2.1/tcp/4001/p2p/${peer}`)
const secret = bytes(16)
const mesh = meshKeyOf(genesis)
const proof = encodeProof(
  proveInvite({ secret, mesh, subject: max.key.publicKey, inviter: ivy.key.publicKey, channel: bytes(32) }),
)
const link = { mesh, invite: bytes(8), secret, name: 'office', addresses: [address.toString()] }
const text = (input: Uint8Array): string => Buffer.from(input).toString('latin1')

/** Every decoder that a stranger can reach before anybody has let it in. One that is not here is not fuzzed in the night. */
export const decoders: Decoder[] = [
  {
    name: 'hello',
    samples: [encodeHello({ certificate: max.certificate.bytes, boot: bytes(16) })],
    decode: decodeHello,
  },
  { name: 'verdict', samples: [encodeVerdict(undefined), encodeVerdict('ERR_REVOKED')], decode: decodeVerdict },
  {
    name: 'request without a link',
    samples: [
      encodeRequest({ ask: 'look' }),
      encodeRequest({ ask: 'code', commitment: bytes(32), name: 'x' }),
      encodeRequest({ ask: 'poll' }),
      encodeRequest({ ask: 'enter', name: 'x' }),
    ],
    decode: decodeRequest,
  },
  { name: 'nonce', samples: [encodeNonce(bytes(16))], decode: decodeNonce },
  {
    name: 'answer with a nonce',
    samples: [encodeNonce(bytes(16))],
    decode: decodeNonceReply,
  },
  {
    name: 'sign of a mesh',
    samples: [encodeSign({ mesh, name: 'office', open: true })],
    decode: decodeSign,
  },
  {
    name: 'state of a request',
    samples: [encodeState(true), encodeState(false)],
    decode: decodeState,
  },
  { name: 'ask', samples: [encodeAsk({ mesh, invite: bytes(8) })], decode: decodeAsk },
  { name: 'join proof', samples: [encodeJoinProof({ proof, name: 'x' })], decode: decodeJoinProof },
  { name: 'proof', samples: [proof], decode: decodeProof },
  {
    name: 'offer',
    samples: [encodeOffer({ genesis: genesis.bytes, certificate: ivy.certificate.bytes })],
    decode: decodeOffer,
  },
  {
    name: 'welcome',
    samples: [encodeWelcome({ secret: bytes(32), certificate: max.certificate.bytes })],
    decode: decodeWelcome,
  },
  {
    name: 'part of a roster',
    samples: [encodeRosterPart({ statements: [ivy.certificate.bytes, max.certificate.bytes], last: true })],
    decode: decodeRosterPart,
  },
  {
    name: 'statement',
    samples: [max.certificate.bytes, ivy.certificate.bytes, encode({ type: 'x' })],
    decode: decodeEntry,
  },
  { name: 'genesis', samples: [genesis.bytes], decode: (input) => decodeGenesis(input) },
  { name: 'link', samples: [Buffer.from(encodeInviteLink(link))], decode: (input) => decodeInviteLink(text(input)) },
  {
    name: 'mDNS packet',
    samples: [
      encodeQuestion(service),
      encodeAnswer(service, Buffer.from(serialOf(1)).toString('hex'), [address, address]),
    ],
    decode: (input) => readPacket(input, service, 'me'),
  },
]
