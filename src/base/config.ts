import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { parse } from 'smol-toml'
import { z } from 'zod'
import { codeOf, ShoalError } from './errors.ts'
import { chosenName } from './names.ts'
import { firstWrong, inWords } from './words.ts'

const GiB = 1024 ** 3

/** Whether a trust policy can be written so. */
export const isPolicyName = (text: string): boolean => /^(own|strict|team|ci|quorum:([2-9]|1[0-6]))$/.test(text)

/** `config.toml`. Keys are kebab-case as in cargo's own files; every key has a default. */
const schema = z.strictObject({
  /** What other members see. Default: the name given to `init` or `join`, else the host name. */
  name: chosenName.optional(),
  /** Compiles that may run here at once, own and guests' together. Default: the number of processors. */
  slots: z.int().min(1).max(1024).default(availableParallelism()),
  log: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  lend: z
    .strictObject({
      /** Compiles for other members that may run here at once; 0 lends nothing. Default: as many as `slots`. */
      slots: z.int().min(0).max(1024).optional(),
      /** What one guest's compile may use of the memory, all its processes together. */
      'memory-mib': z.int().min(256).default(4096),
      /** Processors that are lent at most while somebody types or points at this machine. Default: half of them, at least one. */
      'slots-in-use': z.int().min(0).max(1024).optional(),
      /** Whether guests make room as soon as the owner uses the machine, or it runs on battery. */
      yield: z.boolean().default(true),
    })
    .prefault({}),
  build: z
    .strictObject({
      /** Whether incremental directories that a shared build left out are made later, when the machine is at rest. */
      'warm-incremental': z.boolean().default(true),
      /**
       * Whether build scripts are started by a launcher in their place, the real one beside it: what one did that ran before with all
       * that it looks at as it is now is then put in place, and it does not run.
       */
      'script-launcher': z.boolean().default(false),
      /** Packages whose build scripts run each time all the same. */
      'always-run': z.array(z.string().min(1).max(256)).max(1024).default([]),
    })
    .prefault({}),
  trust: z
    .strictObject({
      /**
       * Whose results are used: `own`, `strict`, `team`, `ci` or `quorum:K`; a workspace may ask for more. Default: `strict` in an
       * open mesh, `team` in others.
       */
      policy: z.string().refine(isPolicyName, 'own, strict, team, ci or quorum:2 to quorum:16').optional(),
      /** Of the results of others, which share is compiled once more here when the machine is at rest; 0: none is. */
      'audit-share': z.number().min(0).max(1).default(0.03),
      /** Until so many results of a member were found right, all of them are. */
      'audit-first': z.int().min(0).max(10_000).default(20),
    })
    .prefault({}),
  /** What nothing leaves this machine of, beside what says so itself: `private = true` under `[workspace.metadata.shoal]`. */
  private: z
    .strictObject({
      /** Directories, absolute or beginning with `~/`. */
      workspaces: z
        .array(z.string().regex(/^(?:~?\/)/, 'must be absolute or begin with ~/'))
        .max(256)
        .default([]),
      /** Names of packages, wherever they lie. */
      packages: z.array(z.string().min(1).max(256)).max(1024).default([]),
    })
    .prefault({}),
  mesh: z
    .strictObject({
      /** TCP port; 0 picks one, and that one again the next time if it is free. */
      port: z.int().min(0).max(65535).default(0),
      /** Addresses to listen on. */
      listen: z.array(z.string()).default(['0.0.0.0']),
      /** Multiaddrs at which others reach this machine besides, told to members and put into links: `/dns4/HOST/tcp/PORT`, say. */
      announce: z.array(z.string()).max(4).default([]),
      /** Multiaddrs of members to dial when nothing else is known: `/ip4/ADDRESS/tcp/PORT`, `/dns4/HOST/tcp/PORT`, `/dnsaddr/HOST`. */
      bootstrap: z.array(z.string()).default([]),
      mdns: z.boolean().default(true),
      /**
       * Whether a machine on the local network may ask to join without a link: it learns the mesh's name, and is let in once somebody
       * who may invite has typed the code that it shows.
       */
      'join-by-approval': z.boolean().default(true),
      /** Members that this node stays connected to; whoever has what a build needs is met all the same. */
      'max-peers': z.int().min(1).max(128).default(128),
    })
    .prefault({}),
  cache: z
    .strictObject({
      'max-bytes': z
        .int()
        .min(0)
        .default(20 * GiB),
      /** The blocks do not grow into the last bytes of their file system. */
      'min-free-bytes': z
        .int()
        .min(0)
        .default(4 * GiB),
      /** Of these, for results that other members place here; 0 keeps nothing for others. Default: a quarter. */
      'placed-max-bytes': z.int().min(0).optional(),
      /** Beside these, for toolchains of other members to lend with, half a GiB each; 0 fetches none. */
      'toolchains-max-bytes': z
        .int()
        .min(0)
        .default(4 * GiB),
    })
    .prefault({}),
})

export type Config = z.output<typeof schema>

/**
 * Checks a parsed document and fills in the defaults.
 * @throws ShoalError ERR_CONFIG naming the key.
 */
function parseConfig(document: unknown, from: string): Config {
  const parsed = schema.safeParse(document, { error: inWords })
  if (parsed.success) return parsed.data
  throw new ShoalError('ERR_CONFIG', `${from}: ${firstWrong(parsed.error, 'the document')}`)
}

/**
 * Reads `config.toml`; an absent file means the defaults.
 * @throws ShoalError ERR_CONFIG when it is not TOML or holds a wrong value.
 */
export async function readConfig(file: string): Promise<Config> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return parseConfig({}, file)
    throw new ShoalError('ERR_CONFIG', `${file} cannot be read`, { cause: error })
  }
  let document: unknown
  try {
    document = parse(text)
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : ''
    throw new ShoalError('ERR_CONFIG', `${file}: ${reason}`, { cause: error })
  }
  return parseConfig(document, file)
}
