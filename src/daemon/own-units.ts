import { basename, dirname, join } from 'node:path'
import type { Datastore } from 'interface-datastore'
import type { Clock } from '../base/clock.ts'
import type { Config } from '../base/config.ts'
import type { ShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Environment, ShoalPaths } from '../base/paths.ts'
import type { Market, Task } from '../market/driver.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { driverDigest } from '../plan/driver.ts'
import type { Invocation } from '../plan/invocation.ts'
import { type PlanNeeds, type Planned, plan } from '../plan/plan.ts'
import { mathematics, processorName } from '../plan/processor.ts'
import type { Root } from '../plan/roots.ts'
import { StatDigests } from '../plan/stat-digests.ts'
import { type DigestedTree, Trees } from '../plan/trees.ts'
import { LocalView } from '../plan/view.ts'
import { firstDifference, placeOf } from '../recall/evidence.ts'
import { mayAskOthers, policiesOf, readPolicy, takesAnyWord } from '../recall/policy.ts'
import type { Recall } from '../recall/recall.ts'
import type { BlockStore } from '../store/blocks.ts'
import { place, placeBytes } from '../store/checkout.ts'
import type { ClosureStore } from '../store/closures.ts'
import { createSubjectStore } from '../store/subjects.ts'
import type { ProcessTable } from '../watch/processes.ts'
import type { Sessions } from '../watch/sessions.ts'
import { hexOf } from '../wire/cid.ts'
import { cargoEnvironments, cargoPlaces, lockedBy, workingDirectory } from './cargo-process.ts'
import { Causes } from './causes.ts'
import { collectLinked, collectResult } from './collect.ts'
import { compile } from './compile.ts'
import type { CompileNeeds, Lent } from './compile-needs.ts'
import { EditedUnits } from './edited.ts'
import type { Gifts } from './gifts.ts'
import { Learnt } from './learnt.ts'
import { Leftovers } from './leftovers.ts'
import type { Lender } from './lender.ts'
import { LockOrder } from './lock-order.ts'
import { Looks } from './looks.ts'
import { bootId, type Machine } from './machine.ts'
import { declaredReads, readsKeys, readsOfCompile } from './observed.ts'
import type { ObserverHere } from './observer-here.ts'
import { openScripts } from './own-scripts.ts'
import { Packs } from './packs.ts'
import type { PrivateUnits } from './private-units.ts'
import { KnownReach } from './reach.ts'
import { RecentTrees } from './recent-trees.ts'
import type { Scripts } from './scripts.ts'
import { SessionToolchains } from './session-toolchains.ts'
import type { Sharing } from './sharing.ts'
import { StaysHere } from './stays-here.ts'
import type { Supply } from './supply.ts'
import { ThinArchives } from './thin-archives.ts'
import type { Trust } from './trust.ts'
import { Turns } from './turns.ts'
import { unitTrust } from './unit-trust.ts'
import { stayingTask, Units } from './units.ts'
import { Warmer } from './warm.ts'
import { findBubblewrap } from './warm-run.ts'
import { WholeAgain } from './whole-run.ts'
import { FileClock, treeAt, unchanged, Works } from './work.ts'
import { WorkspaceTrust } from './workspace-trust.ts'

export interface UnitParts {
  clock: Clock
  log: Logger
  env: Environment
  trouble(error: ShoalError): void
  machine: Machine
  /** No cargo is at work and no unit in flight here. */
  isQuiet(): boolean
  /** Goes into every action key. */
  salt: string
  blocks: BlockStore
  closures: ClosureStore
  datastore: Datastore
  recall: Recall
  market: Market
  mesh: Mesh
  supply: Supply
  sharing: Sharing
  gifts: Gifts
  privateUnits: PrivateUnits
  lender: Lender
  observer: ObserverHere
  trust: Trust
  sessions: Sessions
  processes: ProcessTable
}

/**
 * Builds what the units of this node's own builds need, of all rooms.
 * @param closing is given what there is to be closed
 * @throws ShoalError ERR_STORE
 */
export async function openUnits(
  parts: UnitParts,
  { paths, config, isOpen }: { paths: ShoalPaths; config: Config; isOpen: boolean },
  closing: (() => Promise<void>)[],
): Promise<{ units: Units; warmer: Warmer; scripts: Scripts }> {
  const { clock, log, env, trouble, machine, isQuiet, salt, blocks, closures, datastore, recall } = parts
  const { market, mesh, supply, sharing, gifts, privateUnits, lender, observer, trust, sessions, processes } = parts
  const digests = await StatDigests.open({
    file: join(paths.cache, 'digests'),
    boot: bootId(),
    clock,
    onTrouble: trouble,
  })
  closing.push(() => digests.save())
  const trees = new Trees(digests)
  const reach = new KnownReach(closures, digests)
  const toolchains = new SessionToolchains((invocation, target) => lender.toolchain(invocation, target), clock)
  const planNeeds: PlanNeeds = {
    digests,
    trees,
    reach,
    toolchain: (invocation, target) => toolchains.of(invocation, target),
    cargoEnvironment: cargoEnvironments(processes),
    driver: (path, sysroot) => driverDigest(path, sysroot, digests),
    processor: () => processorName(),
  }
  const inFlight: CompileNeeds['inFlight'] = new Map()
  const staysHere = new StaysHere()
  const linking = new Turns(config.slots)
  const looks = new Looks(clock)
  const leftovers = new Leftovers({ clock, log: log.child('compile') })
  const again = await WholeAgain.open(
    { digests, trees, toolchains, bubblewrap: () => findBubblewrap(env) },
    { scratchDir: join(paths.cache, 'again') },
  )
  const works = new Works(
    trees,
    { thin: new ThinArchives(blocks, digests), packs: new Packs(blocks), trees: new RecentTrees(trees, clock) },
    staysHere,
  )
  const learnt = new Learnt({ datastore, log: log.child('learnt') })
  const order = new LockOrder()
  /** For lenders that have no Rust, and so have not built one. */
  const lentObserver = async (): Promise<Task['observer']> => {
    const path = observer.path()
    if (path === '') return undefined
    const { cid, size } = await digests.digest(path)
    blocks.lend(cid, path)
    return { cid: cid.bytes, bytes: size }
  }
  /** Of each build, where its cargo puts what people look for. */
  const seenAt = new WeakMap<Uint8Array, readonly string[]>()
  /** Crates of which it was said that a secret keeps them here. */
  const warned = new Set<string>()
  const math = mathematics()
  const fileClock = new FileClock(join(paths.state, 'clock'))
  closing.push(async () => fileClock.close())
  const edited = new EditedUnits(clock)
  const warmer = await Warmer.open(
    {
      clock,
      log: log.child('warm'),
      machine,
      env,
      isQuiet,
      isUnchanged: (planned) => unchanged(planned, trees, digests),
      isEdited: (dir) => edited.isChanged(dir),
    },
    { scratchDir: join(paths.cache, 'warm'), enabled: config.build['warm-incremental'] },
  )
  closing.push(() => warmer.stop())
  const subjects = createSubjectStore({ datastore, log })
  const policy = readPolicy(config.trust.policy ?? (isOpen ? 'strict' : 'team')) ?? { kind: 'own' }
  const workspaces = new WorkspaceTrust(policy, log.child('trust'))
  const holdsPrivate = (lent: Lent | undefined): boolean =>
    lent !== undefined && treesOf(lent).some((tree) => privateUnits.isAmong(tree))
  const nameOf = (peer: string): string => mesh.peers().find((view) => view.peerId === peer)?.name || peer
  const scripts = await openScripts(
    {
      ...parts,
      digests,
      toolchain: planNeeds.toolchain,
      cargoEnvironment: planNeeds.cargoEnvironment,
      processor: planNeeds.processor,
      subjects,
      policies: (build, { cargoPid, cwd }) => workspaces.of(build, () => placesOf(cargoPid, cwd)),
      nameOf,
      stamp: () => fileClock.now(),
    },
    { paths, alwaysRun: config.build['always-run'] },
  )
  const causes = new Causes({
    subjects,
    blocks,
    trees,
    inputsOf: (planned) => works.lentOf(planned)?.inputs,
    log: log.child('causes'),
  })
  const units = new Units({
    sessions,
    market: {
      building: (build, isOpen) => {
        market.building(build, isOpen)
        if (isOpen) return
        sharing.buildEnded(build)
        order.ended(build)
        void learnt.ended(build)
      },
    },
    cargoRuns: (pid) => processes.identify(pid) !== undefined,
    nameOf,
    compile: async (shim, build, over) => {
      const { cargoPid, cwd } = shim.invocation
      const policies = await workspaces.of(Buffer.from(build).toString('hex'), () => placesOf(cargoPid, cwd))
      // Asked once: at the end of a build its cargo is gone.
      const seen = seenAt.get(build) ?? lockedBy(cargoPid)
      seenAt.set(build, seen)
      // Of this one unit; until it is known nothing leaves.
      let isPrivate: boolean | undefined
      let isLent = false
      let hasReadKeys = false
      let roots: readonly Root[] = []
      const rank = await order.rank(build, () => placesOf(cargoPid, cwd), shim.invocation)
      const inTurn = <T>(work: () => Promise<T>): Promise<T> => looks.take(work, shim.signal, rank)
      const judge = (planned: Planned): Promise<boolean> =>
        privateUnits.judge(planned, shim.invocation, (path) => reach.sourceOf(path))
      const placeHere: CompileNeeds['placeOf'] = (planned, variables) =>
        placeOf(planned, variables, {
          view: new LocalView(digests, variables.get('PATH') ?? '', shim.invocation.cwd),
          tree: (dir) => treeAt(trees, dir),
          math,
        })
      return await blocks.leasing(() =>
        compile(shim, {
          over,
          plan: (invocation) =>
            inTurn(async () => {
              const planned = await plan(invocation, salt, planNeeds)
              await learnt.asked(build, () => directoryOf(invocation), planned, invocation.env)
              isPrivate = await judge(planned)
              if (!planned.shareable) {
                if (planned.reason === 'secret-in-environment' && !warned.has(planned.crate)) {
                  warned.add(planned.crate)
                  log.warn('unit stays here: a variable or an argument looks like a secret', { crate: planned.crate })
                }
                return planned
              }
              roots = planned.roots
              const isTold = !isPrivate && !privateUnits.hasWorkspace(directoryOf(invocation))
              if (isTold && mayAskOthers(policies, planned.kind))
                sharing.planned(build, () => directoryOf(invocation), planned.key)
              return planned
            }),
          recall: {
            own: (planned, place) => recall.own(planned, place, policiesOf(policies, planned)),
            whose: (planned, kept) => recall.whose(planned, kept),
            mesh: async (planned, place, options) => {
              if (isPrivate !== false) return undefined
              const asked = policiesOf(policies, planned)
              // Whoever is at the same work just now is one more that says so, and not to be waited for.
              const work = takesAnyWord(asked, planned.kind) ? options.work : undefined
              return await recall.mesh(planned, place, { ...options, work, policies: asked })
            },
            remember: async (result, reads, claims) => {
              await privateUnits.keeping(result, reads, isPrivate !== false, roots)
              await recall.remember(result, reads, claims)
            },
          },
          trust: unitTrust(
            trust,
            policies,
            async (planned, reads) => {
              if (!isLent || privateUnits.hasKey(hexOf(planned.key))) return undefined
              const known = works.lentOf(planned)
              if (known !== undefined || reads === undefined) return known
              const lent = await works.lend(planned)
              if (holdsPrivate(lent)) return undefined
              // Somebody may have edited it since it was compiled, and would then have everybody blamed for what comes out.
              const difference = await firstDifference(reads, placeHere(planned, shim.invocation.env))
              return difference === undefined ? lent : undefined
            },
            (planned) => again.of(planned, shim.invocation),
          ),
          market,
          placeOf: placeHere,
          work: (planned) =>
            inTurn(async () => {
              if (isPrivate === false) isPrivate = await privateUnits.hasSecretWithin(planned, shim.invocation.env)
              const isAlone = isPrivate !== false || !mesh.peers().some((peer) => peer.connected)
              const work = await works.of(planned, build, isAlone)
              isLent = isPrivate === false && !holdsPrivate(works.lentOf(planned))
              if (!isLent) return { ...work, shared: undefined, task: stayingTask(build) }
              const task = learnt.known(work.task, build, planned, shim.invocation.env, rank)
              const lent = planned.usesMacros && task.mayGoAway && !isAlone ? await lentObserver() : undefined
              return { ...work, task: lent === undefined ? task : { ...task, observer: lent } }
            }),
          took: (planned, ms) => learnt.took(build, planned, shim.invocation.env, ms),
          claim: (work, expectedMs) => mesh.claim(work, expectedMs),
          staying: () => stayingTask(build),
          edited,
          isEdited: (planned, missed) => edited.has(planned, missed),
          withoutIncremental: (planned, invocation) => warmer.add(planned, invocation),
          observer: () => observer.path(),
          stamp: () => fileClock.now(),
          reads: async (planned, place, compiled) => {
            const reads = await readsOfCompile({ planned, place, ...compiled }, trees)
            if (typeof reads === 'string') hasReadKeys = readsKeys(planned, compiled.privateDir)
            return reads
          },
          staysHere: {
            add: (key, reason) => staysHere.add(key, reason),
            reason: (key) => (isLent ? staysHere.reason(key) : 'private'),
          },
          declaredReads: (planned, depInfo, place) =>
            declaredReads(planned, { depInfo, since: Number.POSITIVE_INFINITY }, place, trees),
          prepare: (planned) =>
            inTurn(async () => {
              const lent = works.lentOf(planned)
              if (lent === undefined || !mesh.peers().some((peer) => peer.connected)) return false
              await supply.offerInputs(lent.planned, lent.inputs)
              return true
            }),
          fetch: async (cid, size, from, signal, once) => {
            const since = clock.now()
            const bytes = await sharing.ensure(cid, size, from, signal, once)
            const [lender] = from
            if (lender !== undefined) market.moved(lender, size, bytes > 0 ? clock.now() - since : 0)
            return bytes
          },
          unchanged: async (planned) =>
            (await toolchains.isStill(planned, shim.invocation)) && (await unchanged(planned, trees, digests)),
          collect: async (planned, privateDir, ran) => {
            const collected = await collectResult(planned, privateDir, ran, blocks)
            if ('reason' in collected) hasReadKeys = readsKeys(planned, privateDir)
            return collected
          },
          linking: { take: (work, signal) => linking.take(work, signal, rank) },
          collectLinked: (planned, dir) => collectLinked(planned, dir, blocks),
          discard: (privateDir) => leftovers.discard(privateDir),
          calm: () => looks.calm(),
          learn: async (planned, result, reason) => {
            if (planned.shareable) causes.made(planned)
            isPrivate ??= await judge(planned)
            if (isPrivate || hasReadKeys || reason === 'secret-in-environment')
              await privateUnits.made(planned, shim.invocation, digests)
            else if (result !== undefined) await privateUnits.given(planned, result)
            await reach.learn(planned, result, shim.invocation)
          },
          causes: (planned, ended) => causes.of(planned, ended),
          announce: (key) => sharing.made(key),
          delivered: (planned, result, by) => gifts.given.delivered(planned, result, by, seen),
          fileOf: (cid) => blocks.path(cid),
          place: async (cid, path, executable) => {
            await place([{ name: basename(path), cid, executable }], { outDir: dirname(path), blocks })
            digests.prime(path, cid)
          },
          prime: (path, cid, identity) => {
            digests.prime(path, cid, identity)
            scripts.made(path, cid, identity)
          },
          placeBytes: (bytes, path) => placeBytes(basename(path), bytes, { outDir: dirname(path) }),
          inFlight,
          log: log.child('compile'),
        }),
      )
    },
  })
  return { units, warmer, scripts }
}

/** Where cargo works and where its workspace may be, else the directory of the unit. */
function placesOf(cargoPid: number, cwd: string): readonly string[] {
  const places = cargoPlaces(cargoPid)
  return places.length > 0 ? places : [cwd]
}

/** Every directory of which lenders are given what is in it. */
const treesOf = ({ planned: { build }, inputs: { packages } }: Lent): readonly DigestedTree[] =>
  build === undefined ? packages : [...packages, build]

/** Where cargo runs, else the directory of the unit. */
const directoryOf = ({ cargoPid, cwd }: Pick<Invocation, 'cargoPid' | 'cwd'>): string =>
  workingDirectory(cargoPid) ?? cwd
