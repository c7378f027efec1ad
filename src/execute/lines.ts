const newline = 0x0a

/** Cuts a stream of bytes into lines; what follows the last newline waits for more. */
export class Lines {
  #rest: Buffer[] = []

  /** The lines that `chunk` completes, without their newline. */
  push(chunk: Buffer): Buffer[] {
    const lines: Buffer[] = []
    let from = 0
    for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, from)) {
      const piece = chunk.subarray(from, at)
      lines.push(this.#rest.length === 0 ? piece : Buffer.concat([...this.#rest, piece]))
      this.#rest = []
      from = at + 1
    }
    if (from < chunk.length) this.#rest.push(chunk.subarray(from))
    return lines
  }

  /** What came after the last newline; empty when nothing did. */
  end(): Buffer {
    const rest = Buffer.concat(this.#rest)
    this.#rest = []
    return rest
  }
}
