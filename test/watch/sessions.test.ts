import assert from 'node:assert/strict'
import { appendFile, readFile, truncate } from 'node:fs/promises'
import { test } from 'node:test'
import type { Session } from '../../src/watch/sessions.ts'
import { bench, facts, temporaryFile } from './support.ts'

const timed = ({ crate, ms }: Session['units'][number]): string => `${crate} ${ms}`
const crates = (session: Session | undefined): string[] => session?.units.map((unit) => unit.crate) ?? []

test('units of one cargo process are one session, and of two processes two', async (t) => {
  const { sessions, living, clock } = bench(await temporaryFile(t))
  living.set(10, 'x').set(20, 'y')
  const first = sessions.begin(10, '/ws')
  const second = sessions.begin(20, '/other')
  clock.advance(300)
  const third = sessions.begin(10, '/ws/member')
  third.finish(facts('c'))
  first.finish(facts('a'))
  second.finish(facts('b'))

  assert.equal(first.session, third.session)
  assert.notEqual(first.session, second.session)
  const session = sessions.find(first.session)
  assert.equal(session?.cwd, '/ws')
  const [ofOne, ofOther] = [session, sessions.find(second.session)].map((one) => one?.units.map(timed))
  assert.deepEqual(ofOne, ['c 0', 'a 300'])
  assert.deepEqual(ofOther, ['b 300'])
})

test('settle() waits for units in flight, then ends the session', async (t) => {
  const { sessions, living } = bench(await temporaryFile(t))
  living.set(10, 'x')
  const unit = sessions.begin(10, '/ws')
  const settled = sessions.settle(10)
  let done = false
  void settled.then(() => {
    done = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(done, false)
  unit.finish(facts('a'))
  const session = await settled
  assert.equal(session?.over, true)
  assert.deepEqual(crates(session), ['a'])
  assert.equal(await sessions.settle(99), undefined)
  assert.equal((await sessions.settle(10))?.id, session?.id)
})

test('stored() waits for units of a cargo that has ended, not for those of one that runs, and not for ever', async (t) => {
  const { sessions, living, clock } = bench(await temporaryFile(t))
  living.set(10, 'x').set(20, 'y')
  const [ofOne, ofOther] = [sessions.begin(10, '/ws'), sessions.begin(20, '/other')]
  await sessions.stored()
  const ends = async (): Promise<() => boolean> => {
    let done = false
    void sessions.stored().then(() => {
      done = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    return () => done
  }
  living.delete(10)
  const first = await ends()
  assert.equal(first(), false)
  ofOne.finish(facts('a'))
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(first(), true)
  assert.deepEqual(crates(sessions.find('last')), ['a'])
  living.delete(20)
  const second = await ends()
  assert.equal(second(), false)
  clock.advance(10_000)
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(second(), true)
  ofOther.abandon()
})

test('a unit counts once, and an abandoned one not at all', async (t) => {
  const { sessions, living } = bench(await temporaryFile(t))
  living.set(10, 'x')
  const unit = sessions.begin(10, '/ws')
  unit.finish(facts('a'))
  unit.finish(facts('a'))
  unit.abandon()
  sessions.begin(10, '/ws').abandon()
  assert.deepEqual(crates(await sessions.settle(10)), ['a'])
})

test('an idle session ends when its cargo is gone, and not before', async (t) => {
  const { sessions, living, clock } = bench(await temporaryFile(t))
  living.set(10, 'x')
  sessions.begin(10, '/ws').finish(facts('a'))
  clock.advance(60_000)
  assert.equal(sessions.find('last')?.over, false)
  living.delete(10)
  clock.advance(60_000)
  assert.equal(sessions.find('last')?.over, true)
  await sessions.close()
  assert.equal(clock.waiting, 0)
})

test('a process id that went to another cargo starts another session', async (t) => {
  const { sessions, living } = bench(await temporaryFile(t))
  living.set(10, 'x')
  const first = sessions.begin(10, '/ws')
  first.finish(facts('a'))
  living.set(10, 'y')
  const second = sessions.begin(10, '/ws')
  assert.notEqual(second.session, first.session)
  assert.equal(sessions.find(first.session)?.over, true)
})

test('find() takes an id, a beginning that is one session, or last with units', async (t) => {
  const { sessions, living, clock } = bench(await temporaryFile(t))
  living.set(10, 'x').set(20, 'y').set(30, 'z')
  const first = sessions.begin(10, '/ws')
  first.finish(facts('a'))
  clock.advance(5000)
  const second = sessions.begin(20, '/ws')
  second.finish(facts('b'))
  sessions.begin(30, '/ws')

  assert.equal(sessions.find('last')?.id, second.session)
  assert.equal(sessions.find(first.session)?.id, first.session)
  assert.equal(sessions.find(first.session.slice(0, -1))?.id, first.session)
  assert.equal(sessions.find('2026'), undefined)
  assert.deepEqual(
    sessions.list().map((session) => session.pid),
    [30, 20, 10],
  )
})

test('the history survives a restart, a torn last line and lines of nobody', async (t) => {
  const file = await temporaryFile(t)
  const before = bench(file)
  before.living.set(10, 'x')
  const unit = before.sessions.begin(10, '/ws')
  unit.finish(facts('a', { outcome: 'compiled-mesh', where: 'bert', peer: 'p', fallback: 'ERR_LEASE_LOST' }))
  const saved = await before.sessions.settle(10)
  before.sessions.begin(10, '/ws').finish(facts('b'))
  await before.sessions.close()
  await appendFile(file, '{"type":"unit","unit":{"session":\nnot json\n{"type":"tomorrow"}\n')
  const { length } = await readFile(file, 'utf8')
  before.sessions.begin(10, '/ws').finish(facts('torn'))
  await before.sessions.close()
  await truncate(file, length + 60)

  const after = bench(file)
  await after.sessions.load()
  assert.deepEqual(after.sessions.find(unit.session), saved)
  assert.deepEqual(after.sessions.list().map(crates), [['b'], ['a']])

  // What is written after the stump is readable the next time.
  after.living.set(30, 'z')
  after.sessions.begin(30, '/ws').finish(facts('c'))
  await after.sessions.close()
  const third = bench(file)
  await third.sessions.load()
  assert.deepEqual(third.sessions.list().map(crates), [['c'], ['b'], ['a']])
})

test('only so many sessions and units are remembered, the newest always', async (t) => {
  const { sessions, living } = bench(await temporaryFile(t), { maxSessions: 3, maxUnits: 10 })
  for (let pid = 1; pid <= 5; pid += 1) {
    living.set(pid, 'x')
    sessions.begin(pid, '/ws').finish(facts(`crate${pid}`))
    await sessions.settle(pid)
  }
  assert.deepEqual(sessions.list().map(crates), [['crate5'], ['crate4'], ['crate3']])

  living.set(6, 'x')
  for (let unit = 0; unit < 20; unit += 1) sessions.begin(6, '/ws').finish(facts('big'))
  assert.equal((await sessions.settle(6))?.units.length, 20)
  assert.deepEqual(
    sessions.list().map((session) => session.pid),
    [6],
  )
})

test('a file that grew too large is rewritten with what is still remembered', async (t) => {
  const file = await temporaryFile(t)
  const { sessions, living, history } = bench(file, { maxSessions: 2, maxBytes: 2000 })
  for (let pid = 1; pid <= 30; pid += 1) {
    living.set(pid, 'x')
    sessions.begin(pid, '/ws').finish(facts(`crate${pid}`))
    await sessions.settle(pid)
  }
  await history.flush()
  assert.ok((await readFile(file)).length < 3000)
  const after = bench(file)
  await after.sessions.load()
  assert.deepEqual(after.sessions.list().slice(0, 2).map(crates), [['crate30'], ['crate29']])
})

test('a history that cannot be written costs no build', async (t) => {
  const file = await temporaryFile(t)
  const { sessions, living } = bench(`/dev/null/${file}`)
  await sessions.load()
  living.set(10, 'x')
  sessions.begin(10, '/ws').finish(facts('a'))
  assert.deepEqual(crates(await sessions.settle(10)), ['a'])
  await sessions.close()
})
