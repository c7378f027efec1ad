import { type FileHandle, open } from 'node:fs/promises'
import { codeOf } from '../base/errors.ts'

const [headerBytes, sectionBytes] = [64, 64]
/** Of the names of all sections. */
const maxNames = 16 << 20

/**
 * Whether a 64-bit little-endian ELF file has a section of that name. What is absent, or no such file, has none.
 * @throws the file system's error when it cannot be read
 */
export async function hasSection(path: string, name: string): Promise<boolean> {
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
  try {
    return (await namesIn(file)).includes(`\0${name}\0`)
  } finally {
    await file.close()
  }
}

/** The names of sections, each between two NULs; empty where there are none. */
async function namesIn(file: FileHandle): Promise<Buffer> {
  const none = Buffer.alloc(0)
  const header = await readAt(file, 0, headerBytes)
  if (header?.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1) return none
  const [table, index] = [Number(header.readBigUInt64LE(40)), header.readUInt16LE(62)]
  const section = await readAt(file, table + index * sectionBytes, sectionBytes)
  if (section === undefined) return none
  return (await readAt(file, Number(section.readBigUInt64LE(24)), Number(section.readBigUInt64LE(32)))) ?? none
}

/** Undefined where the file has nothing there. */
async function readAt(file: FileHandle, position: number, size: number): Promise<Buffer | undefined> {
  if (size > maxNames || !Number.isSafeInteger(position + size)) return undefined
  const bytes = Buffer.alloc(size)
  const { bytesRead } = await file.read(bytes, 0, size, position)
  return bytesRead === size ? bytes : undefined
}
