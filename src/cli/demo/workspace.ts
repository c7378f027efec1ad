import { cp, mkdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { codeOf, ShoalError } from '../../base/errors.ts'
import type { Environment } from '../../base/paths.ts'
import { runChild } from './child.ts'

/** How long crates.io may take before the demo does without it. */
const fetchDeadlineMs = 90_000

const examples = fileURLToPath(new URL('../../../examples', import.meta.url))

export interface Example {
  /** Its folder in `examples/`. */
  name: string
  path: string
}

/**
 * The workspace to build: the one with dependencies from crates.io if cargo has them or gets them, otherwise the one
 * that needs none.
 */
export async function chooseExample(
  env: Environment,
  signal: AbortSignal,
  say: (text: string) => void,
): Promise<Example> {
  const path = join(examples, 'workspace')
  const manifest = join(path, 'Cargo.toml')
  const fetch = ['cargo', 'fetch', '--locked', '--quiet', '--manifest-path', manifest]
  if (await isFetched([...fetch, '--offline'], env, signal)) return { name: 'workspace', path }
  say('   fetching its dependencies from crates.io')
  const deadline = AbortSignal.any([AbortSignal.timeout(fetchDeadlineMs), signal])
  const fetched = await isFetched(fetch, env, deadline).catch((error: unknown) => {
    if (signal.aborted || !deadline.aborted) throw error
    return false
  })
  if (fetched) return { name: 'workspace', path }
  say('   crates.io cannot be reached: building examples/offline, which needs nothing from it')
  return { name: 'offline', path: join(examples, 'offline') }
}

async function isFetched(fetch: readonly string[], env: Environment, signal: AbortSignal): Promise<boolean> {
  try {
    return (await runChild(fetch, { env, signal })).code === 0
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    throw new ShoalError('ERR_TOOLCHAIN', 'cargo is not installed', { hint: 'See https://rustup.rs', cause: error })
  }
}

/** Copies a workspace without what a build left in it. */
export async function copyWorkspace(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true })
  await cp(from, to, { recursive: true, filter: (source) => source === from || basename(source) !== 'target' })
}
