import { dirname, normalize } from 'node:path'
import type { CID } from 'multiformats/cid'
import { entriesDigest, type Seen, type View } from '../plan/view.ts'

/** What a guest was given to look at: nothing but its inputs, without links and without programs. */
export class LentView implements View {
  readonly #files: ReadonlyMap<string, CID>
  readonly #directories = new Map<string, Map<string, 'd' | 'f'>>()

  /**
   * @param files by absolute path inside
   * @param directories absolute paths inside of directories that are there, files or not
   */
  constructor(files: ReadonlyMap<string, CID>, directories: Iterable<string>) {
    this.#files = files
    for (const path of files.keys()) this.#enter(path, 'f')
    for (const path of directories) this.#make(path)
  }

  see(kind: Parameters<View['see']>[0], path: string): Seen {
    const plain = plainPath(path)
    switch (kind) {
      case 'file':
        return this.#files.get(plain)
      case 'absent':
        return this.what(plain).kind === 'absent' ? 'there' : undefined
      case 'dir':
        return this.#directories.has(plain) ? 'there' : undefined
      case 'list': {
        const entries = this.#directories.get(plain)
        return entries && entriesDigest([...entries].map(([name, entry]) => [entry, name]))
      }
      case 'link':
      case 'program':
        return undefined
      default:
        return kind satisfies never
    }
  }

  /** Inputs cannot be written to. */
  what(path: string): { kind: 'file' | 'dir' | 'absent'; changed: false } {
    const plain = plainPath(path)
    const kind = this.#files.has(plain) ? 'file' : this.#directories.has(plain) ? 'dir' : 'absent'
    return { kind, changed: false }
  }

  #enter(path: string, kind: 'd' | 'f'): void {
    const parent = dirname(path)
    this.#make(parent)
    this.#directories.get(parent)?.set(path.slice(path.lastIndexOf('/') + 1), kind)
  }

  #make(path: string): void {
    if (this.#directories.has(path)) return
    this.#directories.set(path, new Map())
    if (path !== '/') this.#enter(path, 'd')
  }
}

const plainPath = (path: string): string => normalize(path).replace(/(?<=.)\/$/, '')
