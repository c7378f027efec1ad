import { existsSync } from 'node:fs'
import { freemem } from 'node:os'
import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import type { Config } from '../base/config.ts'
import { codeOf, ShoalError, toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Environment } from '../base/paths.ts'
import type { Blocks } from '../execute/blocks.ts'
import { type ExecuteOptions, Executor } from '../execute/executor.ts'
import type { Outcome } from '../execute/runner.ts'
import type { LendTerms } from '../market/lender-events.ts'
import type { Action, Inputs } from '../plan/action.ts'
import { readDynamic } from '../plan/elf.ts'
import type { Invocation } from '../plan/invocation.ts'
import type { KnownTrees } from '../plan/known-trees.ts'
import type { ToolchainId } from '../plan/plan.ts'
import { StatMemo } from '../plan/stat-memo.ts'
import { type Toolchain, Toolchains } from '../plan/toolchain.ts'
import type { ClaimTier } from '../recall/signed-claim.ts'
import type { Health } from '../watch/health.ts'
import { Tier } from '../wire/generated/market_pb.ts'
import { measureSpeed } from './speed.ts'

export interface LenderNeeds {
  blocks: Blocks
  listings: Pick<KnownTrees, 'of'>
  clock: Clock
  log: Logger
  env: Environment
  health: Health
}

export interface LenderInit {
  /** Toolchain digests are remembered here. */
  cacheDir: string
  /** Where rustup keeps its toolchains. */
  rustupHome: string
  /** The library that notes what a compile does; need not exist. */
  observer: string
  /** The program that takes the place of a linker; need not exist. */
  recorder: string
  config: Config
}

/** What the owner of this machine does not need. */
export interface OwnerLeaves {
  /** Guests. */
  room: number
  onBattery: boolean
  /** Why there is not more room; empty when nothing limits it. */
  reason: string
}

/** Of the reference machine, and of one that has not measured its own yet. */
const usualSpeed = 1000
const tiers = { none: Tier.NONE, watched: Tier.WATCHED, confined: Tier.CONFINED } as const
const MiB = 1 << 20

/** What this machine can compile for others: its toolchains and its sandbox. */
export class Lender {
  readonly #needs: LenderNeeds
  readonly #toolchains: Toolchains
  readonly #executor: Executor
  readonly #rustupHome: string
  readonly #observer: string
  readonly #recorder: string
  readonly #ready = new Map<string, Toolchain>()
  /** Compiles that run, by toolchain. */
  readonly #running = new Map<string, number>()
  readonly #covered = new Map<string, ReadonlySet<string>>()
  #terms: LendTerms = { ...noTerms }
  #isHeld = false
  #isTried = false
  /** One look at the sandbox after the other. */
  #tried: Promise<unknown> = Promise.resolve()
  #speedPermille = usualSpeed
  #stopMeasuring: (() => void) | undefined
  #owner: OwnerLeaves = { room: Number.MAX_SAFE_INTEGER, onBattery: false, reason: '' }

  private constructor(needs: LenderNeeds, init: LenderInit, memo: StatMemo) {
    this.#needs = needs
    this.#rustupHome = init.rustupHome
    this.#observer = init.observer
    this.#recorder = init.recorder
    this.#toolchains = new Toolchains({ memo, clock: needs.clock })
    this.#executor = new Executor(needs, {
      workDir: join(init.cacheDir, 'guests'),
      observer: init.observer,
      recorder: init.recorder,
      processors: 1,
      background: init.config.lend.yield,
      limits: { memoryBytes: init.config.lend['memory-mib'] * MiB },
    })
  }

  static async open(needs: LenderNeeds, init: LenderInit): Promise<Lender> {
    const memo = await StatMemo.open(join(init.cacheDir, 'toolchains.json'), () => needs.clock.wall())
    return new Lender(needs, init, memo)
  }

  /**
   * Tries the sandbox and every installed toolchain in it. Takes a second or two the first time.
   * @returns the installed toolchains, ready or not
   */
  async start(): Promise<Toolchain[]> {
    this.#stopMeasuring = measureSpeed(this.#needs.clock, (permille) => {
      this.#speedPermille = permille
      this.#terms = this.#newTerms()
    })
    try {
      await this.#executor.start()
      return await this.#afterProbe()
    } finally {
      this.#isTried = true
    }
  }

  /** Whether it is known by now what can be run here. */
  get isTried(): boolean {
    return this.#isTried
  }

  /** Tries the sandbox once more: while the machine slept, or was updated, it may have become another one. Never throws. */
  tryAgain(): Promise<unknown> {
    if (!this.#isTried) return this.#tried
    this.#tried = this.#tried.then(async () => {
      try {
        await this.#executor.probe()
        await this.#afterProbe()
      } catch (error) {
        this.#needs.log.warn('sandbox not tried again', { message: toShoalError(error).message })
      }
    })
    return this.#tried
  }

  /** @returns the installed toolchains, ready or not */
  async #afterProbe(): Promise<Toolchain[]> {
    this.#terms = this.#newTerms()
    if (this.#executor.tier === 'none') {
      this.#needs.health.raise('ERR_SANDBOX', this.#executor.reason, { lasting: true })
      return await this.#toolchains.list(this.#rustupHome)
    }
    this.#needs.health.clear('ERR_SANDBOX')
    return await this.#makeReady()
  }

  async #makeReady(): Promise<Toolchain[]> {
    const installed = await this.#toolchains.list(this.#rustupHome)
    for (const toolchain of installed) {
      if (this.#ready.has(toolchain.digest)) continue
      try {
        await this.#executor.prepare(toolchain)
        this.#ready.set(toolchain.digest, toolchain)
        this.#terms = this.#newTerms()
      } catch (error) {
        const { message } = toShoalError(error)
        this.#needs.log.warn('toolchain not lent', { sysroot: toolchain.sysroot, message })
      }
    }
    return installed
  }

  /** Whether units of this toolchain can be compiled here. */
  has(digest: string): boolean {
    return this.#ready.has(digest)
  }

  /** Whether there is a sandbox. */
  get isolates(): boolean {
    return this.#executor.tier !== 'none'
  }

  isBusy(digest: string): boolean {
    return this.#running.has(digest)
  }

  /**
   * Lends with a toolchain that came from other members. Nothing of it ever runs outside of the sandbox, nor for this node's user.
   * @param sysroot holds the files that the manifest names and nothing else
   * @throws ShoalError ERR_TOOLCHAIN when something else lies there or it does not run, ERR_SANDBOX, ERR_DECODE
   */
  async adopt(sysroot: string, manifest: Uint8Array): Promise<Toolchain> {
    const toolchain = await this.#toolchains.fetched(sysroot, manifest)
    await this.#executor.prepare(toolchain)
    this.#ready.set(toolchain.digest, toolchain)
    this.#terms = this.#newTerms()
    return toolchain
  }

  /** Does not lend with it any more. */
  drop(digest: string): void {
    this.#ready.delete(digest)
    this.#covered.delete(digest)
    this.#executor.forget(digest)
    this.#terms = this.#newTerms()
  }

  get lending(): { tier: Tier; reason: string; owner: string; toolchains: number } {
    const { tier, reason } = this.#executor
    return { tier: tiers[tier], reason, owner: this.#owner.reason, toolchains: this.#ready.size }
  }

  /** How what is compiled here for others is kept apart. */
  get claimTier(): ClaimTier {
    const { tier } = this.#executor
    if (tier === 'none') throw new ShoalError('ERR_SANDBOX', this.#executor.reason)
    return tier
  }

  terms(): LendTerms {
    return this.#terms
  }

  /** How many guests the owner of this machine leaves room for. */
  leave(owner: OwnerLeaves): void {
    this.#owner = owner
    this.#terms = this.#newTerms()
  }

  /** Whether no more guests come; those that are there stay. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld
    this.#terms = this.#newTerms()
  }

  /** The toolchain behind an invocation; undefined when it cannot be identified. */
  async toolchain(invocation: Invocation, target: string | undefined): Promise<ToolchainId | undefined> {
    const { rustc, env, cwd } = invocation
    try {
      const { sysroot, host } = await this.#toolchains.resolve(rustc, Object.fromEntries(env), cwd)
      const { digest, files } = await this.#toolchains.identify(sysroot, target)
      return { digest, host, sysroot, covered: this.#coveredBy(digest, files) }
    } catch (error) {
      const { code, message } = toShoalError(error)
      if (code !== 'ERR_TOOLCHAIN') throw error
      this.#needs.log.info('toolchain not identified', { rustc, message })
      return undefined
    }
  }

  /** The files that the digest of a toolchain is over; empty when it is not ready here. */
  covered(digest: string): ReadonlySet<string> {
    const toolchain = this.#ready.get(digest)
    return toolchain === undefined ? new Set() : this.#coveredBy(digest, toolchain.files)
  }

  /** Whether what a compile does can be observed here. */
  observes(): boolean {
    return existsSync(this.#observer)
  }

  /** Whether a library that is in the store can read the environment as a whole; true when that cannot be told. */
  async usesEnviron(library: CID): Promise<boolean> {
    const path = await this.#needs.blocks.path(library)
    if (path === undefined) return true
    try {
      return (await readDynamic(path))?.usesEnviron !== false
    } catch (error) {
      if (codeOf(error) === undefined) throw error
      return true
    }
  }

  #coveredBy(digest: string, files: Toolchain['files']): ReadonlySet<string> {
    const known = this.#covered.get(digest) ?? new Set(files.flatMap(({ path }) => withParents(path)))
    this.#covered.set(digest, known)
    return known
  }

  /** @throws ShoalError ERR_TOOLCHAIN when the action's is not ready here, and what the executor throws */
  async run(
    action: Action,
    inputs: Inputs,
    options: Pick<ExecuteOptions, 'signal' | 'observer' | 'onStarted' | 'onRmeta'>,
  ): Promise<Outcome> {
    const toolchain = this.#ready.get(action.toolchain)
    if (toolchain === undefined) throw new ShoalError('ERR_TOOLCHAIN', 'not here')
    const { digest } = toolchain
    this.#running.set(digest, (this.#running.get(digest) ?? 0) + 1)
    try {
      return await this.#executor.run({ action, inputs, toolchain, ...options })
    } catch (error) {
      // Its files have changed, as after `rustup update`: it is no longer what the offers say.
      if (codeOf(error) === 'ERR_TOOLCHAIN') {
        this.drop(digest)
        void this.#makeReady()
      }
      throw error
    } finally {
      const left = (this.#running.get(digest) ?? 1) - 1
      if (left > 0) this.#running.set(digest, left)
      else this.#running.delete(digest)
    }
  }

  /** Guests stop at once and go on where they were. */
  stand(still: boolean): void {
    if (still) this.#executor.standstill.hold()
    else this.#executor.standstill.letGo()
  }

  /** At the end: settles when nothing of a guest is left. */
  async close(): Promise<void> {
    this.#stopMeasuring?.()
    await this.#tried
    await this.#executor.stop()
  }

  #newTerms(): LendTerms {
    const [first] = this.#ready.values()
    return {
      tier: tiers[this.#executor.tier],
      host: first?.host ?? '',
      toolchains: this.#isHeld ? [] : [...this.#ready.keys()],
      speedPermille: this.#speedPermille,
      memoryFreeMib: Math.floor(freemem() / MiB),
      onBattery: this.#owner.onBattery,
      links: this.#executor.links && existsSync(this.#recorder),
      room: this.#owner.room,
    }
  }
}

/** Lends nothing. */
export const noTerms: LendTerms = {
  tier: Tier.NONE,
  host: '',
  toolchains: [],
  speedPermille: usualSpeed,
  memoryFreeMib: 0,
  onBattery: false,
  links: false,
  room: 0,
}

/** `a/b/c`, `a/b` and `a`. */
function withParents(path: string): string[] {
  const parts = path.split('/')
  return parts.map((_, at) => parts.slice(0, at + 1).join('/'))
}
