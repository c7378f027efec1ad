import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ChunkSource, ChunkSources } from '../../src/mesh/chunk-sources.ts'
import { ChunkSet } from '../../src/mesh/manifest.ts'

const count = 200
const everything = Array.from({ length: count }, (_, index) => index)
const members = Array.from({ length: 7 }, (_, at) => `member ${at}`)

/** What `self` knows: a seed with all, and the other members, who have the chunks given. */
function view(self: string, have: readonly number[] = []): { sources: ChunkSources; seed: ChunkSource } {
  const sources = new ChunkSources(Math.random, self)
  sources.add('seed', 'whole')
  const set = new ChunkSet(count)
  for (const index of have) set.add(index)
  for (const member of members) {
    if (member === self) continue
    sources.add(member, 'unknown')
    const other = sources.get(member)
    if (other !== undefined) sources.learn(other, set.bits, count)
  }
  const seed = sources.get('seed')
  assert.ok(seed)
  return { sources, seed }
}

/** What is asked of the seed while something else is already on its way from there. */
function asked(self: string, have?: readonly number[]): number[] {
  const { sources, seed } = view(self, have)
  seed.active = 1
  const todo = new Set(everything)
  const picked: number[] = []
  for (;;) {
    const index = sources.pick(seed, todo)
    if (index === undefined) return picked
    todo.delete(index)
    picked.push(index)
  }
}

test('members that know each other ask a seed for every chunk once, each for some', () => {
  const all = members.map((member) => asked(member))
  assert.deepEqual(
    all.flat().toSorted((a, b) => a - b),
    everything,
  )
  for (const picked of all) assert.ok(picked.length > 5, `${picked.length} of ${count}`)
})

test('what another member has is not asked of a seed', () => {
  const have = everything.slice(0, 150)
  for (const member of members) assert.ok(asked(member, have).every((index) => index >= 150))
})

test("a member that is done with its own chunks asks for others' one at a time", () => {
  const { sources, seed } = view(members[0] ?? '')
  const own = new Set(asked(members[0] ?? ''))
  const foreign = everything.filter((index) => !own.has(index))
  assert.ok(foreign.includes(sources.pick(seed, foreign) ?? -1))
  seed.active = 1
  assert.equal(sources.pick(seed, foreign), undefined)
})

test('of what a member has, the rarest comes first', () => {
  const { sources } = view(members[0] ?? '', [1, 2, 3])
  const other = sources.get(members[1] ?? '')
  assert.ok(other)
  const set = new ChunkSet(count)
  for (const index of [1, 2, 3, 9]) set.add(index)
  sources.learn(other, set.bits, count)
  assert.equal(sources.pick(other, everything), 9)
  assert.equal(sources.pick(other, [7, 8]), undefined)
})
