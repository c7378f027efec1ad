import type { BigIntStats } from 'node:fs'
import { chmod, lstat, mkdir, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf, ShoalError } from '../../base/errors.ts'
import type { ShoalPaths } from '../../base/paths.ts'
import { checkOwnSocket } from '../../base/private-path.ts'
import { bytes, shellQuote } from '../render.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

const forOthers = 0o077
const privateMode = 0o700

/** Whether the directories of this node are its user's alone. @param fix makes and closes what is the user's own */
export async function directories(paths: ShoalPaths, fix: boolean): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const [check, dir] of [
    ['state directory', paths.state],
    ['cache directory', paths.cache],
    ['socket directory', dirname(paths.socket)],
  ] as const) {
    if (fix) await close(dir)
    findings.push(await directory(check, dir))
  }
  findings.push(await socket(paths.socket))
  return findings
}

async function directory(check: string, dir: string): Promise<Finding> {
  const info = await infoOf(dir)
  if (info === undefined) return ok(check, `${dir} is not there yet`)
  const chown = `sudo chown -R "$(id -u)" ${shellQuote(dir)}`
  if (!info.isDirectory())
    return fail(check, `${dir} is no directory`, 'the node keeps nothing there', `rm ${shellQuote(dir)}`)
  if (!isMine(info)) return fail(check, `${dir} belongs to somebody else`, 'the node does not trust it', chown)
  const mode = Number(info.mode) & 0o777
  if ((mode & forOthers) !== 0) {
    const what = `${dir} is open to others (mode ${mode.toString(8)})`
    return warn(check, what, 'others see, or change, what this node keeps', `chmod 700 ${shellQuote(dir)}`)
  }
  return ok(check, dir)
}

async function socket(path: string): Promise<Finding> {
  try {
    await checkOwnSocket(path)
    return ok('socket', path)
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error
    return fail(
      'socket',
      error.message,
      'nothing is said on a socket that could be somebody else’s',
      `rm -rf ${shellQuote(path)}`,
    )
  }
}

/** Only what is a directory of this user, or nothing yet, is touched. */
async function close(dir: string): Promise<void> {
  const info = await infoOf(dir)
  if (info === undefined) await mkdir(dir, { recursive: true, mode: privateMode })
  else if (info.isDirectory() && isMine(info)) await chmod(dir, Number(info.mode) & privateMode)
}

/** Whether there is room for what the node keeps. @param minFree bytes that it leaves free */
export async function diskSpace(cache: string, minFree: number): Promise<Finding> {
  let dir = cache
  while ((await infoOf(dir)) === undefined && dirname(dir) !== dir) dir = dirname(dir)
  const { bavail, bsize } = await statfs(dir)
  const free = bavail * bsize
  if (free >= minFree) return ok('disk', `${bytes(free)} free`)
  const why = `the cache stops growing at ${bytes(minFree)} free, so less is recalled`
  return warn('disk', `${bytes(free)} free at ${dir}`, why, 'shoal cache gc --to 1GiB')
}

async function infoOf(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true })
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined
    throw error
  }
}

const isMine = ({ uid }: BigIntStats): boolean => process.getuid === undefined || Number(uid) === process.getuid()
