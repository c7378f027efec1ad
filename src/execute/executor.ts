import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Environment } from '../base/paths.ts'
import type { Action, Inputs } from '../plan/action.ts'
import { KnownTrees } from '../plan/known-trees.ts'
import { isUnchanged, type Toolchain } from '../plan/toolchain.ts'
import type { Blocks } from './blocks.ts'
import { ControlGroups } from './control-groups.ts'
import { firstUnreadable, letRead } from './guest-users.ts'
import { InputCache } from './input-cache.ts'
import { defaultLimits, type GuestLimits } from './limits.ts'
import { type Probed, probe, type Tier, tryToolchain } from './probe.ts'
import { removeTree } from './remove-tree.ts'
import { type EarlyMetadata, type Outcome, runAction } from './runner.ts'
import { type MountedToolchain, prepareToolchain } from './runtime.ts'
import type { SandboxSetup } from './sandbox.ts'
import { Standstill } from './standstill.ts'
import { TreeCache } from './tree-cache.ts'

export interface ExecutorNeeds {
  blocks: Blocks
  /** Default: its own. */
  listings?: Pick<KnownTrees, 'of'>
  clock: Clock
  log: Logger
  /** `PATH` says where bubblewrap is looked for. */
  env: Environment
}

export interface ExecutorInit {
  /** Belongs to the executor alone; emptied at start. On a file system with room for inputs and outputs. */
  workDir: string
  /** Changes to `defaultLimits`. */
  limits?: Partial<GuestLimits>
  /** The library that notes what a compile does; need not exist (yet). Default: nothing is observed. */
  observer?: string
  /** The program that takes the place of a linker; need not exist (yet). Default: nothing that is linked is compiled. */
  recorder?: string
  /** Whether guests get only what nobody else wants of processor and disk. Default: they get less. */
  background?: boolean
  /** How many processors the threads of one compile may keep busy. */
  processors: number
  /** Default: this Node.js on this system. */
  node?: string
  platform?: string
  arch?: string
  /** See `ProbeInit`. */
  seatbelt?: string
}

export interface ExecuteOptions {
  action: Action
  inputs: Inputs
  /** Installed here, with the digest and target of the action. */
  toolchain: Toolchain
  signal: AbortSignal
  limits?: Partial<GuestLimits>
  /** Takes the place of the executor's own. */
  observer?: string
  /** Called with the number of the first process of the sandbox. */
  onStarted?(pid: number): void
  onRmeta(rmeta: EarlyMetadata): void
}

/** Directories of finished compiles that may wait for their removal before the next compile does. */
const maxRemovals = 16

/** Runs actions of other nodes, each in a sandbox of its own. */
export class Executor {
  readonly #needs: ExecutorNeeds
  readonly #init: ExecutorInit
  readonly #listings: Pick<KnownTrees, 'of'>
  readonly #cache: InputCache
  readonly #trees: TreeCache
  /** Guests stand still while it is held. */
  readonly standstill = new Standstill()
  readonly #removals = new Set<Promise<void>>()
  readonly #toolchains = new Map<string, Promise<MountedToolchain>>()
  #groups: ControlGroups | string = 'not started'
  #probed: Probed = { tier: 'none', reason: 'not started' }

  constructor(needs: ExecutorNeeds, init: ExecutorInit) {
    this.#needs = needs
    this.#init = init
    this.#listings = needs.listings ?? new KnownTrees()
    this.#cache = new InputCache(join(init.workDir, 'inputs'), needs.blocks)
    this.#trees = new TreeCache(join(init.workDir, 'trees'), needs.blocks)
  }

  /** What the last probe found. */
  get tier(): Tier {
    return this.#probed.tier
  }

  /** Why the tier is not a better one. */
  get reason(): string {
    return this.#probed.reason
  }

  /** Whether it can be given what a linker makes. */
  get links(): boolean {
    return this.#probed.tier !== 'none' && this.#probed.setup.kind === 'bubblewrap'
  }

  /** Empties the work directory and probes. Never throws for want of a sandbox: then the tier is `none`. */
  async start(): Promise<void> {
    // This ends what may be left of a node that was killed, and could still write there.
    if ((this.#init.platform ?? process.platform) === 'linux')
      this.#groups = await ControlGroups.open(this.#init.background ?? false)
    await removeTree(this.#init.workDir)
    await mkdir(this.#init.workDir, { recursive: true, mode: 0o700 })
    await this.#cache.start()
    await this.#trees.start()
    await this.probe()
  }

  /** Tries the sandbox again, as after a resume; its tier may be another one then. */
  async probe(): Promise<Tier> {
    const {
      workDir,
      background = false,
      node = process.execPath,
      platform = process.platform,
      arch = process.arch,
      seatbelt,
    } = this.#init
    const known = arch === 'x64' || arch === 'arm64' ? arch : undefined
    const { env, clock, log } = this.#needs
    const groups = this.#groups
    const signal = new AbortController().signal
    const before = this.#probed
    this.#probed = await probe({
      ...{ workDir, env, platform, arch: known },
      ...{ node, background, groups, clock, signal },
      ...(seatbelt !== undefined && { seatbelt }),
    })
    if (before.tier !== 'none') await before.setup.launchers.close()
    log.info('sandbox probed', { tier: this.tier, reason: this.reason })
    return this.tier
  }

  /**
   * Makes a toolchain ready ahead of its first use, and shows that it runs inside.
   * @throws ShoalError ERR_SANDBOX when the tier is `none`, ERR_TOOLCHAIN when it does not run
   */
  async prepare(toolchain: Toolchain): Promise<void> {
    await this.#mounted(toolchain)
  }

  /** It may be changed or removed; it is made ready anew before it is used again. */
  forget(toolchain: string): void {
    this.#toolchains.delete(toolchain)
  }

  /**
   * Runs one action.
   * @throws ShoalError ERR_SANDBOX when the tier is `none`; ERR_TOOLCHAIN when the toolchain is not the action's or was
   *   changed since it was identified; and what `runAction` throws
   */
  async run(options: ExecuteOptions): Promise<Outcome> {
    const { action, toolchain, signal } = options
    const probed = this.#usable()
    if (action.toolchain !== toolchain.digest || action.target !== toolchain.target) {
      throw new ShoalError('ERR_TOOLCHAIN', `the action is for ${action.target} of another toolchain`)
    }
    const mounted = await this.#mounted(toolchain)
    if (this.#removals.size >= maxRemovals) await Promise.race(this.#removals)
    signal.throwIfAborted()
    this.#check(toolchain)
    const observer = options.observer ?? this.#init.observer
    const { recorder } = this.#init
    if (isOthers(probed.setup)) {
      for (const path of [observer, recorder]) if (path !== undefined && existsSync(path)) letRead(path)
    }
    const outcome = await runAction({
      action,
      inputs: options.inputs,
      toolchain: mounted,
      observer,
      recorder,
      blocks: this.#needs.blocks,
      listings: this.#listings,
      cache: this.#cache,
      trees: this.#trees,
      workDir: this.#init.workDir,
      onDirectoryDone: (dir) => this.#remove(dir),
      setup: probed.setup,
      processors: this.#init.processors,
      limits: { ...defaultLimits, ...this.#init.limits, ...options.limits },
      clock: this.#needs.clock,
      signal,
      standstill: this.standstill,
      onStarted: (pid) => options.onStarted?.(pid),
      onRmeta: options.onRmeta,
    })
    // Updated meanwhile: nobody can say any more what made this.
    this.#check(toolchain)
    return outcome
  }

  /** Settles when the directories of all finished compiles are gone. */
  async idle(): Promise<void> {
    while (this.#removals.size > 0) await Promise.all(this.#removals)
    await this.#trees.idle()
  }

  /** When no compile runs any more. */
  async stop(): Promise<void> {
    await this.idle()
    if (this.#probed.tier !== 'none') await this.#probed.setup.launchers.close()
    if (typeof this.#groups !== 'string') await this.#groups.close()
  }

  /** Behind the result's back: on a busy disk, removing the inputs takes longer than collecting the outputs. */
  #remove(dir: string): void {
    const removal = removeTree(dir).catch((error: unknown) => {
      this.#needs.log.warn('work directory not removed', { dir, code: codeOf(error) })
    })
    const tracked = removal.finally(() => this.#removals.delete(tracked))
    this.#removals.add(tracked)
  }

  #check(toolchain: Toolchain): void {
    if (isUnchanged(toolchain)) return
    this.#toolchains.delete(toolchain.digest)
    throw new ShoalError('ERR_TOOLCHAIN', `${toolchain.sysroot} was changed since it was identified`)
  }

  #usable() {
    if (this.#probed.tier === 'none') throw new ShoalError('ERR_SANDBOX', this.#probed.reason)
    return this.#probed
  }

  async #mounted(toolchain: Toolchain): Promise<MountedToolchain> {
    const known = this.#toolchains.get(toolchain.digest)
    if (known !== undefined) return await known
    const coming = this.#mount(toolchain)
    this.#toolchains.set(toolchain.digest, coming)
    try {
      return await coming
    } catch (error) {
      this.#toolchains.delete(toolchain.digest)
      throw error
    }
  }

  async #mount(toolchain: Toolchain): Promise<MountedToolchain> {
    const { setup } = this.#usable()
    const dir = join(this.#init.workDir, 'toolchains', toolchain.digest)
    await mkdir(dir, { recursive: true, mode: 0o700 })
    const files = toolchain.files.map(({ path }) => path)
    const closed = isOthers(setup) ? firstUnreadable(toolchain.sysroot, files) : undefined
    if (closed !== undefined) throw new ShoalError('ERR_TOOLCHAIN', `guests are not root and cannot read ${closed}`)
    const mounted = await prepareToolchain(toolchain, join(dir, 'runtime'), setup.kind)
    const { clock } = this.#needs
    await tryToolchain(mounted, { dir, setup, clock, says: toolchain })
    return mounted
  }
}

/** Whether guests are other users than this process. */
const isOthers = (setup: SandboxSetup): boolean => setup.kind === 'bubblewrap' && setup.asRoot
