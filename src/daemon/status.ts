import { readFileSync } from 'node:fs'
import type { Market } from '../market/driver.ts'
import type { MemberView } from '../mesh/member-view.ts'
import { peerIdOf } from '../mesh/members.ts'
import type { Membership } from '../mesh/membership.ts'
import type { Mesh, PeerView } from '../mesh/mesh.ts'
import { sameBytes } from '../mesh/statement.ts'
import type { BlockStore } from '../store/blocks.ts'
import type { TraceStore } from '../store/traces.ts'
import type { Health } from '../watch/health.ts'
import type { Traffic } from '../watch/traffic.ts'
import { Tier } from '../wire/generated/market_pb.ts'
import type { StandingView } from './standing.ts'
import type { Trust } from './trust.ts'

export interface StatusNeeds {
  name: string
  mesh: Mesh
  membership: Membership
  market: Market
  blocks: BlockStore
  traces: TraceStore
  health: Health
  /** `reason`: why this node lends nothing; `owner`: why its owner leaves less to others. '' where that is not so. */
  lending(): { tier: Tier; reason: string; owner: string; toolchains: number }
  /** Units whose incremental directory is being made, or will be. */
  warmer: { readonly pending: number }
  /** What this node has for others, what it placed on them, what they placed here. */
  sharing: { view(): Record<string, unknown> }
  traffic: Pick<Traffic, 'counts'>
  trust: Pick<Trust, 'audits' | 'determinism' | 'view'>
}

const tierNames: Record<number, string> = {
  [Tier.NONE]: 'none',
  [Tier.WATCHED]: 'watched',
  [Tier.CONFINED]: 'confined',
}

const version = (): string => {
  const file = new URL('../../package.json', import.meta.url)
  return String((JSON.parse(readFileSync(file, 'utf8')) as { version: unknown }).version)
}

/** `shoal status --json`, version 1. Fields are added, never changed or removed. */
export async function statusView(needs: StatusNeeds): Promise<Record<string, unknown>> {
  const { mesh, membership, market, health } = needs
  const { tier, ...lending } = needs.lending()
  return {
    schema: 1,
    node: {
      // What the others call it: `shoal rename` changes that.
      name: mesh.members.objectionToSelf() === undefined ? mesh.members.name : needs.name,
      peerId: mesh.peerId,
      pid: process.pid,
      version: version(),
      addresses: mesh.addresses(),
      // Another machine has the same key.
      cloned: mesh.members.cloned().has(mesh.peerId),
    },
    mesh: { id: membership.id, name: membership.name, open: membership.open, ...administrators(mesh) },
    slots: market.stats().slots,
    lending: { tier: tierNames[tier], ...lending },
    units: market.stats().units,
    warming: needs.warmer.pending,
    sharing: needs.sharing.view(),
    traffic: needs.traffic.counts(),
    trust: { audits: needs.trust.audits.stats, unsteady: needs.trust.determinism.unsteady() },
    peers: mesh.peers().filter((peer) => peer.connected).length,
    cache: await cacheView(needs),
    health: health.problems(),
  }
}

/** How many members and administrators there are; this node may be one of them. */
function administrators({ members }: Mesh): { members: number; admins: number; isAdmin: boolean } {
  const all = members.roster.members(members.now)
  const admins = all.filter(({ roles }) => roles.includes('admin'))
  const isAdmin = admins.some(({ key }) => sameBytes(key, members.key))
  return { members: all.length, admins: admins.length, isAdmin }
}

/** `shoal cache stats --json`. */
export async function cacheView({
  blocks,
  traces,
}: Pick<StatusNeeds, 'blocks' | 'traces'>): Promise<Record<string, unknown>> {
  return { schema: 1, ...blocks.stats(), results: await traces.count() }
}

/** `shoal peers --json`, version 1. */
export function peersView({
  mesh,
  market,
  trust,
}: Pick<StatusNeeds, 'mesh' | 'market' | 'trust'>): Record<string, unknown> {
  const traded = new Map(market.stats().peers.map((peer) => [peer.peer, peer]))
  const { members } = mesh
  const views = new Map(members.roster.members(members.now).map((member) => [member.peerId, member]))
  const met = mesh.peers().filter(({ peerId, connected }) => connected || views.has(peerId))
  const known = new Set([mesh.peerId, ...met.map(({ peerId }) => peerId)])
  const unmet = [...views.values()].filter(({ peerId }) => !known.has(peerId)).map(unmetView)
  const peers = [...met, ...unmet].map(({ peerId, name, connected, suspect, rttMs, silentS, addresses }) => {
    const trade = traded.get(peerId)
    const member = views.get(peerId)
    return {
      name: member?.name ?? name,
      peerId,
      roles: member?.roles ?? [],
      invitedBy: member === undefined ? null : peerIdOf(member.invitedBy),
      validUntil: member === undefined ? null : new Date(member.notAfter).toISOString(),
      connected,
      suspect,
      cloned: members.isDoubtful(peerId),
      trust: trustView(trust.view(peerId)),
      addresses,
      rttMs: rttMs ?? null,
      silentS: silentS ?? null,
      slots: trade?.offer?.total ?? null,
      tier: trade?.offer === undefined ? null : (tierNames[trade.offer.tier] ?? null),
      toolchains: trade?.offer?.toolchains ?? [],
      lentMs: trade?.lentMs ?? 0,
      borrowedMs: trade?.borrowedMs ?? 0,
    }
  })
  return { schema: 1, self: { roles: views.get(mesh.peerId)?.roles ?? [] }, peers }
}

/** What this node knows of how far the word of a member is good; null when it never needed it. */
function trustView(standing: StandingView | undefined): Record<string, unknown> | null {
  if (standing === undefined) return null
  const lies = standing.lies.map((lie) => ({ ...lie, at: new Date(lie.at).toISOString() }))
  return { ...standing, lies }
}

/** A member that this node has never been connected to. */
function unmetView({ peerId, name }: MemberView): PeerView {
  return { peerId, name, connected: false, suspect: false, unknownFrames: 0, addresses: [] }
}
