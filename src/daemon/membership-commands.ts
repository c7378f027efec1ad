import { setTimeout as delay } from 'node:timers/promises'
import { ShoalError } from '../base/errors.ts'
import { type Grant, invite, keyCalled, kickMember, leaveMesh, memberCalled, promote } from '../mesh/administer.ts'
import type { Mesh } from '../mesh/mesh.ts'

interface Kicked {
  name: string
  peerId: string
  /** Connected members. */
  told: number
  /** Names of others who are out because nobody here could sign for them. */
  lost: string[]
}

/** What the command line can do about who belongs to the mesh. Errors as in mesh/administer.ts. */
export interface MembershipCommands {
  /** A link that lets one machine join. */
  invite(grant: Grant): Promise<string>
  kick(request: { member: string; issued: boolean }): Promise<Kicked>
  promote(request: { member: string; role: Grant }): Promise<{ name: string; peerId: string }>
  rename(name: string): Promise<{ name: string }>
  leave(): Promise<void>
}

/** So long an inviter may take to sign a certificate. */
const renameMs = 5000
const pollMs = 50
/** So long the others have to hear of it before this node goes. */
const farewellMs = 500

export function membershipCommands({ mesh }: { mesh: Mesh }): MembershipCommands {
  const { members } = mesh
  return {
    invite: (grant) => invite(members, grant, mesh.addresses()),
    async kick({ member, issued }) {
      const view = keyCalled(members, member)
      const lost = await kickMember(members, view, issued)
      const told = mesh.peers().filter(({ connected }) => connected).length
      return { name: view.name, peerId: view.peerId, told, lost: lost.map(({ name }) => name) }
    },
    async promote({ member, role }) {
      const view = memberCalled(members, member)
      await promote(members, view, role)
      return { name: view.name, peerId: view.peerId }
    },
    async rename(name) {
      if (members.signsForItself) await members.renameSelf(name)
      else if (!mesh.askForName(name)) {
        throw new ShoalError('ERR_PEER_LOST', 'nobody who could sign another name is connected', {
          hint: 'Try again when an administrator of the mesh is there.',
        })
      }
      const end = members.now + renameMs
      while (members.name !== name) {
        if (members.now > end) {
          throw new ShoalError('ERR_DEADLINE', 'nobody has signed the new name', {
            hint: 'A name can be changed a few times a day, once a minute. Try again later.',
          })
        }
        await delay(pollMs)
      }
      return { name }
    },
    async leave() {
      await leaveMesh(members)
      await delay(farewellMs)
    },
  }
}
