import { execFile } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Clock } from '../base/clock.ts'
import { ShoalError, toShoalError } from '../base/errors.ts'
import type { Environment } from '../base/paths.ts'
import type { Toolchain } from '../plan/toolchain.ts'
import { canary, limitsCanary } from './canary.ts'
import type { ControlGroups } from './control-groups.ts'
import { inheritedDescriptors } from './descriptors.ts'
import { runGuest } from './guest.ts'
import { defaultLimits } from './limits.ts'
import type { MountedToolchain } from './runtime.ts'
import { limitCommand, type SandboxSetup, sandboxOptions } from './sandbox.ts'

/**
 * How well this node can isolate a guest. `none`: not at all, so it lends nothing. `watched`: namespaces, the system call
 * filter, and limits kept by watching. `confined`: the same with limits kept by the kernel's control groups.
 */
export type Tier = 'none' | 'watched' | 'confined'

/** A sandbox that was tried, or why there is none. */
export type Probed =
  | { tier: 'none'; reason: string }
  | { tier: 'watched' | 'confined'; reason: string; setup: SandboxSetup }

export interface ProbeInit {
  workDir: string
  /** `PATH` says where bubblewrap and prlimit are looked for. */
  env: Environment
  platform: string
  /** File with the system call filter; undefined when there is none for this processor. */
  filter: string | undefined
  /** The Node.js that plays the guest. */
  node: string
  background: boolean
  /** Or why there are none. */
  groups: ControlGroups | string
  clock: Clock
  signal: AbortSignal
}

/** Covering them takes a table of that length. */
const maxInherited = 4095
const leastVersion = [0, 7] as const
const run = promisify(execFile)

/**
 * Finds out by trying whether a guest can be isolated here. Never throws: what cannot be tried counts as absent.
 */
export async function probe(init: ProbeInit): Promise<Probed> {
  const none = (reason: string): Probed => ({ tier: 'none', reason })
  if (init.platform !== 'linux') return none(`no sandbox for ${init.platform}`)
  if (init.filter === undefined) return none('no system call filter for this processor')
  const bubblewrap = findTool('bwrap', init.env)
  if (bubblewrap === undefined) return none('bubblewrap is not installed')
  const { filter } = init
  const prlimit = findTool('prlimit', init.env)
  const chrt = findTool('chrt', init.env)
  try {
    const inherited = inheritedDescriptors()
    if ((inherited.at(-1) ?? 0) > maxInherited)
      return none(`descriptor ${inherited.at(-1)} was left open by the parent process`)
    const version = await versionOf(bubblewrap)
    if (version === undefined || compare(version, leastVersion) < 0) {
      return none(
        `bubblewrap ${version?.join('.') ?? 'of unknown version'} is too old, ${leastVersion.join('.')} is needed`,
      )
    }
    let failed = ''
    for (const disableUserns of compare(version, [0, 8]) >= 0 ? [true, false] : [false]) {
      const { background } = init
      const setup = { bubblewrap, prlimit, chrt, background, filter, disableUserns, inherited, groups: undefined }
      const wrong = await canary({ ...init, dir: init.workDir, setup })
      if (wrong.length === 0) {
        const filtered = disableUserns ? '' : 'further user namespaces are closed by the system call filter alone'
        return await withGroups(init, setup, filtered)
      }
      failed = wrong.join(', ')
    }
    return none(`the sandbox does not hold: ${failed}`)
  } catch (error) {
    return none(`the sandbox cannot be used: ${toShoalError(error, 'ERR_SANDBOX').message}`)
  }
}

/** The better tier where the kernel keeps the limits, which is tried as well. */
async function withGroups(init: ProbeInit, setup: SandboxSetup, remark: string): Promise<Probed> {
  const watched = (why: string): Probed => {
    const reason = [`limits are kept by watching: ${why}`, remark].filter((text) => text !== '').join('; ')
    return { tier: 'watched', reason, setup }
  }
  if (typeof init.groups === 'string') return watched(init.groups)
  const confined = { ...setup, groups: init.groups }
  const wrong = await limitsCanary({ ...init, dir: init.workDir, setup: confined })
  return wrong === undefined ? { tier: 'confined', reason: remark, setup: confined } : watched(wrong)
}

/**
 * Whether a toolchain runs inside: `rustc -vV` says there what it says outside, or what its manifest says of it.
 * @throws ShoalError ERR_TOOLCHAIN when it does not
 */
export async function tryToolchain(
  toolchain: MountedToolchain,
  init: { dir: string; setup: SandboxSetup; clock: Clock; says: Pick<Toolchain, 'host' | 'release' | 'commitHash'> },
): Promise<void> {
  const limits = { ...defaultLimits, wallMs: 60_000 }
  const at = '/shoal-probe/toolchain'
  const told: Buffer[] = []
  const end = await runGuest({
    command: limitCommand(init.setup, limits, 1),
    options: sandboxOptions({
      mounts: [...toolchain.runtime.mounts, ...toolchain.mountsAt(at)],
      readOnly: [],
      writable: undefined,
      cwd: '/',
      env: [],
      tmpBytes: 1 << 20,
      disableUserns: init.setup.disableUserns,
    }),
    program: [`${at}/bin/rustc`, '--sysroot', at, '-vV'],
    setup: init.setup,
    optionsFile: join(init.dir, 'options'),
    outDir: undefined,
    limits,
    clock: init.clock,
    signal: new AbortController().signal,
    onStderr: (chunk) => told.push(chunk),
  })
  const lines = end.stdout.toString('utf8').split('\n')
  const { host, release, commitHash = 'unknown' } = init.says
  const expected = [`host: ${host}`, `release: ${release}`, `commit-hash: ${commitHash}`]
  if (end.status === 0 && expected.every((line) => lines.includes(line))) return
  const text = Buffer.concat(told).toString('utf8').slice(0, 300)
  throw new ShoalError('ERR_TOOLCHAIN', `rustc does not run in the sandbox: ${text}`)
}

function findTool(name: string, env: Environment): string | undefined {
  const directories = (env.PATH ?? '/usr/bin:/bin').split(':').filter((directory) => directory.startsWith('/'))
  const paths = directories.map((directory) => join(directory, name))
  return paths.find((path) => statSync(path, { throwIfNoEntry: false })?.isFile())
}

async function versionOf(bubblewrap: string): Promise<readonly [number, number] | undefined> {
  const { stdout } = await run(bubblewrap, ['--version'], { env: {}, timeout: 10_000, maxBuffer: 4096 })
  const [, major, minor] = /(\d+)\.(\d+)/.exec(stdout) ?? []
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)]
}

const compare = (a: readonly [number, number], b: readonly [number, number]): number => a[0] - b[0] || a[1] - b[1]
