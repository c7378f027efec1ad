import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as soon } from 'node:timers/promises'
import { Looks } from '../../src/daemon/looks.ts'
import { ManualClock } from '../mesh/fixture.ts'

const { signal } = new AbortController()

test('four are looked at at once, then what most waits for; what takes long keeps nobody waiting', async () => {
  const clock = new ManualClock()
  const looks = new Looks(clock)
  const begun: string[] = []
  const ends: (() => void)[] = []
  const look = (name: string, rank: number): Promise<void> =>
    looks.take(
      () => {
        begun.push(name)
        return new Promise((resolve) => ends.push(resolve))
      },
      signal,
      rank,
    )
  const all = [...'abcd'].map((name) => look(name, 0)).concat(look('low', 1), look('high', 2))
  await soon()
  assert.deepEqual(begun, ['a', 'b', 'c', 'd'])
  ends[0]?.()
  await soon()
  assert.deepEqual(begun, ['a', 'b', 'c', 'd', 'high'])
  clock.advance(2000)
  await soon()
  assert.deepEqual(begun, ['a', 'b', 'c', 'd', 'high', 'low'])
  for (const end of ends) end()
  await Promise.all(all)
})

test('what nobody waits for comes when nothing else is looked at, or a second later', async () => {
  const clock = new ManualClock()
  const looks = new Looks(clock)
  await looks.calm()
  const ends: (() => void)[] = []
  const look = (): Promise<void> => looks.take(() => new Promise((resolve) => ends.push(resolve)), signal, 0)
  const busy = [look(), look(), look(), look()]
  let isCalm = false
  const calm = looks.calm().then(() => {
    isCalm = true
  })
  await soon()
  assert.equal(isCalm, false)
  ends[0]?.()
  await calm
  busy.push(look())
  const late = looks.calm()
  clock.advance(1000)
  await late
  for (const end of ends) end()
  await Promise.all(busy)
})
