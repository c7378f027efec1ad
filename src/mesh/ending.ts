import type { Members } from './members.ts'

const dayMs = 24 * 3_600_000
/** Administrators with certificates of the root have 400 days. So long before the last of those ends it is said. */
const noticeMs = 30 * dayMs

/**
 * When the last certificate ends that the root has given an administrator, if that is soon: without one nobody can make inviters, and in the end
 * nobody renews anybody. In milliseconds since the Unix epoch; `now` where there is none.
 */
export function endOfMesh({ roster, now }: Pick<Members, 'roster' | 'now'>): number | undefined {
  const ends = roster
    .certificates(now)
    .flatMap(({ body, chain }) => (body.roles.includes('admin') && chain.length === 0 ? [body.notAfter] : []))
  const last = Math.max(now, ...ends)
  return last > now + noticeMs ? undefined : last
}
