import type { CID } from 'multiformats/cid'
import { z } from 'zod'
import type { Action } from '../plan/action.ts'
import { hexOf } from '../wire/cid.ts'

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
export function decodeSketch(bytes: Uint8Array): Sketch | undefined {
  try {
    const parsed = sketchSchema.safeParse(JSON.parse(Buffer.from(bytes).toString()))
    return parsed.success ? parsed.data : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

const sketchedDigest = (cid: CID): string => hexOf(cid).slice(0, 32)
