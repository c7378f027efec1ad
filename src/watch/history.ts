import { appendFile, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { decodeRecord, encodeRecord, type SessionRecord } from './events.ts'

export interface HistoryNeeds {
  clock: Clock
  log: Logger
}

export interface HistoryInit {
  /** The JSONL file; it and its directory are made when missing. */
  file: string
  /** The file is rewritten from memory when it grows beyond this. Default 16 MiB. */
  maxBytes?: number
}

/** Records wait for so long for company before they are written. */
const flushMs = 200

/**
 * The session history on disk: one JSON record per line, only ever appended to, so that a crash costs at most the last
 * line. A disk that cannot be written costs history, nothing else.
 */
export class History {
  readonly #needs: HistoryNeeds
  readonly #file: string
  readonly #maxBytes: number
  #waiting: string[] = []
  #cancelTimer: (() => void) | undefined
  #writing: Promise<void> = Promise.resolve()
  #bytes = 0

  constructor(needs: HistoryNeeds, init: HistoryInit) {
    this.#needs = needs
    this.#file = init.file
    this.#maxBytes = init.maxBytes ?? 16 * 2 ** 20
  }

  /** Every readable record, oldest first. */
  async load(): Promise<SessionRecord[]> {
    let text: string
    try {
      // Past this size the file is not ours any more: `rewrite` keeps it far below.
      if ((await stat(this.#file)).size > 4 * this.#maxBytes) return []
      text = await readFile(this.#file, 'utf8')
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') this.#needs.log.warn('session history not read', { code: codeOf(error) })
      return []
    }
    this.#bytes = Buffer.byteLength(text)
    const lines = text.split('\n')
    // A torn last line gets its own line end, so that the next record does not grow on its stump.
    if (lines.at(-1) !== '') this.#waiting.push('')
    const records: SessionRecord[] = []
    for (const line of lines) {
      const record = line === '' ? undefined : decodeRecord(line)
      if (record !== undefined) records.push(record)
    }
    return records
  }

  /** Hands over a record; it is on disk after the next `flush` or `flushMs`. */
  append(record: SessionRecord): void {
    this.#waiting.push(encodeRecord(record))
    this.#cancelTimer ??= this.#needs.clock.after(flushMs, () => void this.flush())
  }

  /** True when the file should be replaced by what the caller still wants to know. */
  get full(): boolean {
    return this.#bytes > this.#maxBytes
  }

  /** Writes what waits. Never rejects. */
  flush(): Promise<void> {
    this.#stopTimer()
    return this.#next(async (text) => {
      if (text === '') return
      await mkdir(dirname(this.#file), { recursive: true })
      await appendFile(this.#file, text, { mode: 0o600 })
      this.#bytes += Buffer.byteLength(text)
    })
  }

  /** Replaces the file by `records`. Never rejects. */
  rewrite(records: Iterable<SessionRecord>): Promise<void> {
    this.#stopTimer()
    const text = Array.from(records, (record) => `${encodeRecord(record)}\n`).join('')
    return this.#next(async () => {
      const fresh = `${this.#file}.new`
      await writeFile(fresh, text, { mode: 0o600 })
      await rename(fresh, this.#file)
      this.#bytes = Buffer.byteLength(text)
    })
  }

  #stopTimer(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  // One write at a time, in the order of the calls.
  #next(write: (waiting: string) => Promise<void>): Promise<void> {
    const waiting = this.#waiting.map((line) => `${line}\n`).join('')
    this.#waiting = []
    this.#writing = this.#writing
      .then(() => write(waiting))
      .catch((error: unknown) => this.#needs.log.warn('session history not written', { code: codeOf(error) }))
    return this.#writing
  }
}
