import { open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parse } from 'smol-toml'
import { z } from 'zod'
import { BoundedMap } from '../base/bounded-map.ts'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { type Policy, readPolicy } from '../recall/policy.ts'

const maxManifestBytes = 1 << 20
const maxBuilds = 64

const shoal = z.object({
  metadata: z.object({ shoal: z.object({ trust: z.unknown() }).partial().optional() }).optional(),
})
const manifestSchema = z.object({ workspace: shoal.optional(), package: shoal.optional() })

/**
 * The trust policies of each build: this node's own, and what the manifests around the place of the build ask for. All of them hold.
 */
export class WorkspaceTrust {
  readonly #own: Policy
  readonly #log: Logger
  readonly #builds = new BoundedMap<string, Promise<readonly Policy[]>>(maxBuilds)

  constructor(own: Policy, log: Logger) {
    this.#own = own
    this.#log = log
  }

  /** Looked at once for each build. @param build names it @param dirs where cargo works, and where its workspace may be */
  of(build: string, dirs: () => readonly string[]): Promise<readonly Policy[]> {
    let policies = this.#builds.get(build)
    if (policies === undefined) {
      policies = this.#look(dirs())
      this.#builds.set(build, policies)
    }
    return policies
  }

  async #look(dirs: readonly string[]): Promise<readonly Policy[]> {
    const policies = [this.#own]
    const seen = new Set<string>()
    for (const dir of dirs) {
      for (let at = dir; !seen.has(at); at = dirname(at)) {
        seen.add(at)
        for (const text of await this.#asked(join(at, 'Cargo.toml'))) policies.push(this.#policyOf(text, at))
      }
    }
    return policies
  }

  #policyOf(text: unknown, dir: string): Policy {
    const policy = typeof text === 'string' ? readPolicy(text) : undefined
    if (policy !== undefined) return policy
    this.#log.warn('a trust policy that is not known: nothing of others is used', { code: 'ERR_CONFIG', dir })
    return { kind: 'own' }
  }

  async #asked(path: string): Promise<unknown[]> {
    const text = await readManifest(path)
    if (text === undefined || !text.includes('trust')) return []
    let document: unknown
    try {
      document = parse(text)
    } catch {
      // cargo says what is wrong with it; should it read it otherwise, too little trust does no harm.
      return ['']
    }
    const parsed = manifestSchema.safeParse(document)
    if (!parsed.success) return ['']
    const { workspace, package: own } = parsed.data
    return [workspace, own].flatMap((table) => table?.metadata?.shoal?.trust ?? [])
  }
}

/** Undefined when there is none, or none that anybody would write. */
async function readManifest(path: string): Promise<string | undefined> {
  try {
    await using file = await open(path)
    const { size } = await file.stat()
    return size > maxManifestBytes ? undefined : await file.readFile('utf8')
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}
