import { codeOf } from '../base/errors.ts'

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
