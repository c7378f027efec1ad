import { type FileHandle, open } from 'node:fs/promises'
import { ShoalError } from '../base/errors.ts'

const magic = Buffer.from('!<arch>\n')
const headerBytes = 60
const metadataName = /^lib\.rmeta\/? *$/
/** Before it there is at most a table of symbols and one of names. */
const maxMembers = 8
const maxMetadata = 256 << 20

/**
 * Of a Rust library what a compiler looks at: an archive with its metadata and nothing else. Whoever has the whole library
 * gets the same bytes.
 * @returns undefined when it has no metadata where rustc puts it
 * @throws ShoalError ERR_LIMIT when that is too large, and the file system's errors
 */
export async function thinArchive(path: string): Promise<Uint8Array | undefined> {
  const file = await open(path, 'r')
  try {
    if (!(await bytesAt(file, 0, magic.length))?.equals(magic)) return undefined
    for (let at = magic.length, members = 0; members < maxMembers; members++) {
      const header = await bytesAt(file, at, headerBytes)
      const size = header && sizeIn(header)
      if (header === undefined || size === undefined) return undefined
      if (metadataName.test(header.toString('latin1', 0, 16))) {
        if (size > maxMetadata) throw new ShoalError('ERR_LIMIT', `metadata of ${size} bytes`)
        const thin = Buffer.allocUnsafeSlow(magic.length + headerBytes + size + (size % 2))
        thin.set(magic)
        thin.fill('\n', thin.length - 1)
        return (await readInto(file, at, thin.subarray(magic.length, magic.length + headerBytes + size)))
          ? thin
          : undefined
      }
      at += headerBytes + size + (size % 2)
    }
    return undefined
  } finally {
    await file.close()
  }
}

function sizeIn(header: Buffer): number | undefined {
  const digits = header.toString('latin1', 48, 58).trim()
  return /^\d{1,10}$/.test(digits) && header.toString('latin1', 58, 60) === '`\n' ? Number(digits) : undefined
}

/** Undefined when the file ends before. */
async function bytesAt(file: FileHandle, position: number, length: number): Promise<Buffer | undefined> {
  const bytes = Buffer.alloc(length)
  return (await readInto(file, position, bytes)) ? bytes : undefined
}

async function readInto(file: FileHandle, position: number, bytes: Buffer): Promise<boolean> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, at, bytes.length - at, position + at)
    if (bytesRead === 0) return false
    at += bytesRead
  }
  return true
}
