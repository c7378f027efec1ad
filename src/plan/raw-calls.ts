import { open } from 'node:fs/promises'

/**
 * What a program has in it that asks the kernel without the C library: the module of rustix that does. cargo leaves build scripts
 * their symbols unless a profile says otherwise, and what is not used is not linked.
 */
const mark = Buffer.from('linux_raw')
const chunkBytes = 1 << 20

/**
 * Whether a program can read files past whoever looks at its calls of libc.
 * @throws the file system's error
 */
export async function callsKernelItself(path: string): Promise<boolean> {
  await using file = await open(path)
  const buffer = Buffer.alloc(chunkBytes + mark.length)
  for (let at = 0; ; at += chunkBytes) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at)
    if (buffer.subarray(0, bytesRead).includes(mark)) return true
    if (bytesRead < buffer.length) return false
  }
}
