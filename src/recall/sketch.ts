import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import type { CID } from 'multiformats/cid'
import { z } from 'zod'
import type { Action } from '../plan/action.ts'
import { looksSecret } from '../plan/environment.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { hexOf } from '../wire/cid.ts'
import { shownDigits } from './cause.ts'
import { environmentDigest, environmentOf, type Place } from './evidence.ts'

const pairs = z.array(z.tuple([z.string(), z.string()]))
const sketchSchema = z.object({
  v: z.literal(2),
  salt: z.string(),
  toolchain: z.string(),
  driver: z.string().nullable(),
  target: z.string(),
  argv: z.array(z.string()),
  env: pairs,
  cwd: z.string(),
  remaps: pairs,
  deps: pairs,
  build: z.string().nullable(),
  outputs: pairs,
})

/**
 * An action as it is compared with others to say in what they differ: every digest as its first 32 hex digits. Reading one
 * takes a tenth of what reading an action takes, and every unit that is not recalled needs it.
 */
export type Sketch = z.output<typeof sketchSchema>

export function sketchOf(action: Action): Sketch {
  const { v, salt, toolchain, driver, target, argv, env, cwd, remaps, deps, build, outputs } = action
  return {
    ...{ v, salt, toolchain, target, argv, env, cwd, remaps, outputs },
    driver: driver && sketchedDigest(driver),
    deps: deps.map(([name, cid]) => [name, sketchedDigest(cid)]),
    build: build && sketchedDigest(build),
  }
}

export const encodeSketch = (sketch: Sketch): Uint8Array => Buffer.from(JSON.stringify(sketch))

/** undefined for anything but what `encodeSketch` of this version gives. */
export const decodeSketch = (bytes: Uint8Array): Sketch | undefined => parsed(sketchSchema, bytes)

const environmentSchema = z.object({
  /** As a trace has it. */
  cid: z.string(),
  /** Name → first digits of the digest of its value. */
  variables: pairs,
})
/** The environment as a whole. */
export type SketchedEnvironment = z.output<typeof environmentSchema>

const circumstancesSchema = z.object({
  /** What people call the toolchain. */
  toolchain: z.string(),
  /** The directory of cargo's profile, such as `debug`; null where cargo has another layout. */
  profile: z.string().nullable(),
  /** Where the package lies, absolute. */
  directory: z.string(),
  /** Whether cargo asked for incremental compilation. */
  incremental: z.boolean(),
  /** Of compiles that can have seen all of it: the newest first. */
  environments: z.array(environmentSchema),
})

/** What an action does not say, and what helps people to see why it is another one. */
export type Circumstances = z.output<typeof circumstancesSchema>

export function circumstancesOf(
  { roots, toolchain, source, incremental }: Pick<PlannedAction, 'roots' | 'toolchain' | 'source' | 'incremental'>,
  environments: SketchedEnvironment[],
): Circumstances {
  const path = (wanted: string): string | undefined =>
    roots.find(({ name, alias }) => name === wanted && alias === undefined)?.path
  const [out, target] = [path('out'), path('target')]
  const below = out !== undefined && target !== undefined && out.startsWith(`${target}/`)
  const parts = below ? out.slice(target.length + 1).split('/') : []
  const profile = parts[parts.findIndex((part) => part === 'deps' || part === 'build' || part === 'examples') - 1]
  return {
    toolchain: basename(toolchain.sysroot),
    profile: profile ?? null,
    directory: source.dir,
    incremental: incremental !== undefined,
    environments,
  }
}

export const encodeCircumstances = (circumstances: Circumstances): Uint8Array =>
  Buffer.from(JSON.stringify(circumstances))

/** undefined for anything but what `encodeCircumstances` of this version gives. */
export const decodeCircumstances = (bytes: Uint8Array): Circumstances | undefined => parsed(circumstancesSchema, bytes)

/** Of a value that may be a secret no more is kept than it takes to notice that it is another one. */
const secretDigits = 4

/** Names of variables, and what tells their values apart. */
export function sketchEnvironment(place: Pick<Place, 'env' | 'roots'>): SketchedEnvironment {
  const variables = environmentOf(place).map(([name, value]): [string, string] => {
    const digest = createHash('sha256').update(value).digest('hex')
    return [name, digest.slice(0, looksSecret(name) ? secretDigits : shownDigits)]
  })
  return { cid: environmentDigest(place).toString(), variables }
}

function parsed<T>(schema: z.ZodType<T>, bytes: Uint8Array): T | undefined {
  try {
    const parsed = schema.safeParse(JSON.parse(Buffer.from(bytes).toString()))
    return parsed.success ? parsed.data : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

const sketchedDigest = (cid: CID): string => hexOf(cid).slice(0, 32)
