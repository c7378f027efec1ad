import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ShoalError } from '../base/errors.ts'
import { defaultLimits } from '../execute/limits.ts'
import type { Read, ReadSet, Result } from '../plan/action.ts'
import { objectsName } from '../plan/codegen.ts'
import { hasSection } from '../plan/elf-sections.ts'
import { type LinkCommand, linkCommand } from '../plan/link-command.ts'
import { copyObject, copyVersionScript, type LinkObjects, readLinkObjects } from '../plan/link-objects.ts'
import { linkedOutputs } from '../plan/normalise.ts'
import type { PlannedAction } from '../plan/plan.ts'
import { tellsPlacePaths, toldBeside } from '../plan/program-paths.ts'
import { bindTo, type Place } from '../recall/evidence.ts'
import { sortedReads, type Unshareable } from '../recall/read-set.ts'
import type { Recalled } from '../recall/recall.ts'
import type { CompileNeeds } from './compile-needs.ts'
import type { ShimLink } from './shim-link.ts'

export type LinkNeeds = Pick<
  CompileNeeds,
  'fileOf' | 'linking' | 'observer' | 'stamp' | 'reads' | 'unchanged' | 'collectLinked' | 'discard'
>

export interface Codegen {
  planned: PlannedAction
  place: Place
  /** What came from away, its outputs in the store. */
  result: Result
  /** What the compile away looked at, found to be the same here. */
  reads: ReadSet
}

/** As long as a lender has for what comes before it. */
const maxSeconds = defaultLimits.wallMs / 1000

/** A linker has no dep-info. */
const noSources = 'linked: \n'

/** Of what the gold linker made: where rustc finds it, it warns that this linker is deprecated. */
const goldNote = '.note.gnu.gold-version'

/** What a unit came to whose code was made elsewhere. */
export interface Linked {
  result: Result
  /** The reason when it cannot be said what the linker looked at: then the result is not kept. */
  reads: ReadSet | Unshareable
}

/** The part of a unit that others would do, where somebody has done it, and whose word that is. @param asked undefined: nobody else is asked */
export async function keptPart(
  lent: PlannedAction,
  place: Place,
  asked: Parameters<CompileNeeds['recall']['mesh']>[2] | undefined,
  recall: Pick<CompileNeeds['recall'], 'own' | 'mesh' | 'whose'>,
): Promise<Recalled | undefined> {
  const own = await recall.own(lent, place)
  if ('result' in own) return { ...own, claims: await recall.whose(lent, own) }
  const theirs = asked === undefined ? undefined : await recall.mesh(lent, place, asked)
  return theirs === undefined || 'refused' in theirs ? undefined : theirs
}

/** What came from away, and of a unit that is linked the rest. @throws as `linkHere`, and then nobody else is asked for it again */
export async function wholeOf(
  codegen: Codegen & { lent: PlannedAction },
  shim: ShimLink,
  needs: LinkNeeds & Pick<CompileNeeds, 'staysHere'>,
): Promise<Linked> {
  const { planned, lent, result, reads } = codegen
  if (lent.key.equals(planned.key)) return { result, reads }
  try {
    const whole = await linkHere(codegen, shim, needs)
    // Made with paths of this place, whether they show in it or not.
    if (!tellsPlacePaths(planned, lent) || typeof whole.reads === 'string') return whole
    const env = [...whole.reads.env, ...toldBeside(planned, lent)].sort(([a], [b]) => (a < b ? -1 : 1))
    return { ...whole, reads: bindTo({ ...whole.reads, env }, codegen.place) }
  } catch (error) {
    if (!shim.signal.aborted) needs.staysHere.add(lent.key, 'linker')
    throw error
  }
}

/**
 * Does the rest of a unit that is linked: the linker of this machine, with objects that a lender made, as a child of the shim.
 * @throws ShoalError ERR_DECODE, ERR_OUTPUT when what came is not fit for a linker here; ERR_UNSUPPORTED when the linker does not
 *   end well and without a word, or rustc would have one; and what the store throws
 */
async function linkHere(codegen: Codegen, shim: ShimLink, needs: LinkNeeds): Promise<Linked> {
  const { planned, result } = codegen
  const outDir = planned.roots.find((root) => root.name === 'out')?.path ?? ''
  const dir = join(outDir, `.shoal-${randomBytes(8).toString('hex')}`)
  await mkdir(dir, { mode: 0o700 })
  try {
    const commands: LinkCommand[] = []
    for (const output of linkedOutputs(planned.args)) {
      commands.push(await layOut(output, { planned, result, dir: join(dir, `${commands.length}`), out: dir }, needs))
    }
    return await link(codegen, { dir, commands }, shim, needs)
  } finally {
    await needs.discard(dir)
  }
}

interface Layout {
  planned: PlannedAction
  result: Result
  /** For the objects. */
  dir: string
  /** For what is linked. */
  out: string
}

/** Reads what a lender says of one output, and lays out what goes into it. */
async function layOut(
  output: string,
  { planned, result, dir, out }: Layout,
  needs: Pick<LinkNeeds, 'fileOf'>,
): Promise<LinkCommand> {
  const came = result.outputs.find(({ name }) => name === objectsName(output))
  const path = came && (await needs.fileOf(came.cid))
  if (path === undefined) throw new ShoalError('ERR_OUTPUT', 'objects without a file')
  const given: LinkObjects = readLinkObjects(path)
  const command = linkCommand(given, { planned, output, dir, out })
  await mkdir(dir, { mode: 0o700 })
  for (const [at, file] of given.files.entries()) {
    const [object, script] = [command.objects.get(at), command.scripts.get(at)]
    if (object !== undefined) copyObject(path, file, object, planned.action.target)
    else if (script !== undefined) copyVersionScript(path, file, script)
  }
  return command
}

async function link(
  { planned, place, result, reads }: Codegen,
  { dir, commands }: { dir: string; commands: readonly LinkCommand[] },
  shim: ShimLink,
  needs: LinkNeeds,
): Promise<Linked> {
  let all: ReadSet | Unshareable = reads
  for (const [at, { program, args, path }] of commands.entries()) {
    // A directory of its own for the notes of each.
    const notes = join(dir, `notes-${at}`)
    await mkdir(notes, { mode: 0o700 })
    const since = needs.stamp()
    const order = { dir: notes, observer: needs.observer(), program, args, path, seconds: maxSeconds }
    const ran = await needs.linking.take((letGo) => shim.link(order, letGo), shim.signal)
    if (ran.code !== 0 || ran.stdout.length + ran.stderr.length > 0) {
      // Its own words are for the build in which rustc calls it.
      throw new ShoalError('ERR_UNSUPPORTED', `the linker ended with ${ran.code}, or had something to say`)
    }
    const looked = await needs.reads(planned, place, { privateDir: notes, productsDir: dir, depInfo: noSources, since })
    all = typeof all === 'string' ? all : typeof looked === 'string' ? looked : merge(all, looked)
  }
  for (const output of linkedOutputs(planned.args)) {
    if (await hasSection(join(dir, output), goldNote))
      throw new ShoalError('ERR_UNSUPPORTED', 'rustc has something to say about what was linked')
  }
  const { outputs, bind } = await needs.collectLinked(planned, dir)
  // The libraries were read now, not when the unit was planned.
  if (typeof all !== 'string' && !(await needs.unchanged(planned))) all = 'source-changed'
  const made = new Map([...result.outputs, ...outputs].map((output) => [output.name, output]))
  return {
    result: {
      ...result,
      action: planned.key,
      outputs: planned.action.outputs.flatMap(([name, kind]) => {
        const output = kind === 'dep-info' ? undefined : made.get(name)
        return output === undefined ? [] : [output]
      }),
    },
    reads: typeof all !== 'string' && bind ? bindTo(all, place) : all,
  }
}

/** What a compile in two steps looked at; the reason when they saw something differently. */
function merge(first: ReadSet, second: ReadSet): ReadSet | Unshareable {
  const reads = new Map<string, Read>()
  const env = new Map(first.env)
  for (const read of [...first.reads, ...second.reads]) {
    const known = reads.get(`${read[0]} ${read[1]}`)
    if (known !== undefined && known[2]?.toString() !== read[2]?.toString()) return 'source-changed'
    reads.set(`${read[0]} ${read[1]}`, read)
  }
  for (const [name, value] of second.env) {
    if (env.has(name) && env.get(name) !== value) return 'source-changed'
    env.set(name, value)
  }
  return { reads: sortedReads([...reads.values()]), env: [...env].sort(([a], [b]) => (a < b ? -1 : 1)) }
}
