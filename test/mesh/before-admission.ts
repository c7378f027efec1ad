import assert from 'node:assert/strict'
import { multiaddr } from '@multiformats/multiaddr'
import { codeOf, type ErrorCode } from '../../src/base/errors.ts'
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
import { issueCertificate } from '../../src/mesh/certificate.ts'
import { reportClone } from '../../src/mesh/clone.ts'
import { decodeGenesis, meshKeyOf } from '../../src/mesh/genesis.ts'
import { decodeHello, decodeVerdict, encodeHello, encodeVerdict } from '../../src/mesh/hello.ts'
import { createInvite, decodeProof, encodeProof, proveInvite } from '../../src/mesh/invite.ts'
import { decodeInviteLink, encodeInviteLink, makerOf } from '../../src/mesh/invite-link.ts'
import {
  decodeAsk,
  decodeJoinProof,
  decodeOffer,
  decodeRosterPart,
  decodeWelcome,
  encodeAsk,
  encodeJoinProof,
  encodeOffer,
  encodeRefusal,
  encodeRosterPart,
  encodeWelcome,
} from '../../src/mesh/join-messages.ts'
import { encodeAnswer, encodeQuestion, readPacket } from '../../src/mesh/mdns-packets.ts'
import { redeem } from '../../src/mesh/redeem.ts'
import { decodeClaim, decodeRestored, encodeClaim, encodeRestored, proveRoot } from '../../src/mesh/restore-messages.ts'
import { leave, revoke } from '../../src/mesh/revocation.ts'
import { checkEntry, decodeEntry } from '../../src/mesh/roster-entry.ts'
import { handOver } from '../../src/mesh/succession.ts'
import { keyOf, office, plain, serialOf, start } from './office.ts'

/** Something that reads what anybody can send. */
export interface Decoder {
  name: string
  /** What it understands: where changed inputs begin. */
  samples: Uint8Array[]
  /** With what it refuses. Default: any code, as where the message itself can be a refusal. */
  codes?: readonly ErrorCode[]
  /** Whether it refuses at all. Default: yes. */
  refuses?: false
  /** Throws a ShoalError, or nothing. */
  decode(bytes: Uint8Array): unknown
}

const { genesis, ann, ivy, max, roster } = office()
const bytes = (length: number): Uint8Array => new Uint8Array(length).fill(7)
const service = '_shoal-abcdefgh._udp.local'
const peer = '12D3KooWBhMbLvQGgJ6Mzbhs7sTEfjdpgZ2KfZ8nRfYUQ4VKSVCE'
const address = multiaddr(`/ip4/192.0.2.1/tcp/4001/p2p/${peer}`)
const secret = bytes(16)
const mesh = meshKeyOf(genesis)
const linkBefore = { mesh, invite: bytes(8), secret, name: 'office', addresses: [address.toString()] }
const link = { ...linkBefore, key: makerOf(ann.key.publicKey) }
const text = (input: Uint8Array): string => Buffer.from(input).toString('latin1')
const malformed: ErrorCode[] = ['ERR_DECODE']

/** One statement of every kind, and the proof that a newcomer gives an inviter. */
function exchanged(): { statements: Uint8Array[]; proof: Uint8Array } {
  const invite = createInvite(ann, { secret, roles: plain }, start)
  const book = roster(ann, ivy)
  book.add(invite.bytes, start)
  const remote = keyOf(20).publicKey
  const channel = bytes(32)
  const proof = proveInvite({ secret, mesh, subject: remote, inviter: ivy.key.publicKey, channel })
  const request = { proof, remote, channel, name: 'new', serial: serialOf(2) }
  const { certificate, redemption } = redeem({ book, issuer: ivy }, request, start)
  const fresh = keyOf(21).publicKey
  const { subject: _, ...same } = max.certificate.body
  const next = { ...same, subject: fresh, invite: null, serial: serialOf(3), follows: handOver(mesh, max.key, fresh) }
  const successor = issueCertificate(ann, next, start)
  const last = keyOf(22).publicKey
  const { sig } = handOver(mesh, keyOf(21), last)
  const follows = { key: max.key.publicKey, via: fresh, sig }
  const third = issueCertificate(ann, { ...next, subject: last, serial: serialOf(4), follows }, start)
  const all = [ann.certificate, max.certificate, invite, certificate, redemption, successor, third]
  const target = { key: ivy.key.publicKey, keep: [max.certificate.id] }
  const voided = revoke(ann, { kind: 'issuer', ...target }, 'kicked', start)
  const ends = [leave(max, start), voided, reportClone(max, remote, start)]
  return { statements: [...all, ...ends].map((statement) => statement.bytes), proof: encodeProof(proof) }
}

const { statements: samples, proof } = exchanged()
/** One statement of every kind. */
export const statements = samples

/** Each link is the one way to write what it says. */
function readLink(input: Uint8Array): void {
  const said = text(input)
  assert.equal(encodeInviteLink(decodeInviteLink(said)), said.trim())
}

/** Every decoder that a stranger can reach before anybody has let it in. One that is not here is not fuzzed in the night. */
export const decoders: Decoder[] = [
  {
    name: 'hello',
    samples: [encodeHello({ certificate: max.certificate.bytes, boot: bytes(16) })],
    codes: ['ERR_DECODE', 'ERR_UNSUPPORTED'],
    decode: decodeHello,
  },
  {
    name: 'verdict',
    samples: [encodeVerdict(undefined), encodeVerdict('ERR_REVOKED')],
    codes: malformed,
    decode: decodeVerdict,
  },
  {
    name: 'request without a link',
    samples: [
      encodeRequest({ ask: 'look' }),
      encodeRequest({ ask: 'code', commitment: bytes(32), name: 'x' }),
      encodeRequest({ ask: 'poll' }),
      encodeRequest({ ask: 'enter', name: 'x' }),
    ],
    codes: malformed,
    decode: decodeRequest,
  },
  { name: 'nonce', samples: [encodeNonce(bytes(16))], codes: malformed, decode: decodeNonce },
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
  { name: 'ask', samples: [encodeAsk({ mesh, invite: bytes(8) })], codes: malformed, decode: decodeAsk },
  { name: 'join proof', samples: [encodeJoinProof({ proof, name: 'x' })], codes: malformed, decode: decodeJoinProof },
  { name: 'proof', samples: [proof], codes: malformed, decode: decodeProof },
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
    name: 'claim of the root key',
    samples: [encodeClaim(proveRoot(keyOf(1), { claimant: bytes(32), member: bytes(32), channel: bytes(32) }))],
    codes: malformed,
    decode: decodeClaim,
  },
  {
    name: 'what a mesh is',
    samples: [
      encodeRestored({ genesis: genesis.bytes, secret: bytes(32), certificate: max.certificate.bytes }),
      encodeRefusal('ERR_OTHER_MESH'),
    ],
    decode: (input) => {
      try {
        decodeRestored(input)
      } catch (error) {
        if (codeOf(error) !== 'ERR_OTHER_MESH') throw error
      }
    },
  },
  {
    name: 'statement',
    samples: statements,
    codes: [
      'ERR_DECODE',
      'ERR_NOT_CANONICAL',
      'ERR_OTHER_MESH',
      'ERR_ISSUER_UNKNOWN',
      'ERR_CHAIN_LENGTH',
      'ERR_ROLE',
      'ERR_EXPIRED',
      'ERR_NOT_YET_VALID',
    ],
    decode: (input) => checkEntry(decodeEntry(input), genesis, start),
  },
  {
    name: 'genesis',
    samples: [genesis.bytes],
    codes: ['ERR_DECODE', 'ERR_NOT_CANONICAL', 'ERR_OTHER_MESH', 'ERR_SIGNATURE'],
    // Two fields of the same value exchanged are no change.
    decode: (input) => assert.equal(Buffer.compare(decodeGenesis(input, mesh).bytes, genesis.bytes), 0),
  },
  {
    name: 'link',
    samples: [link, linkBefore].map((one) => Buffer.from(encodeInviteLink(one))),
    codes: ['ERR_INVITE'],
    decode: readLink,
  },
  {
    name: 'mDNS packet',
    samples: [
      encodeQuestion(service),
      encodeAnswer(service, Buffer.from(serialOf(1)).toString('hex'), [address, address]),
    ],
    refuses: false,
    decode: (input) => readPacket(input, service, 'me'),
  },
]
