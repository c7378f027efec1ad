import { open } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { parse } from 'smol-toml'
import { z } from 'zod'
import { codeOf } from '../base/errors.ts'

const maxManifestBytes = 1 << 20

/** Of all that can be said of a build script only `always-run` means something: whatever else is said is taken for that. */
const manifestOfShoal = z.object({
  package: z.object({
    metadata: z.object({ shoal: z.object({ 'build-script': z.unknown() }).optional() }).optional(),
  }),
})

const inputs = z.array(z.string().min(1).max(1024)).max(256)
const manifestSchema = z.object({
  package: z.object({ metadata: z.object({ shoal: z.object({ inputs: inputs.optional() }).optional() }).optional() }),
})

/**
 * What a package says that it is made from besides its own directory: `inputs` under `[package.metadata.shoal]`, files and
 * directories by their paths from the manifest. Wanted where a compile cannot be observed.
 * @returns absolute paths, none when it says nothing; undefined when what it says is not understood
 */
export async function declaredInputs(packageDir: string): Promise<string[] | undefined> {
  const text = await readManifest(join(packageDir, 'Cargo.toml'))
  if (text === undefined || !text.includes('shoal')) return []
  let document: unknown
  try {
    document = parse(text)
  } catch {
    // cargo reads it otherwise: then what it means is not known.
    return undefined
  }
  const parsed = manifestSchema.safeParse(document)
  if (!parsed.success) return undefined
  const named = parsed.data.package.metadata?.shoal?.inputs ?? []
  if (named.some((path) => isAbsolute(path) || path.includes('\0'))) return undefined
  return named.map((path) => join(packageDir, path).replace(/(?<=.)\/$/, ''))
}

/**
 * Whether a package says that its build script is to run each time: `build-script = "always-run"` under `[package.metadata.shoal]`.
 * Also when what it says there is not understood.
 */
export async function runsAlways(packageDir: string): Promise<boolean> {
  const text = await readManifest(join(packageDir, 'Cargo.toml'))
  if (text === undefined || !text.includes('build-script')) return false
  try {
    const shoal = manifestOfShoal.safeParse(parse(text)).data?.package.metadata?.shoal
    return shoal?.['build-script'] !== undefined
  } catch {
    return true
  }
}

/** Undefined when there is none, or none that anybody would write. */
async function readManifest(path: string): Promise<string | undefined> {
  try {
    await using file = await open(path)
    const { size } = await file.stat()
    return size > maxManifestBytes ? undefined : await file.readFile('utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}
