import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Turns } from '../../src/daemon/turns.ts'

/** What was done, in its order, of things that ask for a turn while one has it. */
async function order(asked: readonly [name: string, rank?: number][]): Promise<string[]> {
  const turns = new Turns(1)
  const { signal } = new AbortController()
  const done: string[] = []
  const first = Promise.withResolvers<void>()
  const taken = [turns.take(() => first.promise, signal)]
  for (const [name, rank] of asked) taken.push(turns.take(async () => void done.push(name), signal, rank))
  first.resolve()
  await Promise.all(taken)
  return done
}

describe('turns', () => {
  it('are taken in the order in which they were asked for', async () => {
    assert.deepEqual(await order([['one'], ['two'], ['three']]), ['one', 'two', 'three'])
  })

  it('go to the highest rank first, and to what nobody waits for last', async () => {
    const asked = [
      ['late', -1],
      ['usual', 0],
      ['much', 500],
      ['most', 900],
      ['as much', 500],
    ] as const
    assert.deepEqual(await order(asked.map(([name, rank]) => [name, rank])), [
      'most',
      'much',
      'as much',
      'usual',
      'late',
    ])
  })

  it('are given back by what lets go, by what fails, and by what was aborted before its turn', async () => {
    const turns = new Turns(1)
    const { signal } = new AbortController()
    const end = Promise.withResolvers<void>()
    const long = turns.take(async (letGo) => {
      letGo()
      await end.promise
    }, signal)
    await assert.rejects(
      turns.take(async () => Promise.reject(new Error('it')), signal),
      { message: 'it' },
    )
    const aborted = turns.take(async () => assert.fail('it was aborted'), AbortSignal.abort(new Error('gone')))
    await assert.rejects(aborted, { message: 'gone' })
    assert.equal(await turns.take(async () => 'mine', signal), 'mine')
    end.resolve()
    await long
  })
})
