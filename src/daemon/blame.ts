import { codeOf, type ErrorCode } from '../base/errors.ts'
import type { ReturnReason } from '../market/builder-events.ts'

/** What a lender that did its work well cannot help; the latter two, and whatever the file system says, are troubles of this machine. */
const ownDoing: ReadonlySet<string> = new Set([
  'ERR_PATH_BOUND',
  'ERR_INPUT_MISSING',
  'ERR_DISPUTED',
  'ERR_UNSUPPORTED',
  'ERR_DISK_FULL',
  'ERR_STORE',
])
const ofFileSystem =
  /^E(NOSPC|DQUOT|ROFS|IO|ACCES|PERM|MFILE|NFILE|NOENT|NOTDIR|EXIST|NAMETOOLONG|FBIG|LOOP|STALE|NOMEM)$/

/** Whether it is the lender's fault that what it gave could not be used. */
export function isLendersFault(error: unknown): boolean {
  const code = codeOf(error) ?? ''
  return !ownDoing.has(code) && !ofFileSystem.test(code)
}

/** What the report says of a unit that was given to others and then compiled here. @param why of the last who had it */
export function whyBack(why: ReturnReason | undefined): ErrorCode {
  if (why === 'refused') return 'ERR_ADMISSION'
  return why === 'failed' || why === 'unusable' ? 'ERR_OUTPUT' : 'ERR_PEER_LOST'
}
