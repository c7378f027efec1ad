import { setTimeout as delay } from 'node:timers/promises'
import { ShoalError } from '../base/errors.ts'
import {
  type Grant,
  guestsOf,
  invite,
  keyCalled,
  kickMember,
  leaveMesh,
  memberCalled,
  promote,
} from '../mesh/administer.ts'
import type { PendingView } from '../mesh/approvals.ts'
import { meshKeyOf } from '../mesh/genesis.ts'
import { loadNextIdentity, makeNextIdentity } from '../mesh/identity.ts'
import type { MemberView } from '../mesh/member-view.ts'
import { type Members, peerIdOfHex, signingKeyOf } from '../mesh/members.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { readShortCode } from '../mesh/short-code.ts'
import { sameBytes } from '../mesh/statement.ts'
import { handOver } from '../mesh/succession.ts'
import { certifySuccessor } from '../mesh/successor.ts'

interface Kicked {
  name: string
  peerId: string
  /** The peerIds of other keys of the same member that are out with it, as one that waits for its machine's next start … */
  others: string[]
  /** … and of those that are not, or, with `issued`, whom it has let in and for whom there was no place left. */
  left: string[]
  /** Connected members. */
  told: number
  /** Names of others who are out because nobody here could sign for them. */
  lost: string[]
  /** Names of the members whom it has let in, as their certificates say, and who stay. */
  guests: string[]
  /** The root key of the mesh may lie on its disk: nothing shuts that out. */
  keptRoot: boolean
  /** The mesh lets in whoever finds it: also who is back with another key. */
  open: boolean
}

/** What the command line can do about who belongs to the mesh. Errors as in mesh/administer.ts. */
export interface MembershipCommands {
  /** A link that lets one machine join. */
  invite(grant: Grant): Promise<string>
  kick(request: { member: string; issued: boolean }): Promise<Kicked>
  /** `hasRoot`: the root key of the mesh lies on this machine's disk. */
  promote(request: { member: string; role: Grant }): Promise<{ name: string; peerId: string; hasRoot: boolean }>
  rename(name: string): Promise<{ name: string }>
  /** Newcomers on the local network that wait for somebody to say yes. */
  pending(): Promise<{ pending: PendingView[] }>
  /** @param code as a person typed it */
  approve(code: string): Promise<{ name: string; address: string }>
  /** `told`: connected members that have heard of it. Without any, the mesh believes that it still belongs. Not there when it did not. */
  leave(): Promise<{ told?: number }>
  /** Has a new key certified. It takes over when the node starts the next time. */
  rekey(): Promise<{ peerId: string }>
}

/** Once what others have said of it is on the disk. */
async function waitsFor(members: Members, peerId: string): Promise<{ peerId: string }> {
  await members.saved()
  return { peerId }
}

const isMember = (members: Members, peerId: string): boolean => members.objectionTo(peerId) === undefined

/**
 * Whether one of these founded the mesh, or was recovered with its phrase: only such a machine was let in by the root itself, and keeps the
 * root key. Who can read that can let itself in again.
 */
function mayKeepRoot({ genesis, roster }: Members, keys: readonly { key: Uint8Array }[]): boolean {
  const { root } = genesis.body
  return keys.some(({ key }) => {
    const certificate = roster.latestOf(key)
    return certificate !== undefined && sameBytes(certificate.body.invitedBy, root)
  })
}

/** The members of whom their certificates say that one has let them in, but for keys of its own. */
function letInBy({ roster, now }: Members, key: Uint8Array): MemberView[] {
  const lines = roster.lines(now)
  return roster.members(now).filter((one) => lines.isSame(one.invitedBy, key) && !lines.isSame(one.key, key))
}

/** @throws ShoalError ERR_DEADLINE when it does not become so */
async function until(
  members: Members,
  holds: () => boolean,
  { what, hint }: { what: string; hint: string },
): Promise<void> {
  const end = members.now + renameMs
  while (!holds()) {
    if (members.now > end) throw new ShoalError('ERR_DEADLINE', what, { hint })
    await delay(pollMs)
  }
}

/** Of two machines with one key each administrator talks to one, in turn. */
const turnMs = 45_000

/** Does what needs others, once some are connected; who shares its key with another machine waits for its turn to. */
async function inTurn({ members, peerId }: Mesh, isDone: () => boolean): Promise<boolean> {
  const end = members.now + turnMs
  while (!isDone()) {
    if (!members.cloned().has(peerId) || members.now > end) return false
    await delay(pollMs)
  }
  return true
}

const listeners = (mesh: Mesh): number =>
  mesh.peers().filter(({ connected, peerId }) => connected && isMember(mesh.members, peerId)).length

/** So long an inviter may take to sign a certificate. */
const renameMs = 5000
const pollMs = 50
/** So long the others have to hear of it before this node goes. */
const farewellMs = 500

/** @param stateDir where keys lie */
export function membershipCommands({ mesh, stateDir }: { mesh: Mesh; stateDir: string }): MembershipCommands {
  const { members } = mesh
  let rekeying: Promise<{ peerId: string }> | undefined
  const rekey = async (): Promise<{ peerId: string }> => {
    const waiting = await loadNextIdentity(stateDir)
    // Certified before, as when that came late: all that is left is to start with it, also where the old key is over by now.
    if (waiting !== undefined && isMember(members, waiting.peerId)) return await waitsFor(members, waiting.peerId)
    // Who was shut out hears that now.
    members.own()
    const next = await makeNextIdentity(stateDir)
    const key = signingKeyOf(next)
    if (members.signsForItself) {
      const follows = handOver(meshKeyOf(members.genesis), members.signer, key.publicKey)
      await certifySuccessor(members, key.publicKey, follows)
    } else if (!(await inTurn(mesh, () => mesh.askToSucceed(key)))) {
      throw new ShoalError('ERR_PEER_LOST', 'nobody who could certify a new key is connected', {
        hint: 'Nothing has changed. Try again when an administrator of the mesh is there.',
      })
    }
    await until(members, () => isMember(members, next.peerId), {
      what: 'nobody has certified the new key',
      hint: 'Try again: `shoal status` says if it is certified after all. If another machine with this key was first, an administrator shuts that one out (`shoal kick`), and you try again; or this one gets a new link: `shoal join LINK`.',
    })
    return await waitsFor(members, next.peerId)
  }
  return {
    invite: (grant) => invite(members, grant, mesh.addresses()),
    async kick({ member, issued }) {
      const view = keyCalled(members, member)
      const keptRoot = mayKeepRoot(members, [view, ...view.others])
      const lost = await kickMember(members, view, issued)
      // Who is kicked stays for another moment, to hear it.
      const told = listeners(mesh)
      const line = members.roster.lines(members.now).livingWith(view.key).map(peerIdOfHex)
      const stayed = issued ? guestsOf(members, view.key).map(({ peerId }) => peerId) : []
      // Whoever kicks the key that this machine had before keeps its own.
      const left = [...new Set([...line, ...stayed])].filter((peerId) => peerId !== mesh.peerId)
      const guests = issued ? [] : letInBy(members, view.key).filter(({ peerId }) => peerId !== mesh.peerId)
      const others = view.others.map(({ peerId }) => peerId).filter((peerId) => !isMember(members, peerId))
      const names = { lost: lost.map(({ name }) => name), guests: guests.map(({ name }) => name) }
      return {
        name: view.name,
        peerId: view.peerId,
        others,
        left,
        told,
        keptRoot,
        open: members.genesis.body.open,
        ...names,
      }
    },
    async promote({ member, role }) {
      const view = memberCalled(members, member)
      await promote(members, view, role)
      return { name: view.name, peerId: view.peerId, hasRoot: members.signsForItself }
    },
    async rename(name) {
      // Nobody would sign it, and it would be gone with the key.
      if (members.heirs().length > 0) throw new ShoalError('ERR_FOLLOWED', 'another key was certified for this machine')
      if (members.signsForItself) await members.renameSelf(name)
      else if (!mesh.askForName(name)) {
        throw new ShoalError('ERR_PEER_LOST', 'nobody who could sign another name is connected', {
          hint: 'Try again when an administrator of the mesh is there.',
        })
      }
      await until(members, () => members.name === name, {
        what: 'nobody has signed the new name',
        hint: 'A name can be changed a few times a day, once a minute. Try again later.',
      })
      return { name }
    },
    rekey() {
      // Of two that begin at once each would make a key, and one of them be certified for nobody.
      rekeying ??= rekey().finally(() => {
        rekeying = undefined
      })
      return rekeying
    },
    async pending() {
      return { pending: await mesh.pendingJoins() }
    },
    async approve(code) {
      const digits = readShortCode(code)
      if (digits !== undefined) return await mesh.approve(digits)
      throw new ShoalError('ERR_USAGE', 'a code is six digits', { hint: 'The newcomer shows it: `shoal join`.' })
    },
    async leave() {
      // Who is no member has nobody to tell, but still a key to destroy.
      if (members.objectionToSelf() !== undefined) return {}
      const next = await loadNextIdentity(stateDir)
      await inTurn(mesh, () => listeners(mesh) > 0)
      const told = listeners(mesh)
      await leaveMesh(members, next && signingKeyOf(next))
      await delay(farewellMs)
      return { told }
    },
  }
}
