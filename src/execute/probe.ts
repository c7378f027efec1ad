import { execFile } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Clock } from '../base/clock.ts'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import type { Environment } from '../base/paths.ts'
import type { Toolchain } from '../plan/toolchain.ts'
import { type CanaryInit, canary, limitsCanary } from './canary.ts'
import type { ControlGroups } from './control-groups.ts'
import { inheritedDescriptors } from './descriptors.ts'
import type { EntryArch } from './entry-program.ts'
import { runGuest } from './guest.ts'
import { GuestUsers } from './guest-users.ts'
import { Launchers, type LaunchersInit } from './launchers.ts'
import { defaultLimits } from './limits.ts'
import type { MountedToolchain } from './runtime.ts'
import {
  type BubblewrapSetup,
  type SandboxSetup,
  type SeatbeltSetup,
  waitingBubblewrap,
  waitingShell,
} from './sandbox.ts'
import { seccompFilter } from './seccomp.ts'

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
  /** `PATH` says where bubblewrap, prlimit, chrt and unshare are looked for. */
  env: Environment
  platform: string
  /** Undefined: there is no system call filter for this processor. */
  arch: EntryArch | undefined
  /** The Node.js that plays the guest. */
  node: string
  background: boolean
  /** Or why there are none. */
  groups: ControlGroups | string
  clock: Clock
  signal: AbortSignal
  /** Absolute path. Default: that of macOS. */
  seatbelt?: string
}

/** Covering them takes a table of that length. */
const maxInherited = 4095
const leastVersion = [0, 7] as const
/** From there on Linux counts the threads of a user in each user namespace by itself. */
const countsApart = [5, 14] as const
const run = promisify(execFile)

/**
 * Finds out by trying whether a guest can be isolated here. Never throws: what cannot be tried counts as absent.
 */
export async function probe(init: ProbeInit): Promise<Probed> {
  const none = (reason: string): Probed => ({ tier: 'none', reason })
  if (init.platform === 'darwin') return await probeSeatbelt(init)
  if (init.platform !== 'linux') return none(`no sandbox for ${init.platform}`)
  if (init.arch === undefined) return none('no system call filter for this processor')
  const bubblewrap = findTool('bwrap', init.env)
  if (bubblewrap === undefined) return none('bubblewrap is not installed')
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
    const users = process.getuid?.() === 0 ? GuestUsers.open() : undefined
    // Never as root: of the files, descriptors and processes of this machine, most are root's.
    if (typeof users === 'string') return none(`guests of root's would be root: ${users}`)
    const missing = users === undefined ? [] : missingRights()
    if (missing.length > 0) return none(`root may not do here what guests of root's need: ${missing.join(', ')}`)
    const common = {
      users,
      groups: undefined,
      chrt: findTool('chrt', init.env),
      background: init.background,
      inherited,
      clock: init.clock,
    }
    const base = {
      ...({ kind: 'bubblewrap', bubblewrap } as const),
      ...{ asRoot: users !== undefined, lastCapability: lastCapability() },
      filters: { alone: seccompFilter(init.arch), starting: seccompFilter(init.arch, { startsPrograms: true }) },
    }
    const [prlimit, unshare] = [findTool('prlimit', init.env), findTool('unshare', init.env)]
    let failed = ''
    for (const variant of variants(init.arch, version, { asRoot: base.asRoot, unshare })) {
      const waiting = variant.entry === undefined ? waitingShell(prlimit) : waitingBubblewrap({ ...base, ...variant })
      const launchersInit = { ...common, waiting }
      const setup = { ...base, ...variant, launchers: new Launchers(launchersInit) }
      const wrong = await tryVariant({ ...init, dir: init.workDir, setup })
      if (wrong === undefined) return await withGroups(init, setup, launchersInit, remarkOn(setup))
      await setup.launchers.close()
      failed = wrong
    }
    return none(failed)
  } catch (error) {
    return none(`the sandbox cannot be used: ${toShoalError(error, 'ERR_SANDBOX').message}`)
  }
}

/** macOS. What a guest could do to a node of root's nobody has tried, and nothing keeps its limits but the watch. */
async function probeSeatbelt(init: ProbeInit): Promise<Probed> {
  const none = (reason: string): Probed => ({ tier: 'none', reason })
  const seatbelt = init.seatbelt ?? '/usr/bin/sandbox-exec'
  if (process.getuid?.() === 0 && init.seatbelt === undefined) return none('a node that is root lends nothing on macOS')
  if (!isProgram(seatbelt)) return none('sandbox-exec is not there')
  const launchers = new Launchers({
    ...{ waiting: waitingShell(undefined), groups: undefined, users: undefined, chrt: undefined, inherited: [] },
    ...{ background: init.background, clock: init.clock },
  })
  const setup: SeatbeltSetup = { kind: 'seatbelt', seatbelt, launchers }
  try {
    const wrong = await canary({ ...init, dir: init.workDir, setup })
    if (wrong.length === 0) return { tier: 'watched', reason: 'macOS: libraries without macros only', setup }
    await launchers.close()
    return none(`the sandbox does not hold: ${wrong.join(', ')}`)
  } catch (error) {
    await launchers.close()
    return none(`the sandbox cannot be used: ${toShoalError(error, 'ERR_SANDBOX').message}`)
  }
}

/** @returns why a guest is not isolated like that, in words; undefined when it is */
async function tryVariant(init: CanaryInit): Promise<string | undefined> {
  try {
    const wrong = await canary(init)
    return wrong.length === 0 ? undefined : `the sandbox does not hold: ${wrong.join(', ')}`
  } catch (error) {
    return `the sandbox cannot be used: ${toShoalError(error, 'ERR_SANDBOX').message}`
  }
}

type Variant = Pick<BubblewrapSetup, 'disableUserns' | 'entry' | 'unshare'>

/** The ways to set it up that may work, the best first. */
function variants(
  arch: EntryArch,
  version: readonly [number, number],
  { asRoot, unshare }: Pick<BubblewrapSetup, 'asRoot' | 'unshare'>,
): Variant[] {
  const ahead = unshare === undefined ? [] : [unshare]
  if (asRoot) return [...ahead, undefined].map((tool) => ({ disableUserns: false, entry: arch, unshare: tool }))
  const [major, minor] = release().split(/[.-]/).map(Number)
  const entries = compare([major ?? 0, minor ?? 0], countsApart) >= 0 ? [arch, undefined] : [undefined]
  const disabling = compare(version, [0, 8]) >= 0 ? [true, false] : [false]
  return disabling.flatMap((disableUserns) => entries.map((entry) => ({ disableUserns, entry, unshare: undefined })))
}

function remarkOn({ asRoot, disableUserns, entry }: BubblewrapSetup): string {
  const remarks = []
  if (!asRoot && !disableUserns) remarks.push('further user namespaces are closed by the system call filter alone')
  if (entry === undefined) remarks.push('threads of a guest are not limited by itself')
  return remarks.join('; ')
}

/** What it takes to make a guest somebody else, to watch it and to end it; by number as Linux has them. */
const rights = {
  ...{ CAP_CHOWN: 0, CAP_DAC_OVERRIDE: 1, CAP_FOWNER: 3, CAP_KILL: 5, CAP_SETGID: 6, CAP_SETUID: 7, CAP_SETPCAP: 8 },
  ...{ CAP_SYS_PTRACE: 19, CAP_SYS_ADMIN: 21 },
} as const

function missingRights(): string[] {
  const [, digits = '0'] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? []
  const has = BigInt(`0x${digits}`)
  return Object.entries(rights).flatMap(([name, bit]) => (((has >> BigInt(bit)) & 1n) === 1n ? [] : [name]))
}

function lastCapability(): number {
  return Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'latin1'))
}

/** The better tier where the kernel keeps the limits, which is tried as well. */
async function withGroups(
  init: ProbeInit,
  setup: BubblewrapSetup,
  launchersInit: LaunchersInit,
  remark: string,
): Promise<Probed> {
  const watched = (why: string): Probed => {
    const reason = [`limits are kept by watching: ${why}`, remark].filter((text) => text !== '').join('; ')
    return { tier: 'watched', reason, setup }
  }
  if (typeof init.groups === 'string') return watched(init.groups)
  const confined = { ...setup, launchers: new Launchers({ ...launchersInit, groups: init.groups }) }
  const wrong = await limitsCanary({ ...init, dir: init.workDir, setup: confined })
  await (wrong === undefined ? setup : confined).launchers.close()
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
  const at = init.setup.kind === 'bubblewrap' ? '/shoal-probe/toolchain' : toolchain.sysroot
  const told: Buffer[] = []
  const end = await runGuest({
    inside: {
      mounts: [...toolchain.runtime.mounts, ...toolchain.mountsAt(at)],
      readOnly: toolchain.inPlace,
      writable: undefined,
      cwd: '/',
      env: [],
      tmpBytes: 1 << 20,
    },
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
  return paths.find(isProgram)
}

function isProgram(path: string): boolean {
  try {
    return statSync(path).isFile()
  } catch (error) {
    // Not there, or in a directory of somebody else's.
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP'].includes(codeOf(error) ?? '')) return false
    throw error
  }
}

async function versionOf(bubblewrap: string): Promise<readonly [number, number] | undefined> {
  const { stdout } = await run(bubblewrap, ['--version'], { env: {}, timeout: 10_000, maxBuffer: 4096 })
  const [, major, minor] = /(\d+)\.(\d+)/.exec(stdout) ?? []
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)]
}

const compare = (a: readonly [number, number], b: readonly [number, number]): number => a[0] - b[0] || a[1] - b[1]
