import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ShoalError } from '../base/errors.ts'

/** Replaces `file` (mode 0600) so that a crash at any moment leaves either the old or the new content. */
export async function writePrivateFile(file: string, content: string): Promise<void> {
  const directory = dirname(file)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const temporary = `${file}.${randomUUID()}.tmp`
  try {
    const handle = await open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(content)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  const parent = await open(directory, constants.O_RDONLY)
  try {
    await parent.sync()
  } finally {
    await parent.close()
  }
}

/**
 * Reads a file that holds a secret.
 * @throws ShoalError ERR_CONFIG when others may read it, when it is no regular file or larger than `maxBytes`; the
 *   system's own error (`ENOENT`) when it cannot be opened.
 */
export async function readPrivateFile(file: string, maxBytes: number): Promise<string> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const info = await handle.stat()
    if (!info.isFile()) throw new ShoalError('ERR_CONFIG', `${file} is not a regular file`)
    if ((info.mode & 0o077) !== 0) {
      throw new ShoalError('ERR_CONFIG', `${file} can be read by others`, { hint: `chmod 600 ${file}` })
    }
    if (info.size > maxBytes) throw new ShoalError('ERR_CONFIG', `${file} is larger than ${maxBytes} bytes`)
    return await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
}
