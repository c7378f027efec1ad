import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { ShoalError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import { compile } from '../../src/daemon/compile.ts'
import type { CompileNeeds } from '../../src/daemon/compile-needs.ts'
import { EarlyWord } from '../../src/daemon/early-word.ts'
import type { ShimLink } from '../../src/daemon/shim-link.ts'
import { StaysHere } from '../../src/daemon/stays-here.ts'
import { stayingTask } from '../../src/daemon/units.ts'
import { peerIdOf } from '../../src/mesh/members.ts'
import { encodeResult } from '../../src/plan/action.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import { openIndexDb } from '../../src/store/index-db.ts'
import { ManualClock } from '../mesh/fixture.ts'
import { content, placeIn, planned, result } from '../recall/support.ts'
import { Court, peerOf } from '../recall/words.ts'

const unexpected = (): never => {
  throw new Error('not expected')
}

/** A node that keeps one result, and the shims of two cargos that ask for it. */
class Desk {
  /** How often rustc ran. */
  compiled = 0
  kept = false
  readonly needs: CompileNeeds = {
    plan: async () => planned,
    edited: { follower: () => undefined, made: () => undefined },
    placeOf: () => placeIn(''),
    recall: {
      own: async () =>
        this.kept ? { result, reads: { reads: [], env: [] }, holders: [], claims: [] } : { difference: undefined },
      mesh: async () => undefined,
      whose: unexpected,
      remember: async () => {
        this.kept = true
      },
    },
    trust: {
      objection: () => undefined,
      objectionToLending: () => undefined,
      lent: unexpected,
      accepted: async () => undefined,
      giver: ({ body }) => peerIdOf(body.signer),
      whole: async (_planned, claims) => claims,
      takesEarly: unexpected,
      brokeEarlyWord: unexpected,
      madeHere: async () => undefined,
      made: async () => [],
    },
    market: {
      place: async () => ({ kind: 'here', reason: 'must-stay', returned: undefined, release: () => undefined }),
      fault: unexpected,
    },
    work: async () => ({
      key: 'work',
      shared: undefined,
      task: stayingTask(new Uint8Array(16)),
      lent: planned,
      misses: false,
    }),
    claim: unexpected,
    staying: unexpected,
    isEdited: unexpected,
    withoutIncremental: unexpected,
    prepare: unexpected,
    fetch: async () => 0,
    observer: () => '',
    over: () => undefined,
    stamp: () => 0,
    collect: async () => ({ result, bind: false, made: [] }),
    reads: async () => ({ reads: [], env: [] }),
    staysHere: new StaysHere(),
    took: () => undefined,
    calm: async () => undefined,
    declaredReads: unexpected,
    unchanged: async () => true,
    linking: { take: unexpected },
    collectLinked: unexpected,
    discard: async () => undefined,
    prime: unexpected,
    learn: async () => undefined,
    causes: async () => [],
    announce: () => undefined,
    delivered: async () => undefined,
    fileOf: async () => '/block',
    place: async () => undefined,
    placeBytes: async () => undefined,
    inFlight: new Map(),
    log: silentLogger,
  }

  shim(): ShimLink {
    const invocation = { driver: undefined, rustc: 'rustc', argv: [], cwd: '/ws', env: new Map(), remaps: [] }
    return {
      invocation: { ...invocation, cargoPid: 1 },
      signal: new AbortController().signal,
      yieldToken: () => undefined,
      stderr: () => undefined,
      placed: () => undefined,
      deliver: async () => undefined,
      run: async () => {
        this.compiled++
        return { code: 0, wallMs: 1, cpuMs: 1, truncated: false, stdout: new Uint8Array(), stderr: new Uint8Array() }
      },
      link: unexpected,
      finish: () => undefined,
      exit: () => undefined,
      refuse: unexpected,
    }
  }
}

describe('one compile that two cargos ask for', () => {
  test('runs once when both find nothing kept and ask at the same moment', async () => {
    const desk = new Desk()
    const ends = await Promise.all([compile(desk.shim(), desk.needs), compile(desk.shim(), desk.needs)])
    assert.deepEqual(
      ends.map(({ outcome }) => outcome),
      ['compiled-here', 'recalled-here'],
    )
    assert.equal(desk.compiled, 1)
  })

  test('runs once when the first ends before the second, which found nothing kept, comes to wait for it', async () => {
    const desk = new Desk()
    const [looked, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const late = compile(desk.shim(), {
      ...desk.needs,
      work: async (unit) => {
        looked.resolve()
        await goOn.promise
        return await desk.needs.work(unit)
      },
    })
    await looked.promise
    assert.equal((await compile(desk.shim(), desk.needs)).outcome, 'compiled-here')
    goOn.resolve()
    assert.equal((await late).outcome, 'recalled-here')
    assert.equal(desk.compiled, 1)
  })
})

/** A library that somebody else has, whose rest comes or not. @returns what cargo sees, in order */
async function fromOthers(takesEarly: boolean, comes: boolean) {
  const desk = new Desk()
  const args = parseRustcArgs(['--crate-type', 'lib', '--emit', 'dep-info,metadata,link', '-C', 'link-arg=-s', 'x.rs'])
  const library = { ...planned, args }
  const rest = { name: 'libx-1.rlib', kind: 'link' as const, cid: content('rlib'), size: 4, executable: false }
  const court = new Court()
  const theirs = { ...result, outputs: [...result.outputs, rest] }
  const steps: string[] = []
  const kept: unknown[] = []
  const asked: unknown[] = []
  const broken: unknown[] = []
  const { needs } = desk
  const end = await compile(
    {
      ...desk.shim(),
      placed: (path) => steps.push(`announced ${basename(path)}`),
      exit: (code) => steps.push(`exit ${code}`),
      refuse: () => steps.push('refused'),
    },
    {
      ...needs,
      plan: async () => library,
      work: async () => ({
        ...(await needs.work(library)),
        task: { ...stayingTask(new Uint8Array(16)), mayGoAway: true },
        lent: library,
      }),
      recall: {
        ...needs.recall,
        mesh: async ({ key }) => {
          asked.push(key)
          const reads = { reads: [], env: [] }
          return { result: theirs, reads, holders: ['ben'], claims: [court.claim(court.mesh.ann, theirs, reads)] }
        },
        remember: async ({ action }) => void kept.push(action),
      },
      staying: () => stayingTask(new Uint8Array(16)),
      trust: {
        ...needs.trust,
        takesEarly: (peer) => takesEarly && peer === peerOf(court.mesh.ann),
        brokeEarlyWord: (_planned, { peer, isProven }) => void broken.push(peer, isProven),
        accepted: async () => undefined,
      },
      fetch: async (cid) => {
        if (!comes && cid.equals(rest.cid)) throw new ShoalError('ERR_PEER_LOST', 'gone')
        steps.push(`came ${cid.equals(rest.cid) ? rest.name : 'metadata'}`)
        return 1
      },
    },
  )
  return { desk, end, steps, kept, asked, broken, ann: peerOf(court.mesh.ann) }
}

test('a library of others is asked for once, and announced before the rest of it has come', async () => {
  const { desk, end, steps, kept, asked } = await fromOthers(true, true)
  assert.deepEqual([end.outcome, end.where, asked, kept], ['recalled-mesh', 'ben', [planned.key], [planned.key]])
  assert.deepEqual(steps, ['came metadata', 'announced libx-1.rmeta', 'came libx-1.rlib', 'exit 0'])
  assert.equal(desk.compiled, 0)
})

test('on the word of somebody who was never found right cargo is told of nothing that may not come', async () => {
  const whole = await fromOthers(false, true)
  assert.deepEqual(whole.steps, ['came metadata', 'came libx-1.rlib', 'announced libx-1.rmeta', 'exit 0'])
  const lost = await fromOthers(false, false)
  assert.deepEqual([lost.steps, lost.broken], [['came metadata'], []])
  assert.equal(lost.desk.compiled, 1)
})

test('whoever had told of what did not come then is not believed early any more', async () => {
  const { steps, broken, ann } = await fromOthers(true, false)
  assert.deepEqual(steps, ['came metadata', 'announced libx-1.rmeta', 'refused'])
  assert.deepEqual(broken, [ann, false])
})

test('whose word a result stands on is written down before it is kept, and it is tried even if it cannot be kept', async () => {
  for (const fails of [false, true]) {
    const desk = new Desk()
    const court = new Court()
    const reads = { reads: [], env: [] }
    const claims = [court.claim(court.mesh.ann, result, reads)]
    const steps: string[] = []
    const end = await compile(desk.shim(), {
      ...desk.needs,
      recall: {
        own: async () => ({ difference: undefined }),
        mesh: async () => ({ result, reads, holders: ['holder'], claims }),
        whose: unexpected,
        remember: async () => {
          steps.push('kept')
          if (fails) throw new ShoalError('ERR_LIMIT', 'made from too much to be named')
        },
      },
      delivered: async (_planned, made, by) => void steps.push(made === result ? `by ${by}` : ''),
      trust: { ...desk.needs.trust, takesEarly: () => false, accepted: async () => void steps.push('tried') },
    })
    assert.deepEqual(steps, [`by ${peerOf(court.mesh.ann)}`, 'kept', 'tried'])
    assert.deepEqual([end.outcome, end.reason], ['recalled-mesh', fails ? 'ERR_LIMIT' : ''])
  }
})

test('who was lost after its metadata was announced is not believed early for an hour, and then never; who lied, never', async (t) => {
  const clock = new ManualClock()
  const dir = await mkdtemp(join(tmpdir(), 'shoal-early-'))
  const { datastore, close } = await openIndexDb({ dir, log: silentLogger })
  t.after(async () => {
    await close()
    await rm(dir, { recursive: true, force: true })
  })
  let earlyWord = await EarlyWord.open({ datastore, clock, log: silentLogger })
  const [metadata] = result.outputs
  assert.ok(metadata)
  const { name, cid, size } = metadata
  const announces = async (peer: string, end: 'lost' | 'lied'): Promise<boolean> => {
    const desk = new Desk()
    let announced = false
    const shim = {
      ...desk.shim(),
      placed: () => {
        announced = true
      },
      refuse: () => undefined,
    }
    await compile(shim, {
      ...desk.needs,
      trust: {
        ...desk.needs.trust,
        takesEarly: (who) => earlyWord.isTaken(who),
        brokeEarlyWord: (_planned, broken) => {
          assert.ok(broken.metadata.equals(cid))
          earlyWord.broke(broken.peer, broken.isProven)
        },
      },
      staying: () => stayingTask(new Uint8Array(16)),
      prepare: async () => true,
      declaredReads: async () => ({ reads: [], env: [] }),
      work: async (unit) => ({
        ...(await desk.needs.work(unit)),
        task: { ...stayingTask(new Uint8Array(16)), mayGoAway: true },
      }),
      market: {
        place: async (task, options) => {
          options?.onMetadata?.({ peer, name, cid, size, depInfo: 'libx-1.rmeta: \n', trace: new Uint8Array() })
          for (let turns = 0; turns < 20; turns += 1) await turn()
          const none = new Uint8Array()
          if (end === 'lost' || !task.mayGoAway)
            return { kind: 'here', reason: 'came-back', returned: undefined, release: () => undefined }
          return {
            kind: 'away',
            peer,
            result: none,
            trace: none,
            claim: none,
            wallMs: 1,
            awayMs: 1,
            release: () => undefined,
          }
        },
        fault: () => undefined,
      },
    })
    return announced
  }
  assert.deepEqual([await announces('ann', 'lost'), await announces('ann', 'lost')], [true, false])
  assert.deepEqual([await announces('bob', 'lied'), await announces('bob', 'lied')], [true, false])
  clock.advance(3_600_000)
  assert.deepEqual([await announces('ann', 'lost'), await announces('bob', 'lied')], [true, false])
  clock.advance(36_000_000)
  assert.deepEqual([await announces('ann', 'lost'), await announces('bob', 'lied')], [false, false])
  // Whatever is started anew.
  await earlyWord.saved()
  earlyWord = await EarlyWord.open({ datastore, clock, log: silentLogger })
  assert.deepEqual([await announces('ann', 'lost'), await announces('bob', 'lied')], [false, false])
  // What was announced came out here all the same: the first time again after a pause, as if it had been lost once.
  earlyWord.kept('ann')
  earlyWord.kept('bob')
  assert.deepEqual([await announces('ann', 'lost'), await announces('bob', 'lied')], [true, false])
})

test('a lender that falls silent after its result is asked for it once, unless cargo was told of metadata', async () => {
  const library = { ...planned, usesMacros: false }
  const court = new Court()
  const peer = peerOf(court.mesh.ann)
  const reads = { reads: [], env: [] }
  const came = { ...result, depInfo: 'libx-1.rmeta: \n' }
  const [metadata] = came.outputs
  assert.ok(metadata)
  for (const isTold of [false, true]) {
    const desk = new Desk()
    const fetched: unknown[] = []
    let isRefused = false
    const end = await compile(
      { ...desk.shim(), refuse: () => (isRefused = true) },
      {
        ...desk.needs,
        plan: async () => library,
        trust: {
          ...desk.needs.trust,
          takesEarly: () => isTold,
          brokeEarlyWord: () => undefined,
          lent: async () => court.claim(court.mesh.ann, came, reads),
        },
        staying: () => stayingTask(new Uint8Array(16)),
        prepare: async () => true,
        declaredReads: async () => reads,
        work: async () => ({
          ...(await desk.needs.work(library)),
          task: { ...stayingTask(new Uint8Array(16)), mayGoAway: true },
          lent: library,
        }),
        fetch: async (_cid, _size, from, _signal, once) => {
          fetched.push([from, once])
          if (!isTold || fetched.length > 1) throw new ShoalError('ERR_DEADLINE', 'sends nothing')
          return 1
        },
        market: {
          place: async (task, options) => {
            if (!task.mayGoAway)
              return { kind: 'here', reason: 'must-stay', returned: undefined, release: () => undefined }
            const none = new Uint8Array()
            options?.onMetadata?.({ peer, ...metadata, depInfo: came.depInfo, trace: none })
            const bytes = encodeResult(came).bytes
            return {
              kind: 'away',
              peer,
              result: bytes,
              trace: none,
              claim: none,
              wallMs: 1,
              awayMs: 1,
              release: () => undefined,
            }
          },
          fault: () => undefined,
        },
      },
    )
    const asked = isTold
      ? [
          [[peer], true],
          [[peer], false],
        ]
      : [[[peer], true]]
    assert.deepEqual([fetched, isRefused, end.fallback], [asked, isTold, 'ERR_DEADLINE'])
  }
})
