import { randomBytes } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { Multiaddr } from '@multiformats/multiaddr'
import { codeOf, ShoalError } from '../base/errors.ts'
import { hostOf } from './addresses.ts'
import {
  decodeNonceReply,
  decodeSign,
  decodeState,
  encodeNonce,
  encodeRequest,
  type MeshSign,
  maxReplyBytes,
} from './ask-messages.ts'
import { hearBeacons } from './beacon.ts'
import { askPrologue, askProtocol } from './join-protocol.ts'
import { signingKeyOf } from './members.ts'
import { isNeighbour } from './neighbours.ts'
import { converse, type NewcomerNeeds, type OtherEnd } from './newcomer.ts'
import { patienceMs } from './pending-joins.ts'
import { commitmentTo, nonceBytes, shortCode } from './short-code.ts'
import { hex, sameBytes } from './statement.ts'
import type { Talk } from './talk.ts'
import { type Joined, receiveOffer, receiveWelcome } from './welcome.ts'

/** A mesh on the local network, and the members of it that may let others in, as they say. */
export interface HeardMesh extends MeshSign {
  /** In the order in which they answered; at least one. */
  addresses: Multiaddr[]
}

const door = { protocol: askProtocol, prologue: askPrologue }
const lookMs = 1500
const maxLooks = 32
const maxAddressesEach = 3
/** Each is one more chance for whoever sits in between. */
const maxMembers = 3
/** How long it may be silent before it is given up. */
const lostMs = 15_000
const retryMs = 500
/** What may be better the next time. */
const passing: ReadonlySet<string | undefined> = new Set(['ERR_PEER_LOST', 'ERR_DEADLINE'])

/**
 * Finds the meshes on the local networks that a machine may ask to join.
 * @param ms how long it listens at most; asking who answers takes up to 1.5 s more
 * @returns by name; none where there is no network
 */
export async function findMeshes(needs: NewcomerNeeds, ms: number): Promise<HeardMesh[]> {
  const heard = await hearBeacons({ interfaces: networkInterfaces, log: needs.log }, { ms, quietMs: 300 })
  const looks = [...heard.values()].slice(0, maxLooks).map((addresses) => lookAt(needs, addresses))
  const meshes = new Map<string, HeardMesh>()
  for (const seen of await Promise.all(looks)) {
    if (seen === undefined) continue
    const { sign, address } = seen
    const name = `${hex(sign.mesh)} ${sign.open} ${sign.name}`
    const known = meshes.get(name)
    if (known === undefined) meshes.set(name, { ...sign, addresses: [address] })
    else known.addresses.push(address)
  }
  return [...meshes.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/**
 * Asks the members of a mesh, one after the other until one listens, to be let in, and waits for somebody to say yes.
 * @param name what the others see; 1 to 64 bytes
 * @param onCode the six digits that have to be said to somebody of the mesh
 * @throws ShoalError ERR_DEADLINE when nobody says yes within five minutes, ERR_LIMIT when this machine has asked too often,
 *   ERR_PEER_LOST, ERR_OTHER_MESH, ERR_REVOKED
 */
export async function askToJoin(
  needs: NewcomerNeeds,
  mesh: HeardMesh,
  name: string,
  onCode: (code: string) => void,
): Promise<Joined> {
  const { address, member, code } = await firstOf(mesh, (candidate) =>
    converse(needs, candidate, door, async (talk, other) => ({
      address: candidate,
      member: other.key,
      code: await agreeOnCode(needs, mesh, name, talk, other),
    })),
  )
  onCode(code)
  const { clock } = needs
  const startedAt = clock.now()
  let heardAt = startedAt
  while (clock.now() - startedAt < patienceMs) {
    try {
      const joined = await converse(needs, address, door, (talk, other) => poll(needs, mesh, talk, other, member))
      if (joined !== undefined) return joined
      heardAt = clock.now()
    } catch (error) {
      if (!passing.has(codeOf(error)) || clock.now() - heardAt > lostMs) throw error
      await delay(retryMs)
    }
  }
  throw new ShoalError('ERR_DEADLINE', 'nobody has said yes within five minutes', { hint: 'Run `shoal join` again.' })
}

/** Comes into an open mesh. @throws ShoalError as `askToJoin` */
export async function enterMesh(needs: NewcomerNeeds, mesh: HeardMesh, name: string): Promise<Joined> {
  return await firstOf(mesh, (address) =>
    converse(needs, address, door, async (talk, other) => {
      talk.send(encodeRequest({ ask: 'enter', name }))
      return await becomeMember(needs, mesh, talk, other)
    }),
  )
}

async function lookAt(
  needs: NewcomerNeeds,
  addresses: readonly Multiaddr[],
): Promise<{ sign: MeshSign; address: Multiaddr } | undefined> {
  const near = addresses.filter((address) => isNeighbour(hostOf(address), networkInterfaces))
  for (const address of near.slice(0, maxAddressesEach)) {
    try {
      const look = async (talk: Talk): Promise<MeshSign> => {
        talk.send(encodeRequest({ ask: 'look' }))
        return decodeSign(await talk.receive(maxReplyBytes))
      }
      return { sign: await converse(needs, address, door, look, { deadlineMs: lookMs }), address }
    } catch (error) {
      needs.log.debug('nobody to ask here', { address: address.toString(), code: codeOf(error) ?? '' })
    }
  }
  return undefined
}

async function agreeOnCode(
  { identity }: NewcomerNeeds,
  { mesh }: HeardMesh,
  name: string,
  talk: Talk,
  { key: member, channel }: OtherEnd,
): Promise<string> {
  const newcomer = signingKeyOf(identity).publicKey
  const newcomerNonce = new Uint8Array(randomBytes(nonceBytes))
  talk.send(encodeRequest({ ask: 'code', commitment: commitmentTo(newcomerNonce, newcomer), name }))
  const memberNonce = decodeNonceReply(await talk.receive(maxReplyBytes))
  talk.send(encodeNonce(newcomerNonce))
  decodeState(await talk.receive(maxReplyBytes))
  return shortCode({ mesh, newcomer, member, newcomerNonce, memberNonce, channel })
}

async function poll(
  needs: NewcomerNeeds,
  mesh: HeardMesh,
  talk: Talk,
  other: OtherEnd,
  member: Uint8Array,
): Promise<Joined | undefined> {
  // The code was agreed upon with this key and no other.
  if (!sameBytes(other.key, member)) throw new ShoalError('ERR_REPLAYED', 'another member answers at this address')
  talk.send(encodeRequest({ ask: 'poll' }))
  const approved = decodeState(await talk.receive(maxReplyBytes))
  return approved ? await becomeMember(needs, mesh, talk, other) : undefined
}

async function becomeMember(
  { clock, identity }: NewcomerNeeds,
  { mesh, name, open }: HeardMesh,
  talk: Talk,
  { key: inviter }: OtherEnd,
): Promise<Joined> {
  const roster = await receiveOffer(talk, clock, { mesh, inviter })
  const { body } = roster.genesis
  if (body.open !== open || body.name !== name) {
    throw new ShoalError('ERR_OTHER_MESH', 'the mesh is not what its members have said of it')
  }
  return await receiveWelcome(talk, clock, roster, signingKeyOf(identity).publicKey)
}

/** The first member that listens; what the last one says when none does. */
async function firstOf<T>({ addresses }: HeardMesh, attempt: (address: Multiaddr) => Promise<T>): Promise<T> {
  let failure: unknown
  for (const address of addresses.slice(0, maxMembers)) {
    try {
      return await attempt(address)
    } catch (error) {
      if (codeOf(error) === 'ERR_REVOKED') throw error
      failure = error
    }
  }
  throw failure
}
