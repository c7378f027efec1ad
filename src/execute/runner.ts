import { randomInt, randomUUID } from 'node:crypto'
import { mkdirSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { ShoalError } from '../base/errors.ts'
import {
  type Action,
  encodeAction,
  type Inputs,
  limits as objectLimits,
  type Result,
  rootNames,
} from '../plan/action.ts'
import { linkArgsPlace, recorderName } from '../plan/codegen.ts'
import { hasSourcesWithin } from '../plan/dep-info.ts'
import { nameDiagnostics } from '../plan/diagnostics.ts'
import type { KnownTrees } from '../plan/known-trees.ts'
import { placeRoots, type Root, sortRoots } from '../plan/roots.ts'
import { isSharedLibrary } from '../plan/toolchain-manifest.ts'
import { type Admitted, admit } from './admission.ts'
import type { Blocks } from './blocks.ts'
import { collectOutputs, takeDepInfo, takeFile, withoutIdentity } from './collector.ts'
import { runGuest } from './guest.ts'
import type { InputCache } from './input-cache.ts'
import type { GuestLimits } from './limits.ts'
import { Lines } from './lines.ts'
import { findNeedle, type Needle } from './needles.ts'
import { type Observed, startObserving, takeObservations } from './observed.ts'
import type { MountedToolchain } from './runtime.ts'
import type { SandboxSetup } from './sandbox.ts'
import { type Staged, stageInputs } from './stage.ts'
import type { Standstill } from './standstill.ts'
import type { TreeCache } from './tree-cache.ts'

/** The metadata of a crate, complete while the rest of it still compiles. */
export interface EarlyMetadata {
  name: string
  cid: Result['outputs'][number]['cid']
  size: number
  /** Text of the dep-info, which rustc completes before the metadata; roots by name, empty when none is declared. */
  depInfo: string
  /** What was done by then; undefined when not all of it could be observed. */
  observed: Observed | undefined
}

export interface RunInit {
  action: Action
  inputs: Inputs
  toolchain: MountedToolchain
  /** The library that notes what a program does; undefined, or absent on disk: nothing is observed. */
  observer: string | undefined
  /** The program that rustc is given for a linker; undefined, or absent on disk: what is linked is refused. */
  recorder: string | undefined
  blocks: Blocks
  listings: Pick<KnownTrees, 'of'>
  cache: InputCache
  trees: TreeCache
  /** A directory of its own is made here. */
  workDir: string
  /** Called at the very end with that directory, which nobody uses any more. */
  onDirectoryDone(dir: string): void
  setup: SandboxSetup
  processors: number
  limits: GuestLimits
  clock: Clock
  signal: AbortSignal
  /** What may let it stand still. */
  standstill?: Standstill
  /** Called with the number of the first process of the sandbox. */
  onStarted?(pid: number): void
  /** Called at most once, as soon as the metadata is in the store. */
  onRmeta(rmeta: EarlyMetadata): void
}

export type Outcome =
  /** `observed`: undefined when not all of it could be observed. */
  | { kind: 'ok'; result: Result; observed: Observed | undefined; wallMs: number }
  /** rustc ended with another status than 0. Its words are for logs: only rustc on the builder's machine is shown to people. */
  | { kind: 'failed'; status: number; stderr: string; wallMs: number }

const maxFailureText = 64 << 10
const maxDiagnostics = objectLimits.result / 2

/**
 * Runs one action with nothing but its inputs, and puts what it produced into the store.
 * @throws ShoalError ERR_ADMISSION, ERR_INPUT_MISSING, ERR_LIMIT, ERR_DEADLINE, ERR_OUTPUT, ERR_PATH_BOUND, ERR_SANDBOX,
 *   and what the store throws; the signal's reason when aborted
 */
export async function runAction(init: RunInit): Promise<Outcome> {
  const admitted = admit(init.action)
  const { recorder, action, setup } = init
  const isAlone = setup.kind === 'seatbelt'
  if (isAlone && (admitted.links || action.deps.some(([name]) => isSharedLibrary(name)))) {
    throw new ShoalError('ERR_ADMISSION', 'only libraries without macros are compiled for others on macOS')
  }
  if (isAlone && admitted.depInfo === undefined) {
    throw new ShoalError(
      'ERR_ADMISSION',
      'only what says which sources it was made from is compiled for others on macOS',
    )
  }
  if (admitted.links && (recorder === undefined || !statSync(recorder, { throwIfNoEntry: false })?.isFile())) {
    throw new ShoalError('ERR_OUTPUT', 'there is nothing here that could take the place of a linker')
  }
  // Seatbelt compares the paths that links lead to.
  const dir = join(isAlone ? realpathSync(init.workDir) : init.workDir, randomUUID())
  try {
    return await new Run(init, admitted, dir).run()
  } finally {
    init.onDirectoryDone(dir)
  }
}

class Run {
  readonly #init: RunInit
  readonly #admitted: Admitted
  readonly #dir: string
  /** Where everything lies inside; no file that a crate could know of has such a name. */
  readonly #marker: string
  /** Where its inputs are laid out, and where its outputs come, as seen from outside. */
  readonly #in: string
  readonly #out: string
  readonly #needles: readonly Needle[]
  readonly #lines = new Lines()
  readonly #diagnostics: Buffer[] = []
  readonly #stop = new AbortController()
  #early: Promise<EarlyMetadata> | undefined
  /** Whose the files are that it makes. */
  #user = -1
  /** Where the roots lie inside. */
  #roots: readonly Root[] = []

  constructor(init: RunInit, admitted: Admitted, dir: string) {
    this.#init = init
    this.#admitted = admitted
    this.#dir = dir
    // Digits only: no change of case, no escaping and no mangling hides them.
    const name = Array.from({ length: 4 }, () => `${randomInt(1e7, 1e8)}`).join('')
    const isMounted = init.setup.kind === 'bubblewrap'
    this.#marker = isMounted ? `/shoal-${name}` : join(dir, `shoal-${name}`)
    this.#in = isMounted ? join(dir, 'in') : this.#marker
    this.#out = join(isMounted ? dir : this.#marker, 'out')
    // A toolchain that is where it is, is nobody else's.
    this.#needles = [name, ...(isMounted ? [] : [init.toolchain.sysroot])].map((text) => Buffer.from(text))
    mkdirSync(this.#out, { recursive: true, mode: 0o700 })
    mkdirSync(this.#in, { recursive: true })
  }

  async run(): Promise<Outcome> {
    const { action, inputs, blocks, listings, cache, trees, limits, signal, setup } = this.#init
    const staged = await stageInputs({
      action,
      inputs,
      blocks,
      listings,
      cache,
      trees: setup.kind === 'bubblewrap' ? trees : undefined,
      dir: this.#in,
      maxBytes: limits.inputBytes,
      maxFiles: limits.inputFiles,
      signal,
    })
    try {
      return await this.#runWith(staged)
    } finally {
      staged.release()
    }
  }

  async #runWith(staged: Staged): Promise<Outcome> {
    // Also those that are not laid out: a name left in place would end an argument where its NUL is.
    const inside: Root[] = rootNames.map((name) => ({ name, path: `${this.#marker}/${name}` }))
    const roots = sortRoots(inside)
    this.#roots = roots
    const end = await this.#start(staged, roots).catch(async (error: unknown) => {
      await this.#early?.catch(() => undefined)
      throw error
    })
    const rest = this.#lines.end()
    if (rest.length > 0) this.#diagnostics.push(rest)
    const early = await this.#early
    if (end.status !== 0) {
      const text = Buffer.concat(this.#diagnostics).toString('utf8')
      return { kind: 'failed', status: end.status, stderr: text.slice(0, maxFailureText), wallMs: end.wallMs }
    }
    if (end.stdout.length > 0)
      throw new ShoalError('ERR_OUTPUT', 'it wrote to standard output, which results do not carry')
    const result = await this.#result(roots, early, end.wallMs)
    return { kind: 'ok', result, observed: this.#observed(), wallMs: end.wallMs }
  }

  #start(staged: Staged, roots: readonly Root[]) {
    const { action, toolchain, limits, setup, clock, signal, processors } = this.#init
    const place = (text: string): string => placeRoots(text, roots)
    const at = (name: string): string => `${this.#marker}/${name}`
    const isMounted = setup.kind === 'bubblewrap'
    const sysroot = isMounted ? at('toolchain') : toolchain.sysroot
    const argv = ['--sysroot', sysroot, ...action.argv.map(place)]
    if (!action.argv.some((argument) => argument.startsWith('--out-dir'))) argv.push('--out-dir', at('out'))
    argv.push(...toolchain.remapAt(sysroot))
    const linking = this.#linking()
    argv.push(...linking.argv)
    for (const [root, target] of action.remaps) argv.push('--remap-path-prefix', `${at(root)}=${target}`)
    const env = action.env.map(([name, value]) => [name, place(value)] as const)
    const observing = startObserving(isMounted ? this.#init.observer : undefined, this.#out, this.#marker)
    return runGuest({
      inside: {
        mounts: [...toolchain.runtime.mounts, ...toolchain.mountsAt(sysroot), ...linking.mounts],
        readOnly: [
          ...staged.roots.map((root) => ({ from: join(this.#in, root), to: at(root) })),
          ...staged.mounts.map(({ root, path, from }) => ({
            from,
            to: path === '' ? at(root) : `${at(root)}/${path}`,
          })),
          ...observing.mounts,
          ...toolchain.inPlace,
        ],
        writable: { from: this.#out, to: at('out') },
        cwd: place(action.cwd),
        // Without it a crash of rustc leaves a file in the working directory.
        env: [...env, ...observing.env, ...linking.env, ['RUSTC_ICE', '0']],
        tmpBytes: limits.tmpBytes,
      },
      program: [`${sysroot}/bin/rustc`, ...argv],
      setup,
      startsPrograms: this.#admitted.links,
      optionsFile: join(this.#dir, 'options'),
      outDir: this.#out,
      limits,
      processors,
      clock,
      onUser: (user) => {
        this.#user = user
      },
      signal: AbortSignal.any([signal, this.#stop.signal]),
      standstill: this.#init.standstill,
      onStarted: (pid) => this.#init.onStarted?.(pid),
      onStderr: (chunk) => {
        for (const line of this.#lines.push(chunk)) this.#onLine(line)
      },
    })
  }

  /** What rustc is given for a linker writes down what it is asked for. */
  #linking(): { argv: string[]; env: [string, string][]; mounts: string[] } {
    const { action, recorder } = this.#init
    if (!this.#admitted.links || recorder === undefined) return { argv: [], env: [], mounts: [] }
    const program = `${this.#marker}/linker/${recorderName}`
    const lld = `${this.#marker}/toolchain/lib/rustlib/${action.target}/bin/gcc-ld`
    return {
      argv: ['-C', `linker=${program}`, '-C', `link-arg=${linkArgsPlace}`],
      env: [['SHOAL_LINKER', program]],
      // rustc names the directory of its own linker only where there is one.
      mounts: ['--ro-bind', recorder, program, '--dir', lld],
    }
  }

  #onLine(line: Buffer): void {
    const emitted = artifactOf(line)
    if (emitted === undefined) {
      this.#diagnostics.push(line, newline)
      return
    }
    const name = this.#admitted.metadata
    if (name === undefined || this.#early !== undefined || emitted !== `${this.#marker}/out/${name}`) return
    this.#early = this.#takeMetadata(name)
    // Nothing that comes later can make the result usable again.
    this.#early.catch((error: unknown) => this.#stop.abort(error))
  }

  async #takeMetadata(name: string): Promise<EarlyMetadata> {
    const { blocks, limits, onRmeta } = this.#init
    const options = { needles: this.#needles, blocks, maxBytes: limits.outBytes, guest: this.#user }
    const { cid, size, pathBound } = await takeFile(join(this.#out, name), options)
    if (pathBound) throw pathBoundError(name)
    const depInfoName = this.#admitted.depInfo
    const depInfo =
      depInfoName === undefined
        ? ''
        : await takeDepInfo(join(this.#out, depInfoName), {
            roots: this.#roots,
            maxBytes: limits.outBytes,
            guest: this.#user,
          })
    if (findNeedle(Buffer.from(depInfo), this.#needles)) throw pathBoundError(depInfoName ?? name)
    this.#checkSources(depInfo)
    const rmeta = { name, cid, size, depInfo, observed: this.#observed() }
    onRmeta(rmeta)
    return rmeta
  }

  /** Under seatbelt there is more to be read than what came with the task: what every program of the system needs. */
  #checkSources(depInfo: string): void {
    const { action, setup } = this.#init
    if (setup.kind !== 'seatbelt' || hasSourcesWithin(depInfo, action.cwd)) return
    throw new ShoalError('ERR_OUTPUT', 'made from a file of this machine')
  }

  #observed(): Observed | undefined {
    const events = takeObservations(this.#out)
    return events && { events, roots: this.#roots, marker: this.#marker, links: this.#admitted.links }
  }

  async #result(roots: readonly Root[], early: EarlyMetadata | undefined, wallMs: number): Promise<Result> {
    const { action, blocks, limits } = this.#init
    const { outputs, depInfo, pathBound } = await collectOutputs({
      dir: this.#out,
      outputs: action.outputs,
      needles: this.#needles,
      roots,
      blocks,
      maxBytes: limits.outBytes,
      guest: this.#user,
      taken: early?.cid,
    })
    if (pathBound !== undefined) throw pathBoundError(pathBound)
    this.#checkSources(depInfo)
    const metadata = outputs.find((output) => output.kind === 'metadata')
    const kept = early === undefined || (metadata?.cid.equals(early.cid) === true && depInfo === early.depInfo)
    if (!kept) {
      throw new ShoalError('ERR_OUTPUT', `${early?.name} changed after it was announced`)
    }
    const told = Buffer.concat(this.#diagnostics)
    // Names of roots are shorter than their paths, but escapes may make it longer again: it is looked at twice.
    if (told.length > 2 * maxDiagnostics) throw new ShoalError('ERR_LIMIT', `diagnostics of ${told.length} bytes`)
    const diagnostics = nameDiagnostics(decode(told), roots)
    if (diagnostics === undefined) throw new ShoalError('ERR_OUTPUT', 'standard error holds a NUL')
    if (diagnostics.bound) throw pathBoundError('standard error')
    const stderr = Buffer.from(diagnostics.text)
    if (stderr.length > maxDiagnostics) throw new ShoalError('ERR_LIMIT', `diagnostics of ${stderr.length} bytes`)
    if (findNeedle(stderr, this.#needles)) throw pathBoundError('standard error')
    return {
      v: 2,
      action: encodeAction(action).cid,
      outputs: outputs.map(withoutIdentity),
      stderr: new Uint8Array(stderr),
      depInfo,
      wallMs,
    }
  }
}

const newline = Buffer.from('\n')

/** A path and a few words. Of a longer line a parser might make a hundred times as much memory. */
const maxNotification = 16 << 10

/** The path in rustc's notification that an output is complete; undefined for every other line. */
function artifactOf(line: Buffer): string | undefined {
  if (line.length > maxNotification || line[0] !== 0x7b || !line.includes('"artifact"')) return undefined
  let notification: unknown
  try {
    notification = JSON.parse(line.toString('utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  if (typeof notification !== 'object' || notification === null || !('artifact' in notification)) return undefined
  return typeof notification.artifact === 'string' ? notification.artifact : undefined
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new ShoalError('ERR_OUTPUT', 'standard error is not UTF-8', { cause: error })
  }
}

const pathBoundError = (name: string): ShoalError =>
  new ShoalError('ERR_PATH_BOUND', `${name} holds the path that it was made under`)
