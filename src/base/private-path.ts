import { lstat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf, ShoalError } from './errors.ts'

const othersWrite = 0o022
const hint = 'Somebody else may have made it. Remove it, or set SHOAL_HOME to a directory of your own.'

/**
 * Whether a local socket is this user's, before anything is said on it: the directory is no link, belongs to this user, and nobody else can
 * put anything into it; what lies there is a socket of this user.
 * @throws ShoalError ERR_CONFIG when it is not; nothing when it does not exist
 */
export async function checkOwnSocket(path: string): Promise<void> {
  await check(dirname(path), 'directory')
  await check(path, 'socket')
}

async function check(path: string, kind: 'directory' | 'socket'): Promise<void> {
  let info: Awaited<ReturnType<typeof lstat>>
  try {
    info = await lstat(path)
  } catch (error) {
    const code = codeOf(error)
    // Nobody listens there, then, or the name is no name; whoever connects finds out.
    if (code !== undefined && !code.startsWith('ERR_')) return
    throw error
  }
  const isMine = process.getuid === undefined || info.uid === process.getuid()
  const isKind = kind === 'directory' ? info.isDirectory() : info.isSocket()
  if (!isKind || !isMine) throw new ShoalError('ERR_CONFIG', `${path} is not a ${kind} of yours`, { hint })
  if (kind === 'directory' && (info.mode & othersWrite) !== 0) {
    throw new ShoalError('ERR_CONFIG', `others can write to ${path}`, { hint })
  }
}
