import { readdir } from 'node:fs/promises'
import { homedir, networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { readConfig } from '../../base/config.ts'
import { codeOf, toShoalError } from '../../base/errors.ts'
import { askNode } from '../client.ts'
import { daemonOnce } from '../daemon-program.ts'
import type { Io } from '../io.ts'
import { counted } from '../render.ts'
import { type Examined, examinedShape, peersShape, type Status, shaped, statusShape } from '../shapes.ts'
import { cargoHomeOf, cargoWrapper, toolchainNames } from './cargo-wrapper.ts'
import { type Finding, fail, ok, warn } from './finding.ts'
import { isolation } from './isolation.ts'
import { complaints, discovery, membership, peers } from './membership.ts'
import { directories, diskSpace } from './places.ts'
import { readSystem } from './system.ts'

const leastNode = [24, 9] as const

export interface DoctorInit {
  /** Mends what needs neither root nor an answer. */
  fix: boolean
  /** Version of this command. */
  version: string
  cwd: string
  /** Before the paths of the system's own files. Default: `/`. */
  root?: string
}

/** Looks at everything that Shoal depends on here; with a node that runs, also at what that one sees. */
export async function examineAll(io: Io, init: DoctorInit): Promise<Finding[]> {
  const places = await directories(io.paths, init.fix)
  const examined = await examine(io, init.fix)
  const node = await runningNode(io, init.version)
  const { status } = node
  const root = init.root === undefined ? {} : { root: init.root }
  const pid = status === undefined ? {} : { pid: status.node.pid }
  const system = await readSystem(io.env, { ...root, ...pid })
  const cargoHome = cargoHomeOf(io.env, homedir())
  const shim = join(io.paths.shimDir, 'shoal-rustc')
  const configured = await configuration(io, networkInterfaces())
  const tried = status?.lending
  return [
    nodeVersion(process.versions.node),
    ...(system.isRoot ? [ok('user', 'root: it works, and what is compiled for others runs without root’s uid')] : []),
    ...programs(examined),
    ...(await cargoWrapper(io.env, { cwd: init.cwd, cargoHome, shim })),
    await toolchains(io, status),
    ...places,
    ...configured,
    ...(examined instanceof Error ? [] : membership(examined.mesh, Date.now())),
    ...node.findings,
    ...isolation(system, tried),
    ...(status === undefined ? [] : complaints(status)),
  ]
}

function nodeVersion(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const isEnough = major > leastNode[0] || (major === leastNode[0] && minor >= leastNode[1])
  if (isEnough) return ok('node.js', version)
  return fail('node.js', `${version}, older than ${leastNode.join('.')}`, 'the network does not work with it', 'npm ci')
}

async function examine(io: Io, fix: boolean): Promise<Examined | Error> {
  try {
    return shaped(examinedShape, await daemonOnce(io, { action: 'examine', fix }), 'doctor')
  } catch (error) {
    if (io.signal.aborted) throw error
    return toShoalError(error)
  }
}

function programs(examined: Examined | Error): Finding[] {
  const make = 'shoal init --yes'
  if (examined instanceof Error) return [fail('shim', examined.message, 'nothing could be examined', make)]
  const { shim, observer } = examined
  const findings: Finding[] = []
  const isMade = shim.state === 'current'
  const why =
    shim.problem === undefined ? 'cargo has nothing to start in place of rustc' : 'it is made with your own rustc'
  if (isMade) findings.push(ok('shim', 'of this version'))
  else if (shim.state === 'outdated')
    findings.push(warn('shim', 'of another version or compiler', 'builds may not use the mesh', make))
  else findings.push(fail('shim', shim.problem ?? 'is not there', why, make))
  if (observer === null) findings.push(warn('observer', 'there is none for this platform', 'less is recalled'))
  else if (observer.state === 'current') findings.push(ok('observer', 'of this version'))
  else findings.push(warn('observer', observer.problem ?? `is ${observer.state}`, 'less is recalled', make))
  return findings
}

async function toolchains(io: Io, status: Status | undefined): Promise<Finding> {
  const home = io.env.RUSTUP_HOME || join(homedir(), '.rustup')
  const names = await toolchainNames(home, readdir)
  const ready = status?.lending?.toolchains
  const check = 'toolchains'
  if (names.length === 0) {
    return warn(
      check,
      `none installed by rustup in ${home}`,
      'it lends with what it fetches from other members',
      'rustup toolchain install stable',
    )
  }
  const lent = ready === undefined ? '' : `; ${ready} ready to lend with`
  return ok(check, `${counted(names.length, 'toolchain')} installed by rustup${lent}`)
}

async function configuration(io: Io, interfaces: ReturnType<typeof networkInterfaces>): Promise<Finding[]> {
  try {
    const { mesh, cache } = await readConfig(io.paths.config)
    return [
      ok('configuration', io.paths.config),
      await diskSpace(io.paths.cache, cache['min-free-bytes']),
      discovery(interfaces, mesh),
    ]
  } catch (error) {
    const { code, message, hint } = toShoalError(error)
    return [fail('configuration', `${code}: ${message}`, hint)]
  }
}

async function runningNode(io: Io, version: string): Promise<{ status?: Status; findings: Finding[] }> {
  try {
    const status = shaped(statusShape, await askNode(io, 'status'), 'status')
    const members = shaped(peersShape, await askNode(io, 'peers'), 'peers')
    const { pid, version: theirs } = status.node
    const running =
      theirs === version
        ? ok('node', `runs (process ${pid})`)
        : warn(
            'node',
            `runs version ${theirs}, this is ${version}`,
            'the two may not understand each other',
            'shoal down && shoal up',
          )
    return { status, findings: [running, ...peers(members, status)] }
  } catch (error) {
    if (codeOf(error) === 'ERR_DAEMON_DOWN')
      return { findings: [warn('node', 'is not running', 'cargo runs as without Shoal', 'shoal up')] }
    if (io.signal.aborted) throw error
    const { code, message, hint } = toShoalError(error)
    return { findings: [fail('node', `${code}: ${message}`, hint, 'shoal down && shoal up')] }
  }
}
