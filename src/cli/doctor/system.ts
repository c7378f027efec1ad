import { execFile } from 'node:child_process'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { codeOf } from '../../base/errors.ts'
import type { Environment } from '../../base/paths.ts'

const run = promisify(execFile)
const maxText = 64 * 1024

/** What a sandbox depends on, as the system says it. */
export interface SystemFacts {
  platform: string
  /** `ID` and `ID_LIKE` of os-release, and `VERSION_ID`. */
  distribution: { ids: readonly string[]; version: string }
  /** `/proc/sys/kernel/apparmor_restrict_unprivileged_userns`: 1 allows namespaces to programs with a profile only. */
  apparmorRestricts: boolean
  /** `/proc/sys/kernel/unprivileged_userns_clone` is there and 0. */
  usernsCloneOff: boolean
  /** `/proc/sys/user/max_user_namespaces`; undefined when the system does not say. */
  maxUserNamespaces: number | undefined
  /** Bubblewrap: its path and version, `undefined` for none. */
  bubblewrap: { path: string; version: string } | undefined
  groups: GroupFacts
  isRoot: boolean
}

/** What of the kernel's control groups the node can use. */
export interface GroupFacts {
  version: 1 | 2 | undefined
  /** Those that the group of the node could give on; of version 1 those that are mounted. */
  controllers: readonly string[]
}

/**
 * Looks at the system, and changes nothing.
 * @param root before the paths of the system's own files
 * @param pid the node, or this process
 */
export async function readSystem(
  env: Environment,
  { root = '/', pid = process.pid, platform = process.platform as string } = {},
): Promise<SystemFacts> {
  const text = (path: string): Promise<string | undefined> => textOf(join(root, path))
  const number = async (path: string): Promise<number | undefined> => {
    const said = (await text(path))?.trim()
    return said === undefined || !/^\d+$/.test(said) ? undefined : Number(said)
  }
  const release = fieldsOf((await text('etc/os-release')) ?? '')
  return {
    platform,
    distribution: {
      ids: [release.get('ID') ?? '', ...(release.get('ID_LIKE') ?? '').split(' ')].filter((id) => id !== ''),
      version: release.get('VERSION_ID') ?? '',
    },
    apparmorRestricts: (await number('proc/sys/kernel/apparmor_restrict_unprivileged_userns')) === 1,
    usernsCloneOff: (await number('proc/sys/kernel/unprivileged_userns_clone')) === 0,
    maxUserNamespaces: await number('proc/sys/user/max_user_namespaces'),
    bubblewrap: await findBubblewrap(env),
    groups: groupsOf(
      await text(`proc/${pid}/cgroup`),
      await text('proc/self/mountinfo'),
      (await readControllers()) ?? '',
    ),
    isRoot: process.getuid?.() === 0,
  }

  async function readControllers(): Promise<string | undefined> {
    const own = /^0::(.*)$/m.exec((await text(`proc/${pid}/cgroup`)) ?? '')?.[1]
    return own === undefined ? undefined : await text(join('sys/fs/cgroup', own, 'cgroup.controllers'))
  }
}

function groupsOf(own = '', mounts = '', controllers = ''): GroupFacts {
  const offered = controllers
    .trim()
    .split(/\s+/)
    .filter((name) => name !== '')
  if (offered.includes('memory')) return { version: 2, controllers: offered }
  const first = [...own.matchAll(/^\d+:([^:]+):/gm)].flatMap(([, names = '']) => names.split(','))
  if (first.includes('memory') && / - cgroup /.test(mounts)) return { version: 1, controllers: first }
  return { version: offered.length > 0 ? 2 : undefined, controllers: offered }
}

async function findBubblewrap(env: Environment): Promise<SystemFacts['bubblewrap']> {
  const directories = (env.PATH ?? '/usr/bin:/bin').split(':').filter((directory) => directory.startsWith('/'))
  for (const path of directories.map((directory) => join(directory, 'bwrap'))) {
    try {
      if (!(await stat(path)).isFile()) continue
      const { stdout } = await run(path, ['--version'], { env: {}, timeout: 5000, maxBuffer: 4096 })
      return { path, version: /\d+\.\d+(\.\d+)?/.exec(stdout)?.[0] ?? '' }
    } catch (error) {
      const code = codeOf(error)
      if (code === 'ENOENT' || code === 'ENOTDIR') continue
      // It is there and says nothing of itself.
      return { path, version: '' }
    }
  }
  return undefined
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).slice(0, maxText)
  } catch (error) {
    // Whatever cannot be read is not known.
    if (codeOf(error) !== undefined) return undefined
    throw error
  }
}

/** `NAME=value` and `NAME="value"`, as os-release has them. */
function fieldsOf(text: string): Map<string, string> {
  const lines = [...text.matchAll(/^([A-Z_]+)=(?:"([^"]*)"|'([^']*)'|(.*))$/gm)]
  return new Map(lines.map(([, name = '', double, single, plain]) => [name, double ?? single ?? plain ?? '']))
}
