import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, extname, isAbsolute, join, resolve } from 'node:path'
import { codeOf } from '../base/errors.ts'
import { parseDepInfo } from '../plan/dep-info.ts'
import { holdsPassword, looksSecret } from '../plan/environment.ts'

const maxKnown = 16_384
const maxBytes = 8 << 20

export interface Told {
  /** As they are written. */
  files: readonly string[]
  /** A source of it has asked for a variable that looks like a secret, and there was one. */
  asksForSecret: boolean
}

interface Beside {
  stamp: string
  told: Told | undefined
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

  /** What the dep-info itself says; undefined when there is none. */
  async told(library: string): Promise<Told | undefined> {
    return await this.#told(depInfoOf(library))
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
    const files = (await this.#told(path))?.files
    const isTold = files?.every((file) => isAbsolute(file) || (workspace !== undefined && !file.startsWith('\0')))
    if (files === undefined || isTold !== true) return undefined
    return [...new Set(files.map((file) => dirname(resolve(workspace ?? '/', file))))]
  }

  async #told(path: string): Promise<Told | undefined> {
    try {
      const { ino, size, mtimeMs, ctimeMs } = await stat(path)
      const stamp = `${ino} ${size} ${mtimeMs} ${ctimeMs}`
      const known = this.#known.get(path)
      if (known?.stamp === stamp) return known.told
      const told = size > maxBytes ? undefined : toldBy(await readFile(path, 'utf8'))
      if (this.#known.size >= maxKnown) this.#known.clear()
      this.#known.set(path, { stamp, told })
      return told
    } catch (error) {
      if (codeOf(error) === undefined) throw error
      return undefined
    }
  }
}

function toldBy(text: string): Told | undefined {
  const { files, env } = parseDepInfo(text)
  const isSecret = ([name, value]: [string, string | null]): boolean =>
    value !== null && (looksSecret(name) || holdsPassword(value))
  return files.length === 0 ? undefined : { files, asksForSecret: env.some(isSecret) }
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
