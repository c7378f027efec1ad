import { execFile } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { link, readdir, readFile, rename, unlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { codeOf, ShoalError } from '../base/errors.ts'
import { statFields } from '../base/proc-stat.ts'

/** Who holds a lock. The start time tells a process from a later one with the same number. */
interface Owner {
  pid: number
  started: string
  /** Unique to one attempt to take a lock. */
  token: string
}

/** A lock that is held. */
export interface Lock {
  release(): Promise<void>
}

/**
 * Takes the lock file `path`; its directory must exist. The lock of a process that is gone is taken over, and what such
 * processes left while they took it is removed.
 * @throws ShoalError ERR_DAEMON_RUNNING while another live process (or this one) holds it
 */
export async function takeLock(path: string): Promise<Lock> {
  const started = await startOf(process.pid)
  const owner: Owner = { pid: process.pid, started: started ?? 'unknown', token: randomUUID() }
  const lock: Lock = {
    async release() {
      if ((await readOwner(path))?.token === owner.token) await unlink(path)
    },
  }
  await acquire(path, owner)
  try {
    await removeLeftovers(path)
  } catch (error) {
    await lock.release()
    throw error
  }
  return lock
}

/**
 * A lock appears whole (a link to a finished file) or not at all. A dead owner's lock is replaced only under a second
 * lock named after that owner, so of several processes that find it dead exactly one takes over.
 */
async function acquire(path: string, owner: Owner): Promise<void> {
  const draft = `${path}.${randomUUID()}`
  try {
    for (;;) {
      await writeFile(draft, JSON.stringify(owner), { mode: 0o600 })
      try {
        await link(draft, path)
        return
      } catch (error) {
        // Whoever has just taken the lock removes the drafts of others.
        if (codeOf(error) === 'ENOENT') continue
        if (codeOf(error) !== 'EEXIST') throw error
      }
      const holder = await readOwner(path)
      if (holder === undefined) continue
      if (await isAlive(holder)) {
        throw new ShoalError('ERR_DAEMON_RUNNING', `${path} is held by process ${holder.pid}`)
      }
      const guard = join(dirname(path), `lock-${holder.token}`)
      await acquire(guard, owner)
      try {
        if ((await readOwner(path))?.token === holder.token) {
          await rename(draft, path)
          return
        }
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error
      } finally {
        await unlink(guard).catch(ignoreMissing)
      }
    }
  } finally {
    await unlink(draft).catch(ignoreMissing)
  }
}

/**
 * Drafts and second locks beside a lock that was just taken. Of those that are still in use, whoever wrote a draft writes it
 * again, and whoever has a second lock finds that the first is no longer the one that he saw.
 */
async function removeLeftovers(path: string): Promise<void> {
  const dir = dirname(path)
  for (const name of await readdir(dir)) {
    if (name.startsWith(`${basename(path)}.`) || name.startsWith('lock-')) {
      await unlink(join(dir, name)).catch(ignoreMissing)
    }
  }
}

/** Undefined when there is no lock. A file that is no lock of ours counts as the lock of a dead process. */
async function readOwner(path: string): Promise<Owner | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
  try {
    const value: unknown = JSON.parse(text)
    if (isOwner(value)) return value
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  return { pid: 0, started: '', token: createHash('sha256').update(text).digest('hex') }
}

function isOwner(value: unknown): value is Owner {
  if (typeof value !== 'object' || value === null) return false
  if (!('pid' in value && 'started' in value && 'token' in value)) return false
  const { pid, started, token } = value
  return Number.isSafeInteger(pid) && typeof started === 'string' && typeof token === 'string' && /^[\w-]+$/.test(token)
}

async function isAlive(owner: Owner): Promise<boolean> {
  return owner.pid > 0 && (await startOf(owner.pid)) === owner.started
}

/** When a process started, in a form that is only compared; undefined when there is no such process. */
async function startOf(pid: number): Promise<string | undefined> {
  if (process.platform === 'linux') {
    try {
      const [stat, boot] = await Promise.all([
        readFile(`/proc/${pid}/stat`, 'utf8'),
        readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
      ])
      const { 0: state, 19: startedTicks } = statFields(stat)
      return state === 'Z' ? undefined : `${boot.trim()}:${startedTicks}`
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return undefined
      throw error
    }
  }
  try {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)], { env: { LC_ALL: 'C' } })
    return stdout.trim() || undefined
  } catch (error) {
    // ps exits with 1 when there is no such process.
    if (typeof error === 'object' && error !== null && 'code' in error && error.code === 1) return undefined
    throw error
  }
}

function ignoreMissing(error: unknown): void {
  if (codeOf(error) !== 'ENOENT') throw error
}
