import { open, rm, stat } from 'node:fs/promises'
import { codeOf } from '../base/errors.ts'

const chunk = 1 << 20
/** The reserve is made only where it takes no more than this share of the room that is left. */
const maxShare = 1 / 16

interface ReserveInit {
  file: string
  /** 0 for none. */
  bytes: number
  /** Bytes that may still be written to the file system. */
  free(): Promise<number>
}

/**
 * Room on the disk that is kept for the day on which it is full: given back then, so that what has to be written at that moment
 * (the index, a key, the user's own files) still can be, and taken again when there is plenty.
 */
export class Reserve {
  readonly #init: ReserveInit
  #isKept = false

  constructor(init: ReserveInit) {
    this.#init = init
  }

  /** Sets the room aside unless it is already, or there is little. Never rejects: without it things go on as well. */
  async keep(): Promise<void> {
    const { file, bytes } = this.#init
    if (this.#isKept || bytes === 0) return
    try {
      if ((await sizeOf(file)) !== bytes) {
        if (bytes > (await this.#init.free()) * maxShare) return
        await fill(file, bytes)
      }
      this.#isKept = true
    } catch (error) {
      if (codeOf(error) === undefined) throw error
    }
  }

  /** Gives the room back. @returns false when there was none */
  async release(): Promise<boolean> {
    if (!this.#isKept) return false
    this.#isKept = false
    await rm(this.#init.file, { force: true })
    return true
  }
}

async function sizeOf(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).size
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Written in full: a file with holes would set nothing aside. */
async function fill(file: string, bytes: number): Promise<void> {
  const handle = await open(file, 'w', 0o600)
  try {
    for (let at = 0; at < bytes; at += chunk) await handle.write(Buffer.alloc(Math.min(chunk, bytes - at), 0x5a), 0)
  } catch (error) {
    await rm(file, { force: true })
    throw error
  } finally {
    await handle.close()
  }
}
