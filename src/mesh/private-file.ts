import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { ShoalError } from '../base/errors.ts'

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
