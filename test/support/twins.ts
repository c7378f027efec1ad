import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'

/**
 * Two target directories of one workspace, which take turns in being `target`: what two builds wrote at the same absolute
 * path must be the same bytes, also where a path is among them.
 */
export class Twins {
  readonly #target: string
  readonly #aside: string

  /** @param aside a directory outside the workspace, on the same file system */
  constructor(workspace: string, aside: string) {
    this.#target = join(workspace, 'target')
    this.#aside = aside
  }

  /** Runs `build` with the target directory `name` in its place. */
  async with<T>(name: string, build: () => Promise<T>): Promise<T> {
    const own = join(this.#aside, name)
    await mkdir(own, { recursive: true })
    await mkdir(dirname(this.#target), { recursive: true })
    await rename(own, this.#target)
    try {
      return await build()
    } finally {
      await rename(this.#target, own)
    }
  }

  /** As after `rm -rf target`. */
  async clear(name: string): Promise<void> {
    await rm(join(this.#aside, name), { recursive: true, force: true })
  }

  /** Name → digest of what `name` holds: artifacts, dep-info, what build scripts made and what cargo would show again. */
  async files(name: string): Promise<Map<string, string>> {
    const own = join(this.#aside, name)
    await mkdir(own, { recursive: true })
    const entries = await readdir(own, { recursive: true, withFileTypes: true })
    const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
    const files = new Map<string, string>()
    for (const path of paths) {
      const inside = path.slice(own.length + 1)
      if (counts(inside)) files.set(inside, await digestOfFile(path))
    }
    return files
  }
}

async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

/** Not the records of cargo in which times are kept, and not the working state of rustc. */
function counts(path: string): boolean {
  if (
    /^\.rustc_info\.json$|(^|\/)(\.cargo-lock|\.cargo-build-lock|\.cargo-artifact-lock|invoked\.timestamp)$|(^|\/)incremental\//.test(
      path,
    )
  ) {
    return false
  }
  return !path.includes('/.fingerprint/') || /\/output-[^/]+$/.test(path)
}

/** Names of files that differ, or that only one of the two has. */
export function differences(actual: ReadonlyMap<string, string>, expected: ReadonlyMap<string, string>): string[] {
  const names = [...new Set([...actual.keys(), ...expected.keys()])].toSorted()
  const different = names.filter((name) => actual.get(name) !== expected.get(name))
  return different.map(
    (name) => `${name}${actual.has(name) ? (expected.has(name) ? '' : ' (additional)') : ' (missing)'}`,
  )
}
