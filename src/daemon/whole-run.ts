import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { codeOf } from '../base/errors.ts'
import { collectHere, withoutIdentity } from '../execute/collector.ts'
import type { ReadSet } from '../plan/action.ts'
import { nameDiagnostics } from '../plan/diagnostics.ts'
import type { Invocation } from '../plan/invocation.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { mathematics } from '../plan/processor.ts'
import { sortRoots } from '../plan/roots.ts'
import type { StatDigests } from '../plan/stat-digests.ts'
import type { Trees } from '../plan/trees.ts'
import { LocalView } from '../plan/view.ts'
import { firstDifference, placeOf } from '../recall/evidence.ts'
import { namesIn } from '../recall/read-set.ts'
import { findsFault, widest } from '../recall/said.ts'
import { outputsDigest } from '../recall/signed-claim.ts'
import { withoutArtifacts } from './collect.ts'
import { hashing } from './hashing.ts'
import type { SessionToolchains } from './session-toolchains.ts'
import type { Rerun } from './verdict.ts'
import { runBeside, withOutDir } from './warm-run.ts'
import type { MakeAgain } from './whole-audit.ts'
import { treeAt, unchanged } from './work.ts'

export interface WholeRunInit {
  /** New directory for everything that rustc and the linker write; gone afterwards. */
  scratch: string
  /** As `findBubblewrap` found it: then nothing else can be written to. */
  bubblewrap: string | undefined
  /** Kills the compile at once. */
  signal: AbortSignal
}

/**
 * Has rustc, or what takes its place, and the linker of this machine make a unit once more, as cargo asked for it but for the incremental
 * directory, at the lowest priority, and keeps nothing of it. That what goes into it is still the same is left to the caller.
 * @returns without outputs when a fault was found with its source; undefined when it does not succeed otherwise, or what comes out holds the
 *   name of the directory it was made in
 */
export async function runWhole(
  { planned, invocation }: { planned: PlannedAction; invocation: Invocation },
  { scratch, bubblewrap, signal }: WholeRunInit,
): Promise<Rerun | undefined> {
  const out = join(scratch, 'out')
  const argv = [...withoutIncremental(withoutWidth(withOutDir(invocation.argv, out))), `--diagnostic-width=${widest}`]
  return await runBeside({ ...invocation, argv }, { scratch, bubblewrap, signal, dirs: [out] }, async (ran) => {
    if (!ran.succeeded) {
      const isFaulty = findsFault(ran.stderr, planned.usesMacros)
      return isFaulty ? { outputs: new Uint8Array(), reads: undefined } : undefined
    }
    try {
      // The dep-info names its outputs by their paths.
      const roots = sortRoots([...planned.roots, { name: 'out', path: out }])
      const { outputs, depInfo, found } = await collectHere({
        dir: out,
        outputs: planned.action.outputs,
        search: [basename(scratch)],
        roots,
        blocks: hashing,
      })
      if (found.length > 0) return undefined
      const told = namesIn(depInfo, planned)
      const said = nameDiagnostics(withoutArtifacts(ran.stderr), roots)
      const stderr = said === undefined || said.bound ? {} : { stderr: Buffer.from(said.text) }
      return { outputs: outputsDigest({ outputs: outputs.map(withoutIdentity) }), reads: undefined, told, ...stderr }
    } catch (error) {
      if (codeOf(error) === undefined) throw error
      return undefined
    }
  })
}

function withoutWidth(argv: readonly string[]): string[] {
  return argv.filter(
    (argument, at) => !argument.startsWith('--diagnostic-width') && argv[at - 1] !== '--diagnostic-width',
  )
}

function withoutIncremental(argv: readonly string[]): string[] {
  const isCodegen = (argument: string | undefined): boolean => argument === '-C' || argument === '--codegen'
  const namesIt = (argument: string | undefined): boolean => argument?.startsWith('incremental=') === true
  return argv.filter((argument, at) => {
    if (/^(-C|--codegen=)incremental=/.test(argument)) return false
    return !(namesIt(argument) && isCodegen(argv[at - 1])) && !(isCodegen(argument) && namesIt(argv[at + 1]))
  })
}

export interface WholeAgainNeeds {
  digests: StatDigests
  trees: Trees
  toolchains: Pick<SessionToolchains, 'isStill'>
  bubblewrap(): Promise<string | undefined>
}

/** Makes units again that others have linked, as long as all that went into them is what it was. */
export class WholeAgain {
  readonly #needs: WholeAgainNeeds
  readonly #scratchDir: string
  #bubblewrap: Promise<string | undefined> | undefined

  private constructor(needs: WholeAgainNeeds, scratchDir: string) {
    this.#needs = needs
    this.#scratchDir = scratchDir
  }

  /** @param init scratchDir: nobody else's; what a node that was killed has left there goes */
  static async open(needs: WholeAgainNeeds, { scratchDir }: { scratchDir: string }): Promise<WholeAgain> {
    await rm(scratchDir, { recursive: true, force: true, maxRetries: 5 })
    return new WholeAgain(needs, scratchDir)
  }

  of(planned: PlannedAction, invocation: Invocation): MakeAgain {
    return async (reads, signal) => {
      if (!(await this.#isStill(planned, invocation, reads))) return undefined
      this.#bubblewrap ??= this.#needs.bubblewrap()
      const init = { scratch: join(this.#scratchDir, randomUUID()), bubblewrap: await this.#bubblewrap, signal }
      const made = await runWhole({ planned, invocation }, init)
      return made !== undefined && (await this.#isStill(planned, invocation, reads)) ? made : undefined
    }
  }

  async #isStill(planned: PlannedAction, invocation: Invocation, reads: ReadSet): Promise<boolean> {
    const { digests, trees, toolchains } = this.#needs
    const { env, cwd } = invocation
    const place = placeOf(planned, env, {
      view: new LocalView(digests, env.get('PATH') ?? '', cwd),
      tree: (dir) => treeAt(trees, dir),
      math: mathematics(),
    })
    if ((await firstDifference(reads, place)) !== undefined) return false
    return (await toolchains.isStill(planned, invocation)) && (await unchanged(planned, trees, digests))
  }
}
