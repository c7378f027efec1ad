import { z } from 'zod'
import { foreignText, ShoalError } from '../base/errors.ts'
import { chosenName } from '../base/names.ts'
import { reasons } from '../plan/classify.ts'
import { type Report, reportOf, type SessionSummary, summaryOf } from '../watch/report.ts'
import type { Session } from '../watch/sessions.ts'
import { nearNames, type Why, whyOf } from '../watch/why.ts'
import type { CacheCare } from './cache-care.ts'
import type { MembershipCommands } from './membership-commands.ts'
import type { OwnerWatch } from './owner-watch.ts'
import { readParams } from './params.ts'

export interface CommandNeeds {
  status(): Promise<unknown>
  peers(): unknown
  membership: MembershipCommands
  cache: CacheCare
  /** Drops all that a member gave, by its name. */
  purgeBy(name: string): Promise<unknown>
  sessions: {
    list(): readonly Session[]
    find(id: string): Session | undefined
    settle(pid: number): Promise<Session | undefined>
    stored(): Promise<void>
  }
  owner: Pick<OwnerWatch, 'pause' | 'resume'>
  stop(): void
}

const longestPauseMs = 7 * 86_400_000
const reportParams = z.object({ id: z.string().max(64).default('last') })
const whyParams = z.object({ crate: z.string().min(1).max(256), session: z.string().max(64).default('last') })
const gcParams = z.object({ toBytes: z.int().min(0).optional() })
const grant = z.enum(['member', 'ci', 'inviter', 'admin'])
const inviteParams = z.object({ role: grant.default('member') })
const kickParams = z.object({ member: z.string().min(1).max(128), issued: z.boolean().default(false) })
const promoteParams = z.object({ member: z.string().min(1).max(128), role: grant.default('admin') })
const renameParams = z.object({ name: chosenName })
const approveParams = z.object({ code: z.string().max(64).optional() })
const purgeParams = z.object({ by: z.string().min(1).max(128) })
const pauseParams = z.object({ ms: z.int().min(1).max(longestPauseMs).optional() })
const settleParams = z.object({ pid: z.int().min(1) })

/**
 * Answers one request of the command line.
 * @throws ShoalError ERR_USAGE for an unknown method or parameters that do not fit
 */
export async function runCommand(method: string, params: unknown, needs: CommandNeeds): Promise<unknown> {
  switch (method) {
    case 'status':
      return await needs.status()
    case 'peers':
      return needs.peers()
    case 'invite':
      return { link: await needs.membership.invite(readParams(inviteParams, params).role) }
    case 'kick':
      return await needs.membership.kick(readParams(kickParams, params))
    case 'promote':
      return await needs.membership.promote(readParams(promoteParams, params))
    case 'rename':
      return await needs.membership.rename(readParams(renameParams, params).name)
    case 'approve': {
      const { code } = readParams(approveParams, params)
      return code === undefined ? await needs.membership.pending() : await needs.membership.approve(code)
    }
    case 'leave':
      return await needs.membership.leave()
    case 'rekey':
      return await needs.membership.rekey()
    case 'cache-stats':
      return await needs.cache.stats()
    case 'cache-gc':
      return await needs.cache.gc(readParams(gcParams, params).toBytes)
    case 'cache-verify':
      return await needs.cache.verify()
    case 'cache-purge':
      return await needs.cache.purge()
    case 'purge':
      return await needs.purgeBy(readParams(purgeParams, params).by)
    case 'report':
      await needs.sessions.stored()
      return report(needs.sessions.find(readParams(reportParams, params).id))
    case 'why':
      await needs.sessions.stored()
      return why(readParams(whyParams, params), needs)
    case 'sessions':
      return { sessions: needs.sessions.list().map((session): SessionSummary => summaryOf(session)) }
    case 'session-settle': {
      const session = await needs.sessions.settle(readParams(settleParams, params).pid)
      return session === undefined ? null : reportOf(session)
    }
    case 'pause':
      needs.owner.pause(readParams(pauseParams, params).ms)
      return {}
    case 'resume':
      needs.owner.resume()
      return {}
    case 'stop':
      needs.stop()
      return {}
    default:
      throw new ShoalError('ERR_USAGE', `unknown method ${method.slice(0, 64)}`)
  }
}

function report(session: Session | undefined): Report {
  if (session === undefined) throw new ShoalError('ERR_USAGE', 'no such build is remembered')
  return reportOf(session)
}

function why({ crate, session: id }: z.output<typeof whyParams>, { sessions }: CommandNeeds): Why {
  const session = sessions.find(id)
  if (session === undefined) {
    const hint = 'Build something with the mesh first; `shoal report --list` shows what is remembered.'
    throw new ShoalError('ERR_USAGE', id === 'last' ? 'no build is remembered yet' : 'no such build is remembered', {
      hint,
    })
  }
  const found = whyOf(session, crate, reasons)
  if (found.units.length > 0) return found
  const near = nearNames(session, crate)
  throw new ShoalError('ERR_USAGE', `build ${session.id} compiled and recalled nothing called ${foreignText(crate)}`, {
    hint:
      near.length > 0
        ? `Did you mean ${near.join(' or ')}?`
        : 'cargo asks for nothing that is fresh; `shoal report --all` shows what it did ask for.',
  })
}
