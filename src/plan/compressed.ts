/** What begins like this is compressed: gzip, xz, bzip2, zstd, zip, lz4, 7z, lzip. */
const beginnings = ['1f8b', 'fd377a585a', '425a68', '28b52ffd', '504b0304', '04224d18', '377abcaf', '4c5a4950'].map(
  (hex) => Buffer.from(hex, 'hex'),
)
const archive = Buffer.from('!<arch>\n')
const elf = Buffer.from('7f454c46', 'hex')
const [memberHeader, sectionHeader] = [60, 64]
const compressedFlag = 0x800n
const oldName = '.zdebug_'

/**
 * Whether a file, or an object in it, holds something compressed, so that searching it for a path says nothing.
 * @param bytes all of it
 */
export function holdsCompressed(bytes: Buffer): boolean {
  if (beginnings.some((mark) => bytes.subarray(0, mark.length).equals(mark))) return true
  if (bytes.subarray(0, archive.length).equals(archive)) return membersOf(bytes).some(holdsCompressed)
  return bytes.subarray(0, elf.length).equals(elf) && hasCompressedSection(bytes)
}

/** The files in an archive of ar(1). */
function membersOf(bytes: Buffer): Buffer[] {
  const members: Buffer[] = []
  let at = archive.length
  while (at + memberHeader <= bytes.length) {
    const size = Number.parseInt(bytes.toString('latin1', at + 48, at + 58), 10)
    if (!Number.isSafeInteger(size) || size < 0) break
    at += memberHeader
    members.push(bytes.subarray(at, at + size))
    at += size + (size % 2)
  }
  return members
}

/** What cannot be read as a 64-bit little-endian object may hold anything. */
function hasCompressedSection(bytes: Buffer): boolean {
  if (bytes.length < 64 || bytes[4] !== 2 || bytes[5] !== 1) return true
  const [offset, count] = [Number(bytes.readBigUInt64LE(40)), bytes.readUInt16LE(60)]
  if (offset === 0) return false
  if (count === 0 || offset + count * sectionHeader > bytes.length) return true
  for (let index = 0; index < count; index++) {
    if ((bytes.readBigUInt64LE(offset + index * sectionHeader + 8) & compressedFlag) !== 0n) return true
  }
  return bytes.includes(oldName)
}
