import type { ControlMessage } from './control.ts'
import type { Members } from './members.ts'
import { idBytes } from './statement.ts'

export interface RosterSyncNeeds {
  members: Members
  /** Peers with a control stream. */
  peers(): readonly string[]
  send(peerId: string, body: ControlMessage): boolean
  /** The peer has told everything that it had to tell. */
  onAgreed(peerId: string): void
}

/** So many fit into one frame, however long they are. */
const statementsPerFrame = 28

/**
 * Keeps the rosters of connected members equal. Where two differ when a control stream opens, both send the ids of what they
 * have, then what the other one lacks, before either does anything else for the other. What comes later is told to everybody.
 */
export class RosterSync {
  readonly #needs: RosterSyncNeeds
  /** Peers that are owed an answer to their ids. */
  readonly #comparing = new Set<string>()
  readonly #stopListening: () => void

  constructor(needs: RosterSyncNeeds) {
    this.#needs = needs
    this.#stopListening = needs.members.onChange((added, from) => {
      for (const peerId of needs.peers()) if (peerId !== from) this.#tell(peerId, added)
    })
  }

  /**
   * A control stream is being opened, and its greeting is about to bear the digest of now: what is heard from here on has to be told
   * as soon as the peer has greeted too.
   */
  opening(peerId: string): { greeted(): void; closed(): void } {
    const missed: Uint8Array[] = []
    const stopListening = this.#needs.members.onChange((added) => void missed.push(...added))
    return {
      greeted: () => {
        stopListening()
        if (missed.length > 0) this.#tell(peerId, missed)
      },
      closed: stopListening,
    }
  }

  /** The rosters differ. */
  onDiffer(peerId: string): void {
    const { members, send } = this.#needs
    this.#comparing.add(peerId)
    send(peerId, { case: 'rosterIds', value: { ids: Buffer.concat(members.roster.ids(members.now)) } })
  }

  onIds(peerId: string, ids: Uint8Array): void {
    // Once for each stream: the answer is much longer than the question.
    if (!this.#comparing.delete(peerId)) return
    const { roster, now } = this.#needs.members
    const known = new Set<string>()
    for (let at = 0; at + idBytes <= ids.length; at += idBytes) {
      known.add(Buffer.from(ids.subarray(at, at + idBytes)).toString('hex'))
    }
    const lacking = roster.ids(now).filter((id) => !known.has(Buffer.from(id).toString('hex')))
    this.#tell(peerId, roster.bytesOf(lacking), true)
  }

  onStatements(peerId: string, { statements, last }: { statements: readonly Uint8Array[]; last: boolean }): void {
    this.#needs.members.take(statements.slice(0, statementsPerFrame), peerId)
    if (last) this.#needs.onAgreed(peerId)
  }

  onDown(peerId: string): void {
    this.#comparing.delete(peerId)
  }

  stop(): void {
    this.#stopListening()
  }

  #tell(peerId: string, statements: readonly Uint8Array[], answers = false): void {
    for (let at = 0; at < statements.length || (answers && at === 0); at += statementsPerFrame) {
      const end = at + statementsPerFrame
      const value = { statements: statements.slice(at, end), last: answers && end >= statements.length }
      this.#needs.send(peerId, { case: 'rosterStatements', value })
    }
  }
}
