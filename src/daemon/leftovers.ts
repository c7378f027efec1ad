import { rmSync } from 'node:fs'
import { lstat, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { codeOf, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'

const name = /^\.shoal-[0-9a-f]{16}$/
/** No compile and no linker takes as long, so what is older belongs to nobody. */
const oldMs = 86_400_000
const maxRemembered = 1024

export interface LeftoversNeeds {
  clock: Pick<Clock, 'wall'>
  log: Logger
}

/** The private directories beside the outputs, in which compilers and linkers run. */
export class Leftovers {
  readonly #needs: LeftoversNeeds
  readonly #swept = new Set<string>()

  constructor(needs: LeftoversNeeds) {
    this.#needs = needs
  }

  /**
   * Removes one, and, the first time that there is one beside the same outputs, those of nodes that died in the middle of a
   * compile or a link: they can hold all objects of a program.
   * @throws the file system's error when that one cannot be removed
   */
  async discard(privateDir: string): Promise<void> {
    rmSync(privateDir, { recursive: true, force: true })
    const outDir = dirname(privateDir)
    if (this.#swept.has(outDir)) return
    if (this.#swept.size >= maxRemembered) this.#swept.clear()
    this.#swept.add(outDir)
    try {
      await this.#sweep(outDir)
    } catch (error) {
      const { code, message } = toShoalError(error)
      this.#needs.log.info('leftovers not removed', { code, message, dir: outDir })
    }
  }

  async #sweep(outDir: string): Promise<void> {
    for (const entry of await readdir(outDir)) {
      if (!name.test(entry)) continue
      const path = join(outDir, entry)
      if (await this.#isOld(path)) await rm(path, { recursive: true, force: true })
    }
  }

  /** False for what is no directory, and for what has just gone. */
  async #isOld(path: string): Promise<boolean> {
    try {
      const found = await lstat(path)
      return found.isDirectory() && found.mtimeMs < this.#needs.clock.wall() - oldMs
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false
      throw error
    }
  }
}
