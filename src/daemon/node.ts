import { join } from 'node:path'
import { type Clock, type Random, systemClock } from '../base/clock.ts'
import type { Config } from '../base/config.ts'
import { isErrorCode, type ShoalError, toShoalError } from '../base/errors.ts'
import { type Logger, watchedLogger } from '../base/log.ts'
import type { Environment, ShoalPaths } from '../base/paths.ts'
import { createMarket } from '../market/driver.ts'
import { loadMembership } from '../mesh/membership.ts'
import { createMesh } from '../mesh/mesh.ts'
import { finishRekey } from '../mesh/rekey.ts'
import { Recall } from '../recall/recall.ts'
import { createBlockStore } from '../store/blocks.ts'
import { createClosureStore } from '../store/closures.ts'
import { removeDrafts } from '../store/durable.ts'
import { openIndexDb } from '../store/index-db.ts'
import { createTraceStore } from '../store/traces.ts'
import { Health } from '../watch/health.ts'
import { History } from '../watch/history.ts'
import { systemProcesses } from '../watch/processes.ts'
import { Sessions } from '../watch/sessions.ts'
import { Traffic } from '../watch/traffic.ts'
import { removeAnnouncement, writeAnnouncement } from './announce.ts'
import type { Guests } from './audits.ts'
import { cacheCare, refetch } from './cache-care.ts'
import { cloneAlarm } from './clone-alarm.ts'
import { runCommand } from './commands.ts'
import { type Gifts, openGifts } from './gifts.ts'
import { endAlarm, heirsAlarm, memberAlarm } from './heirs-alarm.ts'
import { openLedger } from './ledger.ts'
import { lend } from './lend.ts'
import { noTerms } from './lender.ts'
import { openLending } from './lending.ts'
import { LocalServer } from './local-server.ts'
import { type Machine, systemMachine } from './machine.ts'
import { membershipCommands } from './membership-commands.ts'
import { nextKeyAlarm } from './next-key-alarm.ts'
import { observerHere } from './observer-here.ts'
import { openUnits } from './own-units.ts'
import { OwnerBursts } from './owner-bursts.ts'
import { OwnerWatch } from './owner-watch.ts'
import { PrivatePaths } from './private-paths.ts'
import { PrivateUnits } from './private-units.ts'
import { rerun } from './rerun.ts'
import { lockState, readNodeName } from './setup.ts'
import { Sharing } from './sharing.ts'
import { watchSleep } from './sleep-watch.ts'
import { spotCheck } from './spot-check.ts'
import { peersView, statusView } from './status.ts'
import { Supply } from './supply.ts'
import { Trust } from './trust.ts'
import { withoutLiars } from './without-liars.ts'

export interface NodeInit {
  paths: ShoalPaths
  config: Config
  log: Logger
  env: Environment
  clock?: Clock
  random?: Random
  /** Default: this one. */
  machine?: Machine
}

export interface RunningNode {
  /** Resolves when somebody asked the node to stop. */
  stopRequested: Promise<void>
  /** Lets go of everything, in the reverse order of starting. */
  stop(): Promise<void>
}

/** What is done for units that cargo has is ended first when the node stops, for so long. */
const drainMs = 2000

/**
 * Builds every room, statically, and starts them in order. The only place where rooms meet.
 * @throws ShoalError ERR_NO_MESH, ERR_DAEMON_RUNNING, ERR_CONFIG, ERR_STORE
 */
export async function startNode(init: NodeInit): Promise<RunningNode> {
  const closing: (() => Promise<void>)[] = []
  const stop = async (): Promise<void> => {
    for (const close of closing.splice(0).reverse()) {
      await close().catch((error: unknown) => {
        init.log.warn('a part did not stop cleanly', { message: toShoalError(error).message })
      })
    }
  }
  try {
    const { requested } = await start(init, closing)
    return { stopRequested: requested, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

type Closing = (() => Promise<void>)[]

async function start(init: NodeInit, closing: Closing): Promise<{ requested: Promise<void> }> {
  const { paths, config, env } = init
  const { clock = systemClock, random = Math.random } = init
  // Not while somebody else makes this machine a member of something.
  const lock = await lockState(paths)
  closing.push(() => lock.release())
  const membership = await loadMembership(paths.state)
  const name = await readNodeName(paths, config.name)
  const health = new Health(clock)
  const traffic = new Traffic()
  // Whatever is logged as a warning with a code shows in `status` too.
  const log = watchedLogger(init.log, (code, message) => {
    if (isErrorCode(code)) health.raise(code, message)
    if (code === 'ERR_BLOCK_MISMATCH') traffic.note({ what: 'bad-block' })
  })
  const trouble = ({ code, message }: ShoalError): void => log.warn('trouble', { code, message })

  const blocks = createBlockStore({
    dir: join(paths.cache, 'blocks'),
    log: log.child('store'),
    maxBytes: config.cache['max-bytes'],
    minFreeBytes: config.cache['min-free-bytes'],
    clock,
    onBad: (cid) => {
      health.raise('ERR_BLOCK_MISMATCH', `${cid.toString()} was corrupt and is gone`)
      traffic.note({ what: 'bad-block' })
    },
    onEvicted: (hexes) => sharing.evicted(hexes),
    refetch: (cid, signal) => refetch(cid, signal, { mesh, supply, privateUnits }),
  })
  await blocks.start()
  // What a node that was killed left unfinished; one that is being set up at this moment is younger.
  for (const dir of [paths.state, paths.cache]) await removeDrafts(dir, clock.wall() - 60_000)
  closing.push(() => blocks.stop())
  const index = await openIndexDb({ dir: join(paths.cache, 'index'), log })
  closing.push(() => index.close())
  const ledger = await openLedger({ stateDir: paths.state, index: index.datastore, log })
  closing.push(() => ledger.close())
  const traces = createTraceStore({ datastore: index.datastore, log })
  const closures = createClosureStore({ datastore: index.datastore, log })
  const privateUnits = await PrivateUnits.open({
    datastore: ledger.datastore,
    clock,
    paths: new PrivatePaths(config.private),
    onChange: (key) => sharing.gone(key),
  })
  await finishRekey(paths.state, clock.wall(), log)
  const mesh = await createMesh(
    {
      clock,
      random,
      log,
      source: privateUnits.guard(blocks),
      lookup: (keys) => sharing.lookup(keys),
      onServed: (bytes) => traffic.note({ what: 'served', bytes }),
      onHedge: () => traffic.note({ what: 'hedged' }),
    },
    { stateDir: paths.state, membership, name, ...config.mesh, ...meshLimits(config) },
  )
  const supply: Supply = new Supply({ blocks, mesh, onFetched: (bytes) => traffic.note({ what: 'fetched', bytes }) })
  const machine = init.machine ?? systemMachine(process.platform)
  const isOwnerIdle = (): boolean => {
    const { waiting, here, away } = market.stats().units
    return waiting + here + away === 0 && sessions.list().every(({ over }) => over)
  }
  const isQuiet = (): boolean => market.stats().slots.lent === 0 && isOwnerIdle()
  const guests: Guests = {
    areAll: isOwnerIdle,
    hold(isHeld) {
      lender.hold(isHeld)
      market.refresh()
    },
  }
  const trust: Trust = await Trust.open(
    {
      datastore: ledger.datastore,
      claims: index.datastore,
      members: mesh.members,
      traces,
      clock,
      random,
      log: log.child('trust'),
      machine,
      isQuiet,
      guests,
      isReady: () => lender.isTried,
      trouble,
      rerun: (action, inputs, signal) => blocks.leasing(() => rerun({ action, inputs }, signal, { ...running, log })),
      keepInputs: (planned, inputs) => supply.keepInputs(planned, inputs),
      purge: (peer) => gifts.purge(peer),
      given: () => gifts.given,
    },
    config,
  )
  closing.push(() => trust.stop())
  const recall: Recall = new Recall({
    blocks,
    traces,
    ask: (key, options) => sharing.ask(key, options),
    fetch: (cid, options) => sharing.bytes(cid, options),
    judge: trust.judge,
    log: log.child('recall'),
  })
  const parts = { blocks, traces, index, ledger, trust, mesh, privateUnits, log }
  const gifts: Gifts = await openGifts({ ...parts, sharing: () => sharing })
  const sharing: Sharing = await Sharing.open(
    {
      mesh,
      clock,
      log: log.child('sharing'),
      datastore: index.datastore,
      blocks,
      traces,
      recall,
      runs: gifts.runs,
      supply,
      machine,
      isPrivate: (key) => privateUnits.hasKey(key),
      note: (event) => traffic.note(event),
      isQuiet,
      trouble,
    },
    { placedMaxBytes: config.cache['placed-max-bytes'] ?? Math.floor(config.cache['max-bytes'] / 4) },
  )
  closing.push(async () => sharing.stop())
  // Of one who was found out just before the node ended there may be something left.
  for (const peer of trust.standings.liars()) {
    await gifts.purge(peer).catch((error: unknown) => trouble(toShoalError(error)))
  }

  const observer = await observerHere(paths, env, health)
  closing.push(() => observer.close())
  const { lender, toolchains, running } = await openLending(
    { clock, log, env, health, machine, blocks, mesh, supply, sharing },
    { paths, config },
  )
  const market = createMarket(
    {
      mesh: withoutLiars(mesh, (peer) => trust.standings.isLiar(peer)),
      clock,
      random,
      log: log.child('market'),
      measures: process.platform === 'linux',
      // Whoever has a copy of the key could lend in this node's name.
      terms: () => (mesh.members.isDoubtful(mesh.peerId) ? noTerms : lender.terms()),
      work: (award, options) =>
        blocks.leasing(() =>
          lend(award, options, {
            ...running,
            salt: membership.id,
            observes: () => lender.observes(),
            fileOf: (cid) => blocks.path(cid),
            sign: (action, made) => trust.sign(action, made, lender.claimTier),
            remember: async (result, reads, claims) => {
              await recall.remember(result, reads, claims)
              sharing.made(result.action)
            },
            claim: (work, expectedMs) => mesh.claim(work, expectedMs),
            log: log.child('lend'),
          }),
        ),
    },
    { slots: config.slots, lendSlots: config.lend.slots ?? config.slots },
  )
  closing.push(() => lender.close())
  const owner = new OwnerWatch(clock, machine, {
    yields: config.lend.yield,
    inUse: config.lend['slots-in-use'],
    onChange(leaves) {
      lender.leave(leaves)
      market.refresh()
    },
  })
  const bursts = new OwnerBursts(clock, { hold: () => lender.stand(true), letGo: () => lender.stand(false) })
  closing.push(async () => bursts.stop())
  owner.start()
  closing.push(async () => owner.stop())
  await mesh.start()
  closing.push(() => mesh.stop())
  for (const stop of [
    cloneAlarm(mesh.members, mesh.peerId, health),
    nextKeyAlarm({ members: mesh.members, health, log, stateDir: paths.state }),
    heirsAlarm({ members: mesh.members, health }),
    memberAlarm(mesh.members, health),
    endAlarm({ members: mesh.members, health }),
  ])
    closing.push(async () => stop())
  closing.push(() => toolchains.stop())
  closing.push(() => market.stop())

  const processes = systemProcesses(process.platform)
  const sessions = new Sessions({
    clock,
    random,
    processes,
    history: new History({ clock, log }, { file: join(paths.state, 'history.jsonl') }),
    traffic,
    onEnd: (session) => units.ended(session),
  })
  await sessions.load()
  closing.push(() => sessions.close())

  const { units, warmer, scripts } = await openUnits(
    {
      clock,
      log,
      env,
      trouble,
      machine,
      isQuiet,
      salt: membership.id,
      blocks,
      closures,
      datastore: index.datastore,
      recall,
      market,
      mesh,
      supply,
      sharing,
      gifts,
      privateUnits,
      lender,
      observer,
      trust,
      sessions,
      processes,
    },
    { paths, config, isOpen: membership.open },
    closing,
  )

  const stopRequested = Promise.withResolvers<void>()
  const status = {
    name,
    mesh,
    membership,
    market,
    blocks,
    traces,
    health,
    lending: () => lender.lending,
    warmer,
    traffic,
    trust,
    sharing: { view: () => ({ ...sharing.view(), toolchains: toolchains.view() }) },
  }
  const server = new LocalServer(
    {
      compile: (shim) => {
        warmer.giveWay()
        trust.audits.giveWay()
        return config.lend.yield ? bursts.during(() => units.compile(shim)) : units.compile(shim)
      },
      script: (link) => scripts.run(link),
      command: (method, params) =>
        runCommand(method, params, {
          status: () => statusView(status),
          peers: () => peersView(status),
          membership: membershipCommands({ mesh, stateDir: paths.state }),
          cache: cacheCare({ blocks, traces, toolchains }),
          owner,
          purgeBy: gifts.purge,
          sessions,
          stop: () => stopRequested.resolve(),
        }),
      onTrouble: trouble,
      log: log.child('local'),
    },
    paths.socket,
  )
  await server.start()
  sharing.start()
  closing.push(spotCheck({ blocks, clock, random, log: log.child('store'), isQuiet }))
  // Once no shim waits for this node any more.
  const drained = (): Promise<unknown> => Promise.all([units.drained(), scripts.drained()])
  const late = (): Promise<void> => new Promise((resolve) => clock.after(drainMs, resolve))
  closing.push(async () => void (await Promise.race([drained(), late()])))
  closing.push(() => server.stop())
  const launches = config.build['script-launcher']
  await writeAnnouncement(paths.announce, [], launches)
  closing.push(() => removeAnnouncement(paths.announce))

  // The first look at a toolchain reads half a gigabyte; builds and commands need not wait for it.
  const lending = lender
    .start()
    .then(async (installed) => {
      await writeAnnouncement(paths.announce, installed, launches)
      await toolchains.start(installed)
    })
    .catch((error: unknown) => trouble(toShoalError(error)))
  closing.push(() => lending)
  const stopSleepWatch = watchSleep({ clock, log: log.child('sleep'), env, market, lender })
  closing.push(async () => stopSleepWatch())
  // Before anything else: nobody is to wait for what ends with this node.
  closing.push(() => market.stop())
  return { requested: stopRequested.promise }
}

function meshLimits({ mesh }: Config): { maxPeers: number; joinByApproval: boolean } {
  return { maxPeers: mesh['max-peers'], joinByApproval: mesh['join-by-approval'] }
}
