/**
 * Gives the memory of bytes back at once. Bytes from the network lie outside the heap, and waiting for a collection costs more
 * than all that is done with them: it has to look at everything that lives, and meanwhile new memory is asked of the system. For
 * bytes that nobody looks at any more, in memory that is nobody else's; whoever does finds none.
 */
export function spend({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0)
}

/** The bytes have their memory for themselves. */
export const isWhole = (bytes: Uint8Array): boolean => bytes.length === bytes.buffer.byteLength

/** The bytes are the last ones of their memory. */
export const isEnd = (bytes: Uint8Array): boolean => bytes.byteOffset + bytes.length === bytes.buffer.byteLength
