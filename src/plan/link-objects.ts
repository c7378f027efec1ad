import { closeSync, fstatSync, openSync, readSync, writeFileSync } from 'node:fs'
import { ShoalError } from '../base/errors.ts'
import { checkObject } from './object-file.ts'

/** What a lender gives in place of a linked file; `protocols/action.md` has the format. */
export interface LinkObjects {
  /** The linker's arguments, roots by name, files as `\0file\0/N`. Anybody may have written them. */
  args: string[]
  /** Where each file begins, and its size. */
  files: { at: number; size: number }[]
}

const magic = Buffer.from('shoal-link 1\n')
const maxArgs = 16_384
const maxArgBytes = 8192
const maxFiles = 4096
const maxHead = 4 << 20
/** Each is in memory for a moment. */
const maxObject = 256 << 20
/** Of the list of symbols that a library shows. */
const maxScript = 16 << 20

/**
 * Reads the head of such a file.
 * @throws ShoalError ERR_DECODE for anything that is not exactly one
 */
export function readLinkObjects(path: string): LinkObjects {
  return withFile(path, (fd, size) => {
    const head = new Head(readAt(fd, 0, Math.min(size, maxHead)))
    if (!head.take(magic.length).equals(magic)) throw wrong('no objects')
    const args = head.list(maxArgs, () => {
      const length = head.u32()
      if (length > maxArgBytes) throw wrong(`argument of ${length} bytes`)
      return text(head.take(length))
    })
    const sizes = head.list(maxFiles, () => head.u64())
    let at = head.at
    const files = sizes.map((each) => {
      const file = { at, size: each }
      at += each
      return file
    })
    if (at !== size) throw wrong('of another size than it says')
    return { args, files }
  })
}

/**
 * Copies one of the files, which has to be an object file of the machine that `target` names.
 * @throws ShoalError ERR_OUTPUT when it is something that a linker would read otherwise
 */
export function copyObject(from: string, file: LinkObjects['files'][number], to: string, target: string): void {
  withFile(from, (fd) => {
    if (file.size > maxObject) throw new ShoalError('ERR_OUTPUT', `object file of ${file.size} bytes`)
    const bytes = readAt(fd, file.at, file.size)
    checkObject(bytes, target)
    writeFileSync(to, bytes, { mode: 0o600, flag: 'wx' })
  })
}

/** As rustc writes it, and nothing that could name a file or another version. */
const versionScript = /^\{\n(?: {2}global:\n(?: {4}[\w.$@]+;\n)*\n?)?\n? {2}local:\n {4}\*;\n\};\n?$/

/**
 * Copies one of the files, which has to be the list of the symbols that a library shows.
 * @throws ShoalError ERR_OUTPUT when rustc would not have written it
 */
export function copyVersionScript(from: string, file: LinkObjects['files'][number], to: string): void {
  withFile(from, (fd) => {
    if (file.size > maxScript) throw new ShoalError('ERR_OUTPUT', `list of symbols of ${file.size} bytes`)
    const bytes = readAt(fd, file.at, file.size)
    if (!versionScript.test(bytes.toString('latin1'))) throw new ShoalError('ERR_OUTPUT', 'no list of symbols')
    writeFileSync(to, bytes, { mode: 0o600, flag: 'wx' })
  })
}

class Head {
  readonly #bytes: Buffer
  at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  take(length: number): Buffer {
    if (this.at + length > this.#bytes.length) throw wrong('cut short')
    const taken = this.#bytes.subarray(this.at, this.at + length)
    this.at += length
    return taken
  }

  u32(): number {
    return this.take(4).readUInt32BE()
  }

  u64(): number {
    const value = this.take(8).readBigUInt64BE()
    if (value > 1n << 40n) throw wrong(`file of ${value} bytes`)
    return Number(value)
  }

  list<T>(most: number, item: () => T): T[] {
    const count = this.u32()
    if (count > most) throw wrong(`${count} entries`)
    return Array.from({ length: count }, item)
  }
}

function text(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (error) {
    throw new ShoalError('ERR_DECODE', 'argument that is no text', { cause: error })
  }
}

function withFile<T>(path: string, work: (fd: number, size: number) => T): T {
  const fd = openSync(path, 'r')
  try {
    return work(fd, fstatSync(fd).size)
  } finally {
    closeSync(fd)
  }
}

function readAt(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; ) {
    const read = readSync(fd, bytes, at, length - at, position + at)
    if (read === 0) throw wrong('cut short')
    at += read
  }
  return bytes
}

const wrong = (what: string): ShoalError => new ShoalError('ERR_DECODE', `objects for a linker: ${what}`)
