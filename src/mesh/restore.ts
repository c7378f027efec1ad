import { createHash } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import type { Multiaddr } from '@multiformats/multiaddr'
import { base32 } from 'multiformats/bases/base32'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import { hearBeacons } from './beacon.ts'
import { issueCertificate } from './certificate.ts'
import type { SigningKey } from './ed25519.ts'
import { decodeGenesis, type Genesis } from './genesis.ts'
import { maxAnswerBytes } from './join-messages.ts'
import { restorePrologue, restoreProtocol } from './join-protocol.ts'
import { serial, signingKeyOf } from './members.ts'
import { converse, type NewcomerNeeds, type OtherEnd } from './newcomer.ts'
import { decodeRestored, encodeClaim, proveRoot } from './restore-messages.ts'
import { Roster } from './roster.ts'
import { hex, sameBytes } from './statement.ts'
import type { Talk } from './talk.ts'
import { type Joined, receiveRoster, takeIn } from './welcome.ts'

const door = { protocol: restoreProtocol, prologue: restorePrologue }
/** More than one are asked, because one alone could leave out who was shut out. */
const maxMembers = 8
const maxAddressesEach = 3
const listenMs = 3000
const quietMs = 500

/** What a mesh's members answer to on the local network for who knows its root key; derived from the root's public key. */
export function restoreServiceOf(root: Uint8Array): string {
  const digest = createHash('sha256').update('shoal/1/restore-service\0').update(root).digest()
  return `_shoal-${base32.baseEncode(digest).slice(0, 8)}._udp.local`
}

/** What one member says. */
interface Told {
  member: Uint8Array
  address: Multiaddr
  genesis: Genesis
  secret: Uint8Array
  statements: Uint8Array[]
}

/**
 * Learns from its members what a mesh is of which only the root key is left.
 * @param addresses where members may be; none: whoever is heard on the local network
 * @returns with the certificate that the root key gives this node, as an administrator; `heard` members have answered
 * @throws ShoalError ERR_PEER_LOST when none answers; ERR_OTHER_MESH when those who do are of another mesh; ERR_REVOKED when this
 *   node's own key was shut out
 */
export async function restoreMesh(
  needs: NewcomerNeeds,
  root: SigningKey,
  addresses: readonly Multiaddr[],
  name: string,
): Promise<Joined & { seeds: string[]; heard: number }> {
  const members = addresses.length > 0 ? addresses.map((address) => [address]) : await heardMembers(needs, root)
  const failures: ShoalError[] = []
  const asked = members.slice(0, maxMembers).map((ways) => askMember(needs, root, ways, failures))
  const told = (await Promise.all(asked)).filter((answer) => answer !== undefined)
  const [first] = told
  if (first === undefined) throw nobody(failures)
  const now = needs.clock.wall()
  const roster = new Roster(first.genesis)
  for (const bytes of told.flatMap(({ statements }) => statements)) takeIn(roster, bytes, now)
  const secret = secretOf(told, roster)
  makeAdministrator(roster, root, signingKeyOf(needs.identity).publicKey, name, now)
  const seeds = told.map(({ address }) => address.toString()).slice(0, maxAddressesEach)
  return { genesis: first.genesis, secret, roster, seeds, heard: told.length }
}

/**
 * Lets the root key sign for this node, so that it may do everything.
 * @throws ShoalError ERR_OTHER_MESH when it is not the root key of this mesh, ERR_REVOKED when this node's own key was shut out
 */
export function makeAdministrator(
  roster: Roster,
  root: SigningKey,
  subject: Uint8Array,
  name: string,
  now: number,
): void {
  const { genesis } = roster
  if (!sameBytes(genesis.body.root, root.publicKey)) {
    throw new ShoalError('ERR_OTHER_MESH', `these are not the words of ${genesis.body.name}`)
  }
  roster.checkKey(subject)
  const init = { subject, name, roles: ['member', 'lender', 'inviter', 'admin'] as const, serial: serial() }
  roster.add(issueCertificate({ genesis, key: root }, init, now).bytes, now)
}

async function heardMembers({ log }: NewcomerNeeds, root: SigningKey): Promise<Multiaddr[][]> {
  const service = restoreServiceOf(root.publicKey)
  const heard = await hearBeacons({ interfaces: networkInterfaces, log }, { ms: listenMs, quietMs, service })
  return [...heard.values()].map((ways) => ways.slice(0, maxAddressesEach))
}

async function askMember(
  needs: NewcomerNeeds,
  root: SigningKey,
  ways: readonly Multiaddr[],
  failures: ShoalError[],
): Promise<Told | undefined> {
  for (const address of ways) {
    try {
      const told = await converse(needs, address, door, (talk, other) => claim(needs, root, talk, other))
      return { ...told, address }
    } catch (error) {
      const failure = toShoalError(error)
      needs.log.info('no answer here', { address: address.toString(), code: failure.code, message: failure.message })
      failures.push(failure)
    }
  }
  return undefined
}

async function claim(
  { identity }: NewcomerNeeds,
  root: SigningKey,
  talk: Talk,
  { key: member, channel }: OtherEnd,
): Promise<Omit<Told, 'address'>> {
  const claimant = signingKeyOf(identity).publicKey
  talk.send(encodeClaim(proveRoot(root, { claimant, member, channel })))
  const { genesis: bytes, secret, certificate } = decodeRestored(await talk.receive(maxAnswerBytes))
  const genesis = decodeGenesis(bytes)
  // Whatever else it may say, nobody but the root can have signed a genesis with this root in it.
  if (!sameBytes(genesis.body.root, root.publicKey)) throw new ShoalError('ERR_OTHER_MESH', 'it is of another mesh')
  const own = new Roster(genesis)
  // Also one that has run out: when all administrators are lost, nobody renews anybody.
  own.restore(certificate)
  if (own.latestOf(member) === undefined) throw new ShoalError('ERR_NOT_MEMBER', 'it was never a member of the mesh')
  return { member, genesis, secret, statements: [certificate, ...(await receiveRoster(talk))] }
}

/**
 * The secret that most of those say who, as far as any of them knows, were not shut out: somebody who was still knows the genesis, and
 * could say anything about the rest.
 */
function secretOf(told: readonly Told[], roster: Roster): Uint8Array {
  const counts = new Map<string, number>()
  for (const { member, secret } of told) {
    if (!isShutOut(roster, member)) counts.set(hex(secret), (counts.get(hex(secret)) ?? 0) + 1)
  }
  const [best] = [...counts].toSorted(([, a], [, b]) => b - a)
  if (best === undefined) throw new ShoalError('ERR_NOT_MEMBER', 'only who was shut out has answered')
  return new Uint8Array(Buffer.from(best[0], 'hex'))
}

function isShutOut(roster: Roster, key: Uint8Array): boolean {
  try {
    roster.checkKey(key)
    return false
  } catch (error) {
    if (codeOf(error) === 'ERR_REVOKED') return true
    throw error
  }
}

/** What was said at one address says more than that nobody answers at another. */
function nobody(failures: readonly ShoalError[]): ShoalError {
  const said = failures.find(({ code }) => code !== 'ERR_PEER_LOST' && code !== 'ERR_DEADLINE')
  if (said !== undefined) return said
  return new ShoalError('ERR_PEER_LOST', 'no member of the mesh answers', {
    hint: 'The words alone do not tell who else is in it: start any machine of the mesh on this network, or say where one is: `--member ADDRESS`, which `shoal status` shows there.',
  })
}
