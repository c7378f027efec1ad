import type { Claim } from '../mesh/claims.ts'
import type { Reason } from '../plan/classify.ts'
import type { Planned, PlannedAction } from '../plan/plan.ts'
import type { Missed } from '../recall/recall.ts'
import type { CompileNeeds, UnitEnd, Work } from './compile-needs.ts'
import type { ShimLink } from './shim-link.ts'
import { Unit } from './unit.ts'

/** Why others' results were not used; what was compiled here instead is as good as any. */
const refusals: ReadonlySet<string> = new Set(['policy', 'conflict'] satisfies Reason[])

/**
 * The life of a rustc call. Each step either settles the unit or leaves it to the next one; the last one is rustc here.
 */
export async function compile(shim: ShimLink, needs: CompileNeeds): Promise<UnitEnd> {
  const { invocation } = shim
  const follower = needs.edited.follower(invocation)
  if (follower !== undefined) return await passThrough(follower, 'incremental', shim, needs)
  const planned = await needs.plan(invocation)
  needs.edited.made(planned, invocation, 'otherwise')
  if (!planned.shareable) return await passThrough(planned, planned.reason, shim, needs)
  const unit = new Unit(planned, shim, needs)
  const missed = await unit.recallOwn()
  const end = missed === undefined ? unit.end('recalled-here', 'here') : await make(unit, planned, missed, shim, needs)
  if (missed === undefined || end.outcome === 'recalled-here') return end
  const { env } = invocation
  const causes = await needs.causes(planned, { ...missed, env, readsEnvironment: unit.readsEnvironment })
  return causes.length === 0 || end.outcome === 'recalled-mesh' ? end : { ...end, causes }
}

/** Nothing kept here holds. */
async function make(
  unit: Unit,
  planned: PlannedAction,
  missed: Missed,
  shim: ShimLink,
  needs: CompileNeeds,
): Promise<UnitEnd> {
  if (planned.incremental !== undefined && (await needs.isEdited(planned, missed.difference))) {
    return await passThrough(planned, 'incremental', shim, needs)
  }
  const work = await needs.work(planned)
  return await alone(work.key, shim, needs, async (letGo) => {
    // Somebody may have been at it since the first look, and have ended before this unit came to wait.
    if ((await unit.recallOwn(letGo)) === undefined) return unit.end('recalled-here', 'here')
    return await withClaim(work, shim, needs, async (claim) => {
      const theirs = await recallOrWait(unit, work, claim, shim, letGo)
      if (theirs !== undefined) return theirs
      claim?.commit()
      return await unit.compileSomewhere(work, letGo)
    })
  })
}

/** Other members that are asked for the same work meanwhile wait for the end of this. */
async function withClaim(
  { shared, task }: Work,
  shim: ShimLink,
  needs: CompileNeeds,
  story: (claim: Claim | undefined) => Promise<UnitEnd>,
): Promise<UnitEnd> {
  shim.signal.throwIfAborted()
  const claim = shared && needs.claim(shared, task.expectedMs)
  let isHeld = false
  try {
    const end = await story(claim)
    isHeld = end.reason === '' || refusals.has(end.reason)
    return end
  } finally {
    claim?.done(isHeld)
  }
}

/** What other members have of this work, or what they will have once those who are at it have ended. */
async function recallOrWait(
  unit: Unit,
  { task, shared }: Work,
  claim: Claim | undefined,
  shim: ShimLink,
  letGo: () => void,
): Promise<UnitEnd | undefined> {
  for (;;) {
    const theirs = await unit.recallFromMesh(task.expectedMs, shared)
    if (theirs !== undefined || claim === undefined || claim.pending.length === 0 || unit.isAnnounced) return theirs
    shim.yieldToken()
    await claim.wait({ signal: shim.signal })
    // It may have been lent out from here.
    if ((await unit.recallOwn(letGo)) === undefined) return unit.end('recalled-here', 'here')
  }
}

/**
 * Same work twice at once: the second one waits, and then recalls what the first one made. Between the last look and the
 * claim nothing is awaited, so there is never a second claim.
 */
async function alone<T>(
  key: string,
  shim: ShimLink,
  needs: CompileNeeds,
  work: (letGo: () => void) => Promise<T>,
): Promise<T> {
  for (let other = needs.inFlight.get(key); other !== undefined; other = needs.inFlight.get(key)) {
    shim.yieldToken()
    await Promise.race([other.promise, aborted(shim.signal)])
    shim.signal.throwIfAborted()
  }
  const mine = Promise.withResolvers<void>()
  needs.inFlight.set(key, mine)
  /** Others may go on with this, each by itself. */
  const letGo = (): void => {
    if (needs.inFlight.get(key) === mine) needs.inFlight.delete(key)
    mine.resolve()
  }
  try {
    return await work(letGo)
  } finally {
    letGo()
  }
}

async function passThrough(planned: Planned, reason: string, shim: ShimLink, needs: CompileNeeds): Promise<UnitEnd> {
  if (reason === 'incremental') needs.edited.made(planned, shim.invocation, 'incrementally')
  const placement = await needs.market.place(needs.staying(), {
    signal: shim.signal,
    onWaiting: () => shim.yieldToken(),
  })
  try {
    const ran = await shim.run(
      { privateDir: '', observer: '', stripIncremental: false, linger: false },
      () => placement.kind === 'here' && placement.release(),
    )
    if (placement.kind === 'here') placement.release(ran.cpuMs)
    if (ran.code === 0) {
      needs.took(planned, ran.wallMs)
      await needs.learn(planned, undefined, reason)
    }
  } finally {
    if (placement.kind === 'here') placement.release()
  }
  const { crate, kind } = planned
  return { crate, kind, outcome: 'passed-through', where: 'here', reason, bytesIn: 0 }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
