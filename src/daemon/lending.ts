import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Config } from '../base/config.ts'
import type { Logger } from '../base/log.ts'
import type { Environment, ShoalPaths } from '../base/paths.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { KnownTrees } from '../plan/known-trees.ts'
import { mathematics } from '../plan/processor.ts'
import type { BlockStore } from '../store/blocks.ts'
import type { Health } from '../watch/health.ts'
import { Lender } from './lender.ts'
import type { Machine } from './machine.ts'
import type { RerunNeeds } from './rerun.ts'
import type { Sharing } from './sharing.ts'
import type { Supply } from './supply.ts'
import { ToolchainShelf } from './toolchain-shelf.ts'
import { compilerHost, ToolchainSupply } from './toolchain-supply.ts'

export interface LendingParts {
  clock: Clock
  log: Logger
  env: Environment
  health: Health
  machine: Machine
  blocks: BlockStore
  mesh: Mesh
  supply: Supply
  sharing: Pick<Sharing, 'toolchain'>
}

export interface Lending {
  lender: Lender
  toolchains: ToolchainSupply
  /** Runs an action of anybody in the sandbox: for guests and for audits. */
  running: Omit<RerunNeeds, 'log'>
}

/** Builds what compiles for others here: the sandbox, and the toolchains to run in it. */
export async function openLending(
  { clock, log, env, health, machine, blocks, mesh, supply, sharing }: LendingParts,
  { paths, config }: { paths: ShoalPaths; config: Config },
): Promise<Lending> {
  const trees = new KnownTrees()
  const lender = await Lender.open(
    { blocks, listings: trees, clock, log: log.child('lend'), env, health },
    {
      cacheDir: paths.cache,
      rustupHome: env.RUSTUP_HOME || join(homedir(), '.rustup'),
      observer: paths.observer,
      recorder: join(paths.shimDir, 'shoal-rustc'),
      config,
    },
  )
  const shelf = new ToolchainShelf(
    {
      dir: join(paths.cache, 'toolchains'),
      maxBytes: config.cache['toolchains-max-bytes'],
      minFreeBytes: config.cache['min-free-bytes'],
    },
    clock,
  )
  const announce = (digest: string, isHere: boolean): void => sharing.toolchain(digest, isHere)
  const toolchains = new ToolchainSupply(
    { mesh, clock, log: log.child('toolchains'), blocks, supply, machine, lender, shelf, announce },
    { host: compilerHost(process.platform, process.arch), lends: config.lend.slots !== 0 },
  )
  const running: Lending['running'] = {
    bytes: (cid, options) => supply.bytes(cid, options),
    ensure: (cid, size, from, signal) => supply.ensure(cid, size, from, signal),
    trees,
    covered: (toolchain) => lender.covered(toolchain),
    usesEnviron: (library) => lender.usesEnviron(library),
    math: mathematics(),
    run: (action, inputs, options) => {
      toolchains.used(action.toolchain)
      return lender.run(action, inputs, options)
    },
  }
  return { lender, toolchains, running }
}
