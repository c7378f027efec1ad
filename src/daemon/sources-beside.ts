import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, extname, isAbsolute, join, resolve } from 'node:path'
import { codeOf } from '../base/errors.ts'
import { parseDepInfo } from '../plan/dep-info.ts'

const maxKnown = 16_384
const maxBytes = 8 << 20

interface Beside {
  stamp: string
  /** As they are written. */
  files: readonly string[] | undefined
}

/** Which sources the libraries in a target directory were made from, by the dep-info beside each: cargo keeps it for as long. */
export class SourcesBeside {
  readonly #known = new Map<string, Beside>()

  /**
   * Directories with sources of a library, absolute.
   * @param workspace where cargo compiles the members of a workspace; relative names begin there
   * @returns undefined when that cannot be told
   */
  async of(library: string, workspace: string | undefined): Promise<string[] | undefined> {
    return await this.#read(depInfoOf(library), workspace)
  }

  /** The sources themselves, as they are written; none when that cannot be told. */
  async files(library: string): Promise<readonly string[]> {
    return (await this.#files(depInfoOf(library))) ?? []
  }

  /** The same for each that lies in a directory. */
  async within(dir: string, workspace: string | undefined): Promise<(string[] | undefined)[]> {
    const found: (string[] | undefined)[] = []
    for (const name of await namesIn(dir)) {
      if (name.endsWith('.d')) found.push(await this.#read(join(dir, name), workspace))
    }
    return found
  }

  async #read(path: string, workspace: string | undefined): Promise<string[] | undefined> {
    const files = await this.#files(path)
    const isTold = files?.every((file) => isAbsolute(file) || (workspace !== undefined && !file.startsWith('\0')))
    if (files === undefined || isTold !== true) return undefined
    return [...new Set(files.map((file) => dirname(resolve(workspace ?? '/', file))))]
  }

  async #files(path: string): Promise<readonly string[] | undefined> {
    try {
      const { ino, size, mtimeMs, ctimeMs } = await stat(path)
      const stamp = `${ino} ${size} ${mtimeMs} ${ctimeMs}`
      const known = this.#known.get(path)
      if (known?.stamp === stamp) return known.files
      const files = size > maxBytes ? undefined : parseDepInfo(await readFile(path, 'utf8')).files
      if (this.#known.size >= maxKnown) this.#known.clear()
      this.#known.set(path, { stamp, files: files?.length === 0 ? undefined : files })
      return this.#known.get(path)?.files
    } catch (error) {
      if (codeOf(error) === undefined) throw error
      return undefined
    }
  }
}

const depInfoOf = (library: string): string =>
  join(dirname(library), `${basename(library, extname(library)).replace(/^lib/, '')}.d`)

async function namesIn(dir: string): Promise<string[]> {
  try {
    return await readdir(dir)
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return []
  }
}
