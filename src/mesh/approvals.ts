import type { Clock } from '../base/clock.ts'
import { foreignText, isErrorCode, ShoalError, toShoalError } from '../base/errors.ts'
import type { ApprovalAnswer, ApprovalRequest } from '../wire/generated/control_pb.ts'
import type { AskDesk } from './ask-desk.ts'
import { mayGrant } from './certificate.ts'
import type { ControlMessage } from './control.ts'
import { keyOf, type Members } from './members.ts'
import type { PendingJoin } from './pending-joins.ts'

/** A newcomer as people see it who may say yes: without the code, because that has to come from its own screen. */
export interface PendingView {
  /** What it calls itself. */
  name: string
  /** IP address. */
  address: string
  waitedMs: number
  /** A member has this name already. */
  nameTaken: boolean
}

export interface ApprovalsNeeds {
  clock: Clock
  members: Members
  desk: Pick<AskDesk, 'approve' | 'pending'>
  /** Peers that can be sent to. */
  peers(): readonly string[]
  send(peerId: string, body: ControlMessage): boolean
}

interface Question {
  /** Who has not answered yet. */
  waiting: Set<string>
  pending: Omit<PendingView, 'nameTaken'>[]
  refused: string | undefined
  settle: () => void
}

/** Members that do not answer are not waited for. */
const patienceMs = 2000
const maxPending = 8
const maxQuestions = 64

/** Newcomers ask one member; whoever may let others in can say yes, at any other. */
export class Approvals {
  readonly #needs: ApprovalsNeeds
  readonly #questions = new Map<bigint, Question>()
  #id = 0n

  constructor(needs: ApprovalsNeeds) {
    this.#needs = needs
  }

  /** Those who wait here or at connected members. @throws ShoalError ERR_ROLE when this node may let nobody in */
  async pending(): Promise<PendingView[]> {
    this.#check()
    const { pending } = await this.#ask('')
    const { desk, members, clock } = this.#needs
    const here = desk.pending.list().map((one) => viewOf(one, clock))
    const names = new Set(members.roster.members(members.now).map(({ name }) => name))
    return [...here, ...pending].map((one) => ({ ...one, nameTaken: names.has(one.name) }))
  }

  /**
   * Lets in the newcomer that shows `code`, wherever it has asked.
   * @param code six digits
   * @throws ShoalError ERR_USAGE when nobody shows it, ERR_ROLE when this node may let nobody in, ERR_REVOKED
   */
  async approve(code: string): Promise<{ name: string; address: string }> {
    this.#check()
    const { desk, members, clock } = this.#needs
    const here = await desk.approve(code, members.key)
    if (here !== undefined) return viewOf(here, clock)
    const { pending, refused } = await this.#ask(code)
    const [found] = pending
    if (found !== undefined) return found
    if (refused !== undefined && isErrorCode(refused)) throw new ShoalError(refused, 'the newcomer cannot be let in')
    throw new ShoalError('ERR_USAGE', 'no newcomer shows this code', {
      hint: 'It changes with each `shoal join` and lasts five minutes. Type it as the newcomer shows it now.',
    })
  }

  async onRequest(peerId: string, { id, code }: ApprovalRequest): Promise<void> {
    const { desk, clock } = this.#needs
    const answer = (pending: readonly PendingJoin[], refused: string): void => {
      const value = pending.slice(0, maxPending).map((one) => {
        const { name, address, waitedMs } = viewOf(one, clock)
        return { key: one.key, name, address, waitedMs }
      })
      this.#needs.send(peerId, { case: 'approvalAnswer', value: { id, pending: value, refused } })
    }
    try {
      if (!this.#mayLetIn(peerId)) throw new ShoalError('ERR_ROLE', 'only who may invite may approve')
      const found = code === '' ? desk.pending.list() : await desk.approve(code, keyOf(peerId))
      answer(found === undefined ? [] : [found].flat(), '')
    } catch (error) {
      answer([], toShoalError(error).code)
    }
  }

  onAnswer(peerId: string, { id, pending, refused }: ApprovalAnswer): void {
    const question = this.#questions.get(id)
    if (question === undefined || !question.waiting.delete(peerId)) return
    for (const { name, address, waitedMs } of pending.slice(0, maxPending)) {
      question.pending.push({
        name: foreignText(name).slice(0, 64),
        address: foreignText(address).slice(0, 64),
        waitedMs,
      })
    }
    if (refused !== '') question.refused = refused
    const isAnswered = question.waiting.size === 0
    if (isAnswered) question.settle()
  }

  onDown(peerId: string): void {
    for (const question of this.#questions.values()) {
      if (question.waiting.delete(peerId) && question.waiting.size === 0) question.settle()
    }
  }

  #check(): void {
    const { members } = this.#needs
    if (mayGrant(members.own().body.roles, 'member')) return
    throw new ShoalError('ERR_ROLE', 'this machine may let nobody in', {
      hint: 'An administrator can change that: `shoal promote NAME --role inviter`.',
    })
  }

  #mayLetIn(peerId: string): boolean {
    const { members } = this.#needs
    return members.objectionTo(peerId) === undefined && mayGrant(members.member(peerId).roles, 'member')
  }

  async #ask(code: string): Promise<Pick<Question, 'pending' | 'refused'>> {
    const { clock, peers, send } = this.#needs
    if (this.#questions.size >= maxQuestions) throw new ShoalError('ERR_LIMIT', 'too many questions at once')
    this.#id += 1n
    const id = this.#id
    const asked = peers().filter(
      (peerId) => this.#mayLetIn(peerId) && send(peerId, { case: 'approvalRequest', value: { id, code } }),
    )
    const { promise, resolve } = Promise.withResolvers<void>()
    const question: Question = { waiting: new Set(asked), pending: [], refused: undefined, settle: resolve }
    if (asked.length === 0) return question
    this.#questions.set(id, question)
    const cancel = clock.after(patienceMs, resolve)
    await promise
    cancel()
    this.#questions.delete(id)
    return question
  }
}

function viewOf({ name, address, since }: PendingJoin, clock: Clock): Omit<PendingView, 'nameTaken'> {
  return { name, address, waitedMs: Math.max(0, clock.wall() - since) }
}
